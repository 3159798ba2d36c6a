//! What every test and benchmark of the house uses.
//!
//! In the test's process, on their own threads and free ports of 127.0.0.1: an SMTP [`Sink`] with a script of replies, SMTP
//! sources ([`Dialogue`] led by the test, [`Load`] with books) and a DNS [`ZoneServer`]. Around a real child: [`Daemon`] and
//! [`CrashRunner`]. Without sockets: simulated time ([`sim`]), golden texts ([`golden()`]) and a module that provides every hook ([`probe()`]). Everything stops when dropped, and no
//! wait is without a limit.

mod crash;
mod daemon;
pub mod dns;
mod golden;
mod ports;
mod probe;
pub mod sim;
mod sink;
mod source;
mod wait;

pub use crash::{CRASH_POINT, CrashReport, CrashRunner, Kill};
pub use daemon::{Daemon, DaemonSetup, Ended, built_binary, run};
pub use dns::ZoneServer;
pub use golden::golden;
pub use ports::free_addr;
pub use probe::probe;
pub use sink::{Action, Rule, Sink, Transaction};
pub use source::{Dialogue, Load, LoadReport, RunningLoad};
pub use wait::wait_until;
