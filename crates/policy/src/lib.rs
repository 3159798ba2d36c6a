//! What policy sees of mail, and what it may change: one model for every language a provider is written in.
//!
//! Start with [`Message`]. Whoever calls a hook makes one over what exists at that point, for the length of one poll; nothing is
//! copied to make it, and nothing is read from a disk. What outlives the call is a [`Snapshot`]. [`phases`] is the one table of
//! what may be changed when; every accessor asks it.

mod attempt;
mod content;
mod context;
mod error;
mod message;
pub mod phases;
mod queue;
mod session;
pub mod variables;

pub use attempt::{Attempt, Remote};
pub use content::Content;
pub use context::{Scope, ValidationContext};
pub use error::PolicyError;
pub use message::{Bindings, Message, Side, Snapshot, Target};
pub use phases::{Field, Phase};
pub use queue::{Count, DomainRecord};
pub use session::{Auth, Session, Slots, Tls};
