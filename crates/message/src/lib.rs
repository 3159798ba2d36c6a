//! A message: ids, envelope, context, trace header fields and delivery status notifications.

mod body;
pub mod date;
mod defect;
pub mod dsn;
pub mod envelope;
pub mod header;
pub mod id;
mod mime;
pub mod record;
pub mod report;
pub mod seven_bit;
pub mod trace;
pub mod wire;

pub use body::{BODIES, Body, Buffer, charged, lent};
pub use date::Date;
pub use envelope::{Context, DeliveryState, Dictionary, Envelope, FailedHere, Origin, Protocol, QueueName};
pub use id::{IdGenerator, MessageId, NotAnId};
pub use record::DecodeError;
pub use trace::{Trace, With};
