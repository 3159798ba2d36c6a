//! Out-of-band intake: mail to an address that bounces come to is read, logged, and passed on or discarded.
//!
//! What counts is the recipient: its domain is in `bounce_domains`, and `bounce_pattern` takes it. The message is read before it is
//! stored and logged once it is safe, so that the client waits for the reading, and a message that cannot be read now is refused for
//! now. One that is to be discarded is stored with that said in its envelope; its queue logs and unlinks it, also after a restart.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use config::{Generation, Lookup, Opt, OptionType, Value, one_of, scopes};
use message::{Body, Envelope, FailedHere};
use smtp::{Mailbox, Reply};

use crate::epoch::Epoch;
use crate::options::ListenerOptions;

/// See its doc.
pub const BOUNCE_BEHAVIOR: Opt<BounceBehavior> = Opt::new(
    "bounce_behavior",
    "\"pass\"",
    scopes::DOMAIN,
    "What becomes of bounces that came as mail, once they are logged: pass delivers them, blackhole discards them.",
);

/// The words of `bounce_behavior`. Closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BounceBehavior {
    /// They are delivered.
    Pass,
    /// They are discarded.
    Blackhole,
}

impl OptionType for BounceBehavior {
    const EXPECTED: &'static str = "pass or blackhole";
    fn parse(value: &Value) -> Result<Self, String> {
        one_of(value, &[("pass", Self::Pass), ("blackhole", Self::Blackhole)])
    }
}

/// Reads bounces, away from the loop and in bounded time. Its twin in tests says what the test wants.
pub trait BounceReader: Send + Sync {
    /// Whose mail bounced; nobody's if the message tells of no failure.
    fn read(&self, bounce: IncomingBounce) -> Reading<'_>;
}

/// The answer of a [`BounceReader`].
pub type Reading<'a> = Pin<Box<dyn Future<Output = Result<Vec<BouncedRecipient>, TooBusy>> + 'a>>;

/// A bounce that came as mail.
#[derive(Clone, Debug)]
pub struct IncomingBounce {
    /// The generation of its transaction.
    pub generation: Arc<Generation>,
    /// Its body, in wire form.
    pub body: Body,
    /// The addresses it came to.
    pub to: Vec<String>,
}

/// A recipient whose mail bounced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BouncedRecipient {
    /// Who; none if the bounce does not say.
    pub recipient: Option<Mailbox>,
    /// The classification code.
    pub class: u8,
    /// Why, on one line.
    pub reply: String,
}

/// No more can be read now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooBusy;

/// Whether anyone may send to an address because bounces come to it.
pub(crate) fn is_bounce_address(options: &ListenerOptions, generation: &Generation, recipient: &Mailbox) -> bool {
    options.bounce_domains.matches(recipient.domain()) && queue::is_bounce_address(generation, recipient.as_str())
}

/// The messages of a transaction that are bounces, and what they say.
#[derive(Default)]
pub(crate) struct Bounces {
    /// Their places among the transaction's messages.
    pub(crate) places: Vec<usize>,
    /// What they say: all the same, for they have one body.
    pub(crate) bounced: Vec<BouncedRecipient>,
}

impl Bounces {
    /// Finds and reads the bounces among `envelopes`, and marks those that are to be discarded.
    pub(crate) async fn among(
        envelopes: &mut [Envelope],
        body: &Body,
        epoch: &Epoch,
        options: &ListenerOptions,
        reader: &dyn BounceReader,
    ) -> Result<Self, TooBusy> {
        if options.bounce_domains.is_empty() {
            return Ok(Self::default());
        }
        let generation = &epoch.generation;
        let is_bounce = |envelope: &Envelope| {
            envelope.delivery.failed.is_none()
                && is_bounce_address(options, generation, envelope.forward_path.mailbox())
        };
        let places: Vec<usize> = (0..envelopes.len()).filter(|&place| is_bounce(&envelopes[place])).collect();
        if places.is_empty() {
            return Ok(Self::default());
        }
        let to = places.iter().map(|&place| envelopes[place].forward_path.as_str().to_owned()).collect();
        let bounce = IncomingBounce { generation: generation.clone(), body: body.clone(), to };
        let bounced = reader.read(bounce).await?;
        for &place in &places {
            let envelope = &mut envelopes[place];
            if behavior(generation, envelope.forward_path.mailbox()) == BounceBehavior::Blackhole {
                let reply = DISCARDED.to_string().into();
                envelope.delivery.failed = Some(Box::new(FailedHere { reply, quiet: true }));
            }
        }
        Ok(Self { places, bounced })
    }
}

fn behavior(generation: &Generation, recipient: &Mailbox) -> BounceBehavior {
    let domain = recipient.domain().to_ascii_lowercase();
    generation.get(&BOUNCE_BEHAVIOR, &Lookup::Queue { binding_group: "default", binding: "default", domain: &domain })
}

/// What logs say of a bounce that is discarded.
pub(crate) const DISCARDED: Reply = Reply::new(550, (5, 7, 1), "[internal] discarded by policy");
