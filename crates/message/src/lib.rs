//! A message: ids, envelope, context, trace header fields and delivery status notifications.

mod body;
pub mod date;
mod defect;
mod dictionary;
pub mod dsn;
pub mod edits;
pub mod envelope;
pub mod field;
pub mod header;
pub mod id;
mod mime;
pub mod parts;
pub mod record;
pub mod report;
pub mod seven_bit;
pub mod trace;
pub mod wire;

pub use body::{BODIES, Body, Buffer, charged, lent};
pub use date::Date;
pub use dictionary::{Dictionary, Variable};
pub use edits::{Edits, HeaderSection, rendered};
pub use envelope::{
    Context, DeliveryState, Envelope, FailedHere, Notification, Notify, Origin, Particulars, Protocol, QueueName, Ret,
};
pub use id::{IdGenerator, MessageId, NotAnId};
pub use record::DecodeError;
pub use trace::{Trace, With};
