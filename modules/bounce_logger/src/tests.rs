//! The module over a real file: which failures are logged, and with which class.

use std::time::Duration;

use config::{Configuration, Environment, Registry};
use io_wrapper::IoWrappers;
use logging::{LogHooks, Stage};
use message::{Context, DeliveryState, Envelope, MessageId, Origin, Protocol, QueueName};
use scheduler::{Clock, Meters};
use smtp::{ForwardPath, Mailbox, ReversePath};

use super::*;

/// What the bouncelog says of one transient and two permanent failures, the second out of band.
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
        stage: Stage::AfterRcptTo,
        remote: None,
        reply: "550 5.1.1 no such user",
    };
    log.transient(&FailureRecord { reply: "452 4.2.2 mailbox full", ..failure });
    log.permanent(&failure);
    log.permanent(&FailureRecord { stage: Stage::OutOfBandBounce, ..failure });
    log.reopen();
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
    assert_eq!(fields(&text), [["T", "5", "22"], ["B", "5", "10"], ["B", "21", "10"]]);
    assert_eq!(
        text.lines().nth(1),
        Some(
            "1790000040@71/A0-03127-08B31BA6@71/A0-03127-08B31BA6@00/00-00000-00000000@B@ann@shop.example@@@bulk@out1\
             @5@10@2011@@550 5.1.1 no such user"
        )
    );
}

#[test]
fn each_kind_can_be_switched_off() {
    assert_eq!(fields(&bouncelog("log_transient_failures = false")), [["B", "5", "10"], ["B", "21", "10"]]);
    assert_eq!(fields(&bouncelog("log_inband_bounces = false")), [["T", "5", "22"], ["B", "21", "10"]]);
    assert_eq!(fields(&bouncelog("log_outofband_bounces = false")), [["T", "5", "22"], ["B", "5", "10"]]);
}
