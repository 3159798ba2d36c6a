//! The bouncer over a memory spool: what it makes, when it makes nothing, and in which order.

use std::sync::Mutex;

use config::{Configuration, Environment, Registry};
use hooks::{Answer, HookSetBuilder, Provider};
use logging::LogReception;
use mail_parser::MessageParser;
use queue::{Arrivals, intake};
use spool::chain::{BodyOut, CommitSet};
use spool::{IoCaller, IoResult, Memory};

use super::*;

/// A bouncer, what it stored, and where its messages arrive.
struct House {
    bouncer: Bouncer,
    spool: Spool,
    stored: Arc<Memory>,
    arrivals: Arrivals,
    meters: Meters,
    log: LogHooks,
    received: Arc<Mutex<Vec<MessageId>>>,
}

/// A spool with no room.
struct Refusing;
impl spool::IoModule for Refusing {
    fn name(&self) -> &str {
        "refusing"
    }

    fn write_body(&self, _: IoCaller, _: &mut CommitSet, _: &mut BodyOut, _: bool) -> IoResult {
        IoResult::Fail(SpoolError::Overloaded { waiting_bytes: 1 })
    }
}

fn house() -> House {
    house_with(Vec::new())
}

/// A house whose spool has these modules before its memory.
fn house_with(mut modules: Vec<Arc<dyn spool::IoModule>>) -> House {
    let (clock, meters) = (Clock::system(), Meters::new());
    let pools = ThreadPools::new(clock, &meters);
    let stored = Arc::new(Memory::new());
    modules.push(stored.clone());
    let spool = Spool::new(modules, Arc::new(pools.get("SwapIn")));
    let (intake, mut arrivals) = intake(1, 10, queue::ResidentOwners::default());
    let received = Arc::new(Mutex::new(Vec::new()));
    let seen = received.clone();
    let mut hooks = HookSetBuilder::new();
    let provider: Provider<LogReception> = Arc::new(move |record| {
        seen.lock().unwrap().push(record.envelope.id);
        Answer::Cont
    });
    hooks.last::<LogReception>("test", provider);
    let parts = BouncerParts {
        clock,
        ids: Arc::new(IdGenerator::new(clock, 3127, None)),
        host: Arc::new(|_| "mx.here.test".into()),
        spool: spool.clone(),
        intake,
        pools,
    };
    House {
        bouncer: Bouncer::new(parts, &meters),
        spool,
        stored,
        arrivals: arrivals.remove(0),
        meters,
        log: LogHooks::of(&hooks.finish()),
        received,
    }
}

fn generation(text: &str) -> Arc<Generation> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ecelerity.conf");
    std::fs::write(&path, text).unwrap();
    let mut registry = Registry::new();
    registry.add_all(crate::OPTIONS);
    registry.add_all(queue::OPTIONS);
    Configuration::load(registry, &path, Environment::default()).unwrap().current()
}

fn failed_envelope(reverse_path: &str) -> Envelope {
    let mailbox = |text: &str| Mailbox::parse(text).unwrap();
    let id: MessageId = "71/A0-03127-08B31BA6".parse().unwrap();
    Envelope {
        id,
        batch: id,
        reverse_path: if reverse_path.is_empty() {
            ReversePath::Null
        } else {
            ReversePath::Mailbox(mailbox(reverse_path))
        },
        forward_path: ForwardPath(mailbox("ann@shop.example")),
        created: Duration::from_secs(1_790_000_000),
        body_bytes: BODY.len() as u64,
        eight_bit: false,
        origin: Origin { protocol: Protocol::Esmtp, peer: None, connection: MessageId::NULL },
        queue: QueueName { binding_group: "default".into(), binding: "default".into(), domain: "shop.example".into() },
        delivery: DeliveryState::default(),
        context: Context::default(),
        edits: None,
        particulars: None,
    }
}

const BODY: &[u8] = b"Subject: hello\r\n\r\nbody\r\n.\r\n";

fn failed<'a>(
    house: &'a House,
    generation: &'a Generation,
    envelope: &'a Envelope,
    body: Option<&'a Body>,
) -> FailedMessage<'a> {
    FailedMessage {
        generation,
        log: &house.log,
        envelope,
        body,
        reply: "550 5.1.1 no such user",
        remote_name: Some("mx1.shop.example"),
        remote_address: None,
        quiet: false,
    }
}

#[tokio::test]
async fn a_failed_message_is_told_to_its_reverse_path() {
    let mut house = house();
    let (generation, envelope, body) =
        (generation(""), failed_envelope("News@Sender.Example"), Body::from_static(BODY));
    let caused = failed(&house, &generation, &envelope, Some(&body));
    // Whoever tells of the failure has its word first.
    let before = || assert!(house.received.lock().unwrap().is_empty());
    let id = house.bouncer.bounce(&caused, &before).await.unwrap().unwrap();
    let (stored, stored_body) = house.spool.read(id).await.unwrap();
    assert_eq!((stored.id, stored.batch, &stored.reverse_path), (id, id, &ReversePath::Null));
    assert_eq!(stored.forward_path.as_str(), "News@Sender.Example");
    assert_eq!(&*stored.queue.domain, "sender.example");
    assert_eq!((stored.origin.protocol, stored.body_bytes), (Protocol::Internal, stored_body.len() as u64));
    let plain = message::wire::to_plain(&stored_body);
    let notification = MessageParser::default().parse(&*plain).unwrap();
    assert_eq!(notification.parts.len(), 4);
    let from = notification.from().and_then(|from| from.first()).and_then(|from| from.address());
    assert_eq!(from, Some("mailer-daemon@mx.here.test"));
    assert!(String::from_utf8_lossy(&plain).contains("\r\nSubject: hello\r\n"));
    assert_eq!(*house.received.lock().unwrap(), [id]);
    let mut arrived = Vec::new();
    assert_eq!(house.arrivals.receive(&mut arrived, 10, 10).await, 1);
    assert_eq!((&arrived[0].envelope, &arrived[0].body), (&stored, &Some(stored_body)));
    assert_eq!(house.meters.get("bounce.notifications.generated"), 1);
}

#[tokio::test]
async fn nobody_is_told_of_mail_from_the_null_reverse_path_or_against_the_options() {
    let house = house();
    let body = Body::from_static(BODY);
    let (bouncing, silent) = (generation(""), generation("domain \"shop.example\" { generate_bounces = false }\n"));
    let (null, ordinary) = (failed_envelope(""), failed_envelope("a@b.example"));
    let quiet = FailedMessage { quiet: true, ..failed(&house, &bouncing, &ordinary, Some(&body)) };
    for failed in
        [failed(&house, &bouncing, &null, Some(&body)), failed(&house, &silent, &ordinary, Some(&body)), quiet]
    {
        assert!(matches!(house.bouncer.bounce(&failed, &|| ()).await, Ok(None)));
    }
    assert!(house.stored.is_empty() && house.received.lock().unwrap().is_empty());
    assert_eq!(house.meters.get("bounce.notifications.unanswerable"), 1);
    assert_eq!(house.meters.get("bounce.notifications.unwanted"), 2);
}

#[tokio::test]
async fn a_body_on_disk_is_read_and_a_lost_one_does_not_silence_the_notification() {
    let house = house();
    let generation = generation("bounces_inline_original = all\nmailerdaemon = \"postmaster@here.test\"\n");
    let envelope = failed_envelope("a@b.example");
    let lost = house.bouncer.bounce(&failed(&house, &generation, &envelope, None), &|| ()).await.unwrap().unwrap();
    house.spool.store(&Body::from_static(BODY), std::slice::from_ref(&envelope)).await.unwrap();
    let whole = house.bouncer.bounce(&failed(&house, &generation, &envelope, None), &|| ()).await.unwrap().unwrap();
    let text = async |id| String::from_utf8(house.spool.read(id).await.unwrap().1.to_vec()).unwrap();
    assert!(text(lost).await.contains("no such user"));
    assert!(text(whole).await.contains("\r\nbody\r\n"));
    assert!(text(whole).await.contains("<postmaster@here.test>"));
}

#[tokio::test]
async fn a_spool_that_refuses_the_notification_is_an_error_and_nothing_is_queued() {
    let house = house_with(vec![Arc::new(Refusing)]);
    let (generation, envelope, body) = (generation(""), failed_envelope("a@b.example"), Body::from_static(BODY));
    let outcome = house.bouncer.bounce(&failed(&house, &generation, &envelope, Some(&body)), &|| ()).await;
    assert!(matches!(outcome, Err(SpoolError::Overloaded { .. })));
    assert!(house.arrivals.waiting() == 0 && house.received.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_large_original_is_rendered_in_the_pool() {
    let house = house();
    let generation = generation("bounces_inline_original = all\n");
    let envelope = failed_envelope("a@b.example");
    let mut body = b"Subject: large\r\n\r\n".to_vec();
    body.extend(b"0123456789abcdef\r\n".repeat(RENDERED_HERE_OCTETS_MAX / 18 + 1));
    body.extend(b".\r\n");
    let body = Body::from(body);
    let id = house.bouncer.bounce(&failed(&house, &generation, &envelope, Some(&body)), &|| ()).await.unwrap().unwrap();
    assert!(body.len() < house.spool.read(id).await.unwrap().1.len());
}
