//! The envelope of one queued message: everything but the body. What Momentum's IO chain calls its headers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use smtp::{ForwardPath, ReversePath};

use crate::dictionary::Dictionary;
use crate::edits::Edits;
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
    /// How its header section differs from that of the stored body; nothing if it does not.
    pub edits: Option<Arc<Edits>>,
    /// What few messages have.
    pub particulars: Option<Box<Particulars>>,
}

impl Envelope {
    /// The id its body is stored under. Messages with the same one share a body.
    pub fn body_id(&self) -> MessageId {
        self.particulars.as_ref().and_then(|particulars| particulars.body).unwrap_or(self.batch)
    }

    /// Octets of the message in wire form, as its next hop gets it.
    pub fn rendered_bytes(&self) -> u64 {
        self.edits.as_ref().map_or(self.body_bytes, |edits| edits.rendered_octets(self.body_bytes))
    }

    /// Whether another message may go in one transaction with it: the same from the first octet of MAIL to the last of the
    /// message, but for the recipient.
    pub fn shares_transaction(&self, other: &Self) -> bool {
        self.body_id() == other.body_id()
            && self.batch == other.batch
            && self.reverse_path == other.reverse_path
            && self.edits == other.edits
            && self.asks() == other.asks()
    }

    /// What MAIL says of it beside the path.
    fn asks(&self) -> (Option<Ret>, Option<&str>, bool, bool) {
        self.particulars.as_ref().map(|particulars| particulars.of_transaction()).unwrap_or_default()
    }

    /// The particulars, to set one.
    pub fn particulars_mut(&mut self) -> &mut Particulars {
        self.particulars.get_or_insert_default()
    }

    /// Whether it has a higher priority than others of its queue.
    pub fn is_urgent(&self) -> bool {
        self.particulars.as_ref().is_some_and(|particulars| particulars.urgent)
    }

    /// Octets of memory that hang on it, those of its context and of what it shares with others not counted.
    pub fn held(&self) -> usize {
        let reverse_path = match &self.reverse_path {
            ReversePath::Mailbox(mailbox) => mailbox.as_str().len(),
            _ => 0,
        };
        let last_reply = self.delivery.last_reply.as_ref().map_or(0, |reply| reply.len());
        let edits = self.edits.as_ref().map_or(0, |edits| edits.held());
        let particulars = self.particulars.as_ref().map_or(0, |particulars| particulars.held());
        reverse_path + self.forward_path.as_str().len() + last_reply + edits + particulars
    }
}

/// What few messages have; most have none of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Particulars {
    /// The id its body is stored under, if it is not that of the batch: policy changed the content for some recipients.
    pub body: Option<MessageId>,
    /// It goes before others of its queue.
    pub urgent: bool,
    /// The routing domain that policy chose, lower case, in the place of the recipient's.
    pub routing_domain: Option<Arc<str>>,
    /// What the sender asked of notifications (RFC 3461).
    pub notification: Notification,
    /// The addresses or the header section may need SMTPUTF8 (RFC 6531).
    pub smtputf8: bool,
    /// It came with REQUIRETLS (RFC 8689), and may go on with it only.
    pub requiretls: bool,
}

/// What the sender asked of notifications (RFC 3461 4).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notification {
    /// RET.
    pub ret: Option<Ret>,
    /// ENVID, as xtext.
    pub envid: Option<Box<str>>,
    /// NOTIFY.
    pub notify: Option<Notify>,
    /// ORCPT: address type, `;`, and the address as xtext.
    pub orcpt: Option<Box<str>>,
}

/// How much of the message a notification returns. Closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ret {
    /// FULL.
    Full,
    /// HDRS.
    Headers,
}

/// When the sender wants to be told. All false: NEVER.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notify {
    /// SUCCESS.
    pub success: bool,
    /// FAILURE.
    pub failure: bool,
    /// DELAY.
    pub delay: bool,
}

impl Particulars {
    /// Octets of memory that it takes, what it shares not counted.
    pub fn held(&self) -> usize {
        let text = |text: &Option<Box<str>>| text.as_ref().map_or(0, |text| text.len());
        size_of::<Self>() + text(&self.notification.envid) + text(&self.notification.orcpt)
    }

    fn of_transaction(&self) -> (Option<Ret>, Option<&str>, bool, bool) {
        (self.notification.ret, self.notification.envid.as_deref(), self.smtputf8, self.requiretls)
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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// VCTX_CONN.
    pub connection: Dictionary,
    /// VCTX_MESS.
    pub message: Dictionary,
}

impl Context {
    /// Octets of memory that hang on it.
    pub fn held(&self) -> usize {
        self.connection.held() + self.message.held()
    }
}

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
        edits: None,
        particulars: None,
    }
}
