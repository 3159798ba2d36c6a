//! Delivery: routing, connections, the SMTP client shell and Maildir.
//!
//! [`Engine::start`] puts a maintainer on each delivery loop. Mail comes in through the `queue::Intake` it returns and
//! leaves by a connection (`connection`), into a Maildir (`local`), or as a failure that is told to its sender
//! ([`Bouncer`]). Start reading at `maintainer`, then `connection`, then `disposition`.
//!
//! Knows nothing of how mail is received.

mod alarm;
mod barred;
mod connection;
mod disposition;
mod ehlo_name;
mod engine;
mod failed_here;
mod gathering;
mod held;
mod hosts;
mod lacks;
mod limits;
mod line;
mod listings;
mod local;
mod lookups;
mod maildir;
mod maintainer;
mod memory_wait;
mod notes;
mod opening;
mod options;
mod orders;
mod parting;
mod place;
mod record;
mod rekey;
pub mod replies;
mod reports;
mod residency;
mod route;
mod route_option;
mod seams;
mod seven_bit;
mod siblings;
mod slots;
mod standing;
mod telling;
mod throttle;
mod trace;
mod unreachable;
mod unroutable;
mod waiting;

pub use engine::{Deps, Engine, EngineHandle, Hostname};
pub use limits::{Awaits, ScopedLimit};
pub use listings::{BindingReport, LISTING_MAX, ListedMessage, Listing};
pub use maintainer::MEASURES;
pub use options::{Aggressiveness, DeliveryMethod, OPTIONS, SERVER_MAX_OUTBOUND_CONNECTIONS};
pub use orders::{Chosen, Effect, Selection, Single};
pub use reports::{AddressReport, ConnectionReport, Counts, DomainReport, MessageReport, QueueReport};
pub use route_option::{RouteEntry, RouteTarget, Routes};
pub use seams::{
    Bouncer, ConnectError, Connected, Connector, FailedMessage, Itself, Local, Names, NotStored, Stream, Tcp,
};
pub use trace::{Tracer, Tracers};
pub use waiting::{FailedHost, Hold, Setting, Wait};
