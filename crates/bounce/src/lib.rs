//! Bounces, both ways: classification, generation, and the reading of those that come as mail.
//!
//! [`Classifier`] says why a delivery failed, from the words of the reply. [`BounceReader`] says whose mail another host could not
//! deliver, and why, from the bounce it sent. [`Bouncer`] tells the reverse-path, with a
//! notification that is a new message of this house: safe in the spool before anybody forgets the failed one.
//!
//! Knows no socket.

pub mod bouncer;
pub mod class;
pub mod classify;
pub mod hook;
mod narrative;
pub mod options;
pub mod reader;
mod reading;

pub use bouncer::{Bouncer, BouncerParts, FailedMessage, Hostname};
pub use class::{BounceClass, Category};
pub use classify::Classifier;
pub use hook::{BounceErrorClassify, BounceText};
pub use options::OPTIONS;
pub use reader::MEASURES;
pub use reader::{BounceReader, IncomingBounce};
pub use reading::Bounced;
