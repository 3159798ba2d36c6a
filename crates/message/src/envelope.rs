//! The envelope of one queued message: everything but the body. What Momentum's IO chain calls its headers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use smtp::{ForwardPath, ReversePath};

use crate::id::MessageId;

/// One recipient's message, without its body. One per forward-path; siblings of a transaction share `batch` and the
/// body stored under it.
#[derive(Clone, Debug, PartialEq)]
pub struct Envelope {
    /// This message. The first message of a transaction bears the batch's id.
    pub id: MessageId,
    /// The transaction it came in with; the id its body is stored under.
    pub batch: MessageId,
    /// MAIL FROM.
    pub reverse_path: ReversePath,
    /// RCPT TO.
    pub forward_path: ForwardPath,
    /// When it was received, since 1970.
    pub created: Duration,
    /// Octets of the body in wire form, with the terminator and stuffed dots: what the spool holds and memory takes. No size
    /// that anybody is told.
    pub body_bytes: u64,
    /// Holds octets over 127, or came with BODY=8BITMIME (RFC 6152).
    pub eight_bit: bool,
    /// How and from where it came.
    pub origin: Origin,
    /// The queue it belongs to.
    pub queue: QueueName,
    /// Delivery state, rewritten after each transient failure.
    pub delivery: DeliveryState,
    /// Policy's variables (reference: extending.md section 2).
    pub context: Context,
}

impl Envelope {
    /// Octets of memory that hang on it, those of its context and of what it shares with others not counted.
    pub fn held(&self) -> usize {
        let reverse_path = match &self.reverse_path {
            ReversePath::Mailbox(mailbox) => mailbox.as_str().len(),
            _ => 0,
        };
        let last_reply = self.delivery.last_reply.as_ref().map_or(0, |reply| reply.len());
        reverse_path + self.forward_path.as_str().len() + last_reply
    }
}

/// How a message came in.
#[derive(Clone, Debug, PartialEq)]
pub struct Origin {
    /// `esmtp`, `internal` …, as the mainlog prints it.
    pub protocol: Protocol,
    /// The client; none for internal mail.
    pub peer: Option<SocketAddr>,
    /// The inbound connection.
    pub connection: MessageId,
}

/// Reception protocols of the mainlog (reference: log-formats.md section 2). Closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// An ESMTP listener.
    Esmtp,
    /// Made here: a notification.
    Internal,
}

impl Protocol {
    /// The word the logs use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Esmtp => "esmtp",
            Self::Internal => "internal",
        }
    }
}

/// The (binding, routing domain) queue a message waits in. The strings are shared by every message of the queue.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueName {
    /// The binding group the binding sits in; `default` if none.
    pub binding_group: Arc<str>,
    /// The binding; `default` if none was set. Case-sensitive.
    pub binding: Arc<str>,
    /// The routing domain, lower case: recipient domain, or the gateway's name.
    pub domain: Arc<str>,
}

/// Where the message stands with its next hop.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeliveryState {
    /// Transient failures so far.
    pub retries: u32,
    /// When it is due, since 1970; zero: at once.
    pub next_attempt: Duration,
    /// The last reply, remote or local, on one line.
    pub last_reply: Option<Box<str>>,
    /// It was taken in order to fail: no attempt is made.
    pub failed: Option<Box<FailedHere>>,
}

/// Why a message that was accepted is not attempted: what the mainlog calls failed, or failed-quiet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedHere {
    /// `code enhanced text`, on one line.
    pub reply: Box<str>,
    /// Nobody is told.
    pub quiet: bool,
}

/// Policy's variables: connection and message dictionaries. Empty ones cost nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Context {
    /// VCTX_CONN.
    pub connection: Dictionary,
    /// VCTX_MESS.
    pub message: Dictionary,
}

impl Context {
    /// Octets of memory that hang on it.
    pub fn held(&self) -> usize {
        let of = |dictionary: &Dictionary| {
            let texts: usize = dictionary.iter().map(|(key, value)| key.len() + value.len()).sum();
            dictionary.capacity() * size_of::<(Box<str>, Box<str>)>() + texts
        };
        of(&self.connection) + of(&self.message)
    }
}

/// Keys and values, in the order they were set.
pub type Dictionary = Vec<(Box<str>, Box<str>)>;

/// What the tests of this crate call an ordinary message.
#[cfg(test)]
pub(crate) fn sample() -> Envelope {
    let mailbox = |text| smtp::Mailbox::parse(text).expect("a mailbox");
    Envelope {
        id: "71/A0-03127-08B31BA6".parse().expect("an id"),
        batch: "71/A0-03127-08B31BA6".parse().expect("an id"),
        reverse_path: ReversePath::Mailbox(mailbox("news@sender.example")),
        forward_path: ForwardPath(mailbox("ann@shop.example")),
        created: Duration::new(1_790_000_000, 250_000_000),
        body_bytes: 2011,
        eight_bit: false,
        origin: Origin {
            protocol: Protocol::Esmtp,
            peer: Some(SocketAddr::from(([192, 0, 2, 9], 40_001))),
            connection: "30/00-03127-08B31BA6".parse().expect("an id"),
        },
        queue: QueueName { binding_group: "default".into(), binding: "default".into(), domain: "shop.example".into() },
        delivery: DeliveryState::default(),
        context: Context::default(),
    }
}
