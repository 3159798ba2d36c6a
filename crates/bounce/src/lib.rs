//! Reply classification and bounce generation.
//!
//! [`Classifier`] says why a delivery failed, from the words of the reply. [`Bouncer`] tells the reverse-path, with a
//! notification that is a new message of this house: safe in the spool before anybody forgets the failed one.
//!
//! Knows no socket.

pub mod bouncer;
pub mod class;
pub mod classify;
pub mod options;

pub use bouncer::{Bouncer, BouncerParts, FailedMessage, Hostname};
pub use class::{BounceClass, Category};
pub use classify::Classifier;
pub use options::OPTIONS;
