//! A message: ids, envelope, context, trace header fields and delivery status notifications.

pub mod envelope;
pub mod id;

pub use envelope::{Context, DeliveryState, Envelope, Origin, Protocol, QueueName};
pub use id::{IdGenerator, MessageId, NotAnId};

/// A body in wire form: header section and content, dot-stuffed, CRLF line ends, with the final `.` line; exactly what
/// follows DATA. Shared by the siblings of a transaction.
pub type Body = bytes::Bytes;
