//! The bouncer: makes a notification of a message that failed for good, and sends it on its way.
//!
//! Takes a failed message that its queue still owns; gives a new message to the spool and to a queue. Runs on the loop
//! of the failed message's queue; a large original is rendered in the `IO` pool.
//!
//! Invariants: a message from the null reverse-path is never answered (RFC 5321 4.5.5), so notifications cannot loop.
//! [`Bouncer::bounce`] returns success only when the notification is durable: the caller may forget the failed message
//! then, and not before. A crash between the two sends a second notification; nothing is lost silently.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use config::{Generation, Lookup};
use logging::{LogHooks, ReceptionRecord};
use message::dsn::{Notification, Returned};
use message::{Body, Context, DeliveryState, Envelope, IdGenerator, MessageId, Origin, Protocol, QueueName};
use queue::{Assigned, Intake, routing_domain};
use scheduler::{Clock, Counter, MemoryOwner, Meters, Rejected, ThreadPools};
use smtp::{ForwardPath, Mailbox, Pieces, ReversePath};
use spool::{Spool, SpoolError};

use crate::options::{BOUNCES_INLINE_ORIGINAL, GENERATE_BOUNCES, MAILERDAEMON};

/// A message that failed for good, still owned by its queue.
#[derive(Clone, Copy)]
pub struct FailedMessage<'a> {
    /// The generation of the attempt.
    pub generation: &'a Generation,
    /// The log hooks of that generation, for the notification's reception.
    pub log: &'a LogHooks,
    /// The message.
    pub envelope: &'a Envelope,
    /// Its body; read from the spool if it is not in memory.
    pub body: Option<&'a Body>,
    /// The reply that decided, remote or local: `code [enhanced] text`.
    pub reply: &'a str,
    /// The host that gave it, by name.
    pub remote_name: Option<&'a str>,
    /// The host that gave it, by address.
    pub remote_address: Option<IpAddr>,
    /// An operator or policy wanted no notification.
    pub quiet: bool,
}

/// What a generation calls this host.
pub type Hostname = Arc<dyn Fn(&Generation) -> Arc<str> + Send + Sync>;

/// What a [`Bouncer`] works with.
#[derive(Clone)]
pub struct BouncerParts {
    /// Stamps the notification.
    pub clock: Clock,
    /// Gives its id.
    pub ids: Arc<IdGenerator>,
    /// What a generation calls this host.
    pub host: Hostname,
    /// Keeps it.
    pub spool: Spool,
    /// Takes it to its queue.
    pub intake: Intake,
    /// Renders large ones.
    pub pools: ThreadPools,
}

/// Makes notifications. One for the process; cloning shares it.
#[derive(Clone)]
pub struct Bouncer {
    parts: BouncerParts,
    generated: Counter,
    unanswerable: Counter,
    unwanted: Counter,
    /// What the bodies of notifications are charged to.
    bodies: MemoryOwner,
}

impl Bouncer {
    /// A bouncer that counts in `meters`.
    pub fn new(parts: BouncerParts, meters: &Meters) -> Self {
        Self {
            parts,
            generated: meters.counter("bounce.notifications.generated"),
            unanswerable: meters.counter("bounce.notifications.unanswerable"),
            unwanted: meters.counter("bounce.notifications.unwanted"),
            bodies: meters.memory(message::BODIES),
        }
    }

    /// Tells the failed message's reverse-path. The notification's id once it is durable; none if none is due (null
    /// reverse-path, `generate_bounces = false`, quiet). On an error nothing was made, and the failed message must be kept
    /// and failed again later. Waits for the spool and, if a delivery loop is a whole channel behind, for that: so not to
    /// be awaited by the task that receives the loop's arrivals. `stored` is called before the log tells of the notification.
    pub async fn bounce(&self, failed: &FailedMessage<'_>, stored: &dyn Fn()) -> Result<Option<MessageId>, SpoolError> {
        let ReversePath::Mailbox(to) = &failed.envelope.reverse_path else {
            self.unanswerable.add(1);
            return Ok(None);
        };
        if failed.quiet || !failed.generation.get(&GENERATE_BOUNCES, &failed.lookup()) {
            self.unwanted.add(1);
            return Ok(None);
        }
        let draft = self.draft(failed, to).await?;
        let id = draft.id;
        let Rendered { body, envelope } = self.render(draft).await?;
        self.parts.spool.store(&body, std::slice::from_ref(&envelope)).await?;
        self.generated.add(1);
        stored();
        let size = smtp::client::content_octets(&body);
        failed.log.reception(&ReceptionRecord { at: self.parts.clock.unix(), envelope: &envelope, size });
        // If delivery has ended the notification stays in the spool, for the next start.
        self.parts.intake.enqueue(envelope, body).await;
        Ok(Some(id))
    }

    /// Everything the notification says, owned, so that a pool can render it.
    async fn draft(&self, failed: &FailedMessage<'_>, to: &Mailbox) -> Result<Draft, SpoolError> {
        let lookup = failed.lookup();
        let returned = failed.generation.get(&BOUNCES_INLINE_ORIGINAL, &lookup).0;
        let stored = match (returned, failed.body) {
            (Returned::None, _) => Body::new(),
            (_, Some(body)) => body.clone(),
            (_, None) => self.original(failed.envelope.id).await?,
        };
        // What the recipient would have had; a body that is lost has no place for edits.
        let edits = failed.envelope.edits.as_deref().filter(|_| !stored.is_empty());
        let original = message::rendered(&stored, edits);
        let host = (self.parts.host)(failed.generation);
        let assigned = Assigned::unnamed(failed.generation);
        let (binding_group, binding) = assigned.of_turn(0);
        Ok(Draft {
            id: self.parts.ids.next(),
            at: self.parts.clock.unix(),
            from: mailer_daemon(&failed.generation.get(&MAILERDAEMON, &lookup), &host),
            host,
            to: to.clone(),
            failed: failed.envelope.clone(),
            original,
            reply: failed.reply.into(),
            remote_name: failed.remote_name.map(Into::into),
            remote_address: failed.remote_address,
            returned,
            queue: QueueName {
                binding_group: binding_group.clone(),
                binding: binding.clone(),
                domain: routing_domain(failed.generation, binding_group, binding, to.domain()),
            },
            bodies: self.bodies.clone(),
        })
    }

    /// The body as the spool has it. One that is lost or damaged must not keep the reverse-path from being told.
    async fn original(&self, id: MessageId) -> Result<Body, SpoolError> {
        match self.parts.spool.read(id).await {
            Ok((_, body)) => Ok(body),
            Err(error) if error.is_transient() => Err(error),
            Err(error) => {
                tracing::error!(target: "SPOOL", "bouncing {id} without its original: {error}");
                Ok(Body::new())
            }
        }
    }

    async fn render(&self, draft: Draft) -> Result<Rendered, SpoolError> {
        // An original in 8 bits is converted, which costs far more.
        if draft.original.len() <= RENDERED_HERE_OCTETS_MAX && draft.original.iter().all(|piece| piece.is_ascii()) {
            return Ok(draft.render());
        }
        let waiting_bytes = draft.original.len() as u64;
        let without = Draft { original: Pieces::default(), ..draft.clone() };
        match self.parts.pools.get("IO").run_contained(move || draft.render()).await {
            Ok(rendered) => Ok(rendered),
            // The sender is told all the same.
            Err(Rejected::Panicked) => {
                let failed = without.failed.id;
                tracing::error!(target: "SPOOL", "bouncing {failed} without its original, over which rendering failed");
                Ok(without.render())
            }
            Err(_) => Err(SpoolError::Overloaded { waiting_bytes }),
        }
    }
}

/// The option's address, or `mailer-daemon@<host>`; a host name that no address can hold leaves the bare one.
fn mailer_daemon(address: &str, host: &str) -> Mailbox {
    let own = || Mailbox::parse(&format!("mailer-daemon@{host}"));
    Mailbox::parse(address).or_else(|_| own()).unwrap_or_else(|_| Mailbox::postmaster())
}

impl<'a> FailedMessage<'a> {
    fn lookup(&self) -> Lookup<'a> {
        let queue = &self.envelope.queue;
        Lookup::Queue { binding_group: &queue.binding_group, binding: &queue.binding, domain: &queue.domain }
    }
}

/// A [`Notification`] that owns what it says.
#[derive(Clone)]
struct Draft {
    id: MessageId,
    at: Duration,
    host: Arc<str>,
    from: Mailbox,
    to: Mailbox,
    failed: Envelope,
    original: Pieces,
    reply: Box<str>,
    remote_name: Option<Box<str>>,
    remote_address: Option<IpAddr>,
    returned: Returned,
    queue: QueueName,
    /// What its body is charged to.
    bodies: MemoryOwner,
}

/// A notification as a message.
struct Rendered {
    body: Body,
    envelope: Envelope,
}

impl Draft {
    fn render(mut self) -> Rendered {
        let original = std::mem::take(&mut self.original).into_bytes();
        let notification = Notification {
            id: self.id,
            at: self.at,
            host: &self.host,
            from: &self.from,
            to: &self.to,
            failed: &self.failed,
            original: &original,
            reply: &self.reply,
            remote_name: self.remote_name.as_deref(),
            remote_address: self.remote_address,
            last_attempt: self.at,
            returned: self.returned,
        };
        let body = message::charged(notification.render(), &self.bodies);
        Rendered { envelope: self.into_envelope(body.len() as u64), body }
    }

    fn into_envelope(self, body_bytes: u64) -> Envelope {
        Envelope {
            id: self.id,
            batch: self.id,
            reverse_path: ReversePath::Null,
            forward_path: ForwardPath(self.to),
            created: self.at,
            body_bytes,
            // Whatever it quotes.
            eight_bit: false,
            origin: Origin { protocol: Protocol::Internal, peer: None, connection: MessageId::NULL },
            queue: self.queue,
            delivery: DeliveryState::default(),
            context: Context::default(),
            edits: None,
            particulars: None,
        }
    }
}

/// Originals up to this size are rendered on the loop: some tens of microseconds.
const RENDERED_HERE_OCTETS_MAX: usize = 256 << 10;

#[cfg(test)]
#[path = "bouncer_tests.rs"]
mod tests;
