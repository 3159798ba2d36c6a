//! The module over a real file: what is logged, and with which class.

use std::time::Duration;

use config::{Configuration, Environment, Registry};
use io_wrapper::IoWrappers;
use logging::{LogHooks, OutOfBandRecord, Stage};
use message::{Context, DeliveryState, Envelope, FailedHere, MessageId, Origin, Protocol, QueueName};
use scheduler::{Clock, Meters};
use smtp::{ForwardPath, Mailbox, ReversePath};

use super::*;

/// What the bouncelog says of a transient failure, of four permanent ones (the second said by an operator, the third from an address
/// that gets no bounces, the fourth of a discarded bounce), and of a bounce and a subscription that came as mail.
fn bouncelog(options: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let writer = LogWriter::start(Clock::system(), &Meters::new(), IoWrappers::new()).unwrap();
    let module = BounceLogger::new(writer.clone());
    let (path, log_path) = (folder.path().join("ecelerity.conf"), folder.path().join("bouncelog.ec"));
    let text =
        format!("bounce_logger {{\nbouncelog = \"file://{}\"\nheartbeat = 0\n{options}\n}}\n", log_path.display());
    std::fs::write(&path, text).unwrap();
    let mut registry = Registry::new();
    registry.add_all(OPTIONS);
    registry.add_all(logging::OPTIONS);
    let generation = Configuration::load(registry, &path, Environment::default()).unwrap().current();
    let mut hooks = HookSetBuilder::new();
    module.ext_init(module::Stage::Init { privileged: false }, "", &generation, &mut hooks).unwrap();
    let log = LogHooks::of(&hooks.finish());
    let envelope = envelope();
    let failure = FailureRecord {
        at: Duration::from_secs(1_790_000_040),
        envelope: &envelope,
        connection: MessageId::NULL,
        bytes: 0,
        size: 2011,
        stage: Stage::AfterRcptTo,
        remote: Some("192.0.2.9".parse().unwrap()),
        reply: "550 5.1.1 no such user",
        is_bounce: true,
    };
    log.transient(&FailureRecord { reply: "452 4.2.2 mailbox full", ..failure });
    log.permanent(&failure);
    log.permanent(&FailureRecord { remote: None, stage: Stage::NotConnected, ..failure });
    log.permanent(&FailureRecord { is_bounce: false, ..failure });
    let mut discarded = envelope.clone();
    discarded.delivery.failed = Some(Box::new(FailedHere { reply: failure.reply.into(), quiet: true }));
    log.permanent(&FailureRecord { envelope: &discarded, ..failure });
    let recipient = Some(envelope.forward_path.mailbox());
    let bounce =
        OutOfBandRecord { at: failure.at, envelope: &envelope, size: 2011, recipient, class: 10, reply: failure.reply };
    log.out_of_band(&bounce);
    log.out_of_band(&OutOfBandRecord { class: BounceClass::SUBSCRIBE.code(), ..bounce });
    log.reopen(None);
    assert!(module.control("", &["reopen"]).is_ok());
    writer.stop();
    std::fs::read_to_string(log_path).unwrap()
}

fn envelope() -> Envelope {
    let id: MessageId = "71/A0-03127-08B31BA6".parse().unwrap();
    Envelope {
        id,
        batch: id,
        reverse_path: ReversePath::Null,
        forward_path: ForwardPath(Mailbox::parse("ann@shop.example").unwrap()),
        created: Duration::from_secs(1_790_000_000),
        body_bytes: 2011,
        eight_bit: false,
        origin: Origin { protocol: Protocol::Internal, peer: None, connection: MessageId::NULL },
        queue: QueueName { binding_group: "bulk".into(), binding: "out1".into(), domain: "shop.example".into() },
        delivery: DeliveryState::default(),
        context: Context::default(),
        edits: None,
        particulars: None,
    }
}

/// Type, stage and class of each line.
fn fields(text: &str) -> Vec<[&str; 3]> {
    text.lines()
        .map(|line| {
            let fields: Vec<&str> = line.split('@').collect();
            [fields[4], fields[11], fields[12]]
        })
        .collect()
}

#[test]
fn failures_are_logged_with_their_class() {
    let text = bouncelog("");
    assert_eq!(fields(&text), [["T", "5", "22"], ["B", "5", "10"], ["B", "0", "25"], ["B", "21", "10"]]);
    assert_eq!(
        text.lines().nth(1),
        Some(
            "1790000040@71/A0-03127-08B31BA6@71/A0-03127-08B31BA6@00/00-00000-00000000@B@ann@shop.example@@@bulk@out1\
             @5@10@2011@192.0.2.9@550 5.1.1 no such user"
        )
    );
}

#[test]
fn each_kind_can_be_switched_off() {
    assert_eq!(
        fields(&bouncelog("log_transient_failures = false")),
        [["B", "5", "10"], ["B", "0", "25"], ["B", "21", "10"]]
    );
    assert_eq!(fields(&bouncelog("log_inband_bounces = false")), [["T", "5", "22"], ["B", "21", "10"]]);
    assert_eq!(
        fields(&bouncelog("log_outofband_bounces = false")),
        [["T", "5", "22"], ["B", "5", "10"], ["B", "0", "25"]]
    );
}
