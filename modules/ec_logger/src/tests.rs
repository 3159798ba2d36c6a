//! The module over real files: what reaches which log.

use std::path::{Path, PathBuf};
use std::time::Duration;

use config::{Configuration, Environment, Registry};
use io_wrapper::IoWrappers;
use logging::{
    AccountingEvent, AccountingRecord, DeliveryRecord, ErrorRecord, FailureRecord, Level, LogHooks, ReceptionRecord,
    RejectionRecord,
};
use message::{Context, DeliveryState, Envelope, MessageId, Origin, Protocol, QueueName};
use scheduler::{Clock, Meters};
use smtp::{ForwardPath, Mailbox, ReversePath};

use super::*;

struct Logged {
    folder: tempfile::TempDir,
    module: Arc<EcLogger>,
    log: LogHooks,
    writer: LogWriter,
}

/// The module, loaded with these options beside the paths of all four logs.
fn logged(options: &str) -> Logged {
    let folder = tempfile::tempdir().unwrap();
    let writer = LogWriter::start(Clock::system(), &Meters::new(), IoWrappers::new()).unwrap();
    let module = Arc::new(EcLogger::new(writer.clone()));
    let path = folder.path().join("ecelerity.conf");
    let paths: String = ["mainlog", "rejectlog", "paniclog", "acctlog"]
        .map(|name| format!("{name} = \"{}\"\n", folder.path().join("log").join(name).display()))
        .concat();
    std::fs::write(&path, format!("ec_logger {{\n{paths}heartbeat = 0\n{options}\n}}\n")).unwrap();
    let mut registry = Registry::new();
    registry.add_all(OPTIONS);
    registry.add_all(logging::OPTIONS);
    let generation = Configuration::load(registry, &path, Environment::default()).unwrap().current();
    let mut hooks = HookSetBuilder::new();
    module.ext_init(Stage::Init { privileged: false }, "", &generation, &mut hooks).unwrap();
    Logged { folder, module, log: LogHooks::of(&hooks.finish()), writer }
}

impl Logged {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("log").join(name)
    }

    fn text(&self, name: &str) -> String {
        self.writer.flush();
        read(&self.path(name))
    }

    /// One of everything.
    fn tell_all(&self) {
        let envelope = envelope();
        let at = Duration::from_secs(1_790_000_002);
        self.log.reception(&ReceptionRecord { at, envelope: &envelope, size: 11 });
        self.log.delivery(&DeliveryRecord {
            at,
            envelope: &envelope,
            connection: MessageId::NULL,
            bytes: 7,
            remote: None,
        });
        let failure = FailureRecord {
            at,
            envelope: &envelope,
            connection: MessageId::NULL,
            bytes: 0,
            size: 11,
            stage: logging::Stage::NotConnected,
            remote: None,
            reply: "451 4.4.1 [internal] no",
            is_bounce: true,
        };
        self.log.transient(&failure);
        self.log.permanent(&failure);
        self.log.rejection(&RejectionRecord {
            at,
            remote: "203.0.113.5:42601".parse().unwrap(),
            local: "192.0.2.1:25".parse().unwrap(),
            connection: MessageId::NULL,
            phase: "just connected",
            code: 554,
            module: "",
            context: &Context::default(),
            text: "go away",
        });
        self.log.accounting(&AccountingRecord {
            at,
            listener: "/tmp/2025",
            peer: None,
            user: "jan",
            event: AccountingEvent::Authentication(true),
        });
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn envelope() -> Envelope {
    let id: MessageId = "71/A0-03127-08B31BA6".parse().unwrap();
    Envelope {
        id,
        batch: id,
        reverse_path: ReversePath::Null,
        forward_path: ForwardPath(Mailbox::parse("ann@shop.example").unwrap()),
        created: Duration::from_secs(1_790_000_000),
        body_bytes: 11,
        eight_bit: false,
        origin: Origin { protocol: Protocol::Internal, peer: None, connection: MessageId::NULL },
        queue: QueueName { binding_group: "default".into(), binding: "default".into(), domain: "shop.example".into() },
        delivery: DeliveryState::default(),
        context: Context::default(),
        edits: None,
        particulars: None,
    }
}

fn kinds(mainlog: &str) -> Vec<&str> {
    mainlog.lines().filter_map(|line| line.split('@').nth(4)).collect()
}

#[test]
fn every_event_reaches_its_log() {
    let logged = logged("");
    logged.tell_all();
    assert_eq!(kinds(&logged.text("mainlog")), ["R", "D", "T", "P"]);
    assert!(logged.text("rejectlog").ends_with("go away\n"));
    assert_eq!(logged.text("acctlog"), "1790000002@N@/tmp/2025@@jan@1\n");
    let mut record = ErrorRecord { at: Duration::from_secs(5), level: Level::Error, message: "broken", kept: false };
    logged.log.error.call_now(&mut record);
    assert!(record.kept);
    assert_eq!(logged.text("paniclog"), "5: broken\n");
}

#[test]
fn what_is_switched_off_is_neither_written_nor_provided() {
    let logged = logged("log_receptions = false\nlog_deliveries = false\nlog_rejections = false\nlog_errors = false");
    logged.tell_all();
    assert_eq!(kinds(&logged.text("mainlog")), ["T", "P"]);
    assert!(logged.log.reception.is_empty() && logged.log.rejection.is_empty() && logged.log.error.is_empty());
    assert!(!logged.path("rejectlog").exists() && !logged.path("paniclog").exists());
}

#[test]
fn reopening_leaves_the_renamed_file_behind() {
    let logged = logged("");
    logged.tell_all();
    logged.text("mainlog");
    std::fs::rename(logged.path("mainlog"), logged.path("mainlog.1")).unwrap();
    logged.log.reopen(None);
    logged.tell_all();
    assert_eq!(kinds(&logged.text("mainlog")).len(), 4);
    assert_eq!(kinds(&read(&logged.path("mainlog.1"))).len(), 4);
    assert_eq!(logged.module.control("", &["reopen"]), Ok("4 logs reopened".to_owned()));
    assert!(logged.module.control("", &["burn"]).unwrap_err().contains("known is: reopen logs"));
}

#[test]
fn a_log_that_cannot_be_opened_refuses_the_generation_and_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ecelerity.conf");
    std::fs::write(&path, "ec_logger {\nmainlog = \"gopher://mainlog\"\n}\n").unwrap();
    let mut registry = Registry::new();
    registry.add_all(OPTIONS);
    registry.add_all(logging::OPTIONS);
    let generation = Configuration::load(registry, &path, Environment::default()).unwrap().current();
    let writer = LogWriter::start(Clock::system(), &Meters::new(), IoWrappers::new()).unwrap();
    let stage = Stage::Init { privileged: false };
    let refused = EcLogger::new(writer).ext_init(stage, "", &generation, &mut HookSetBuilder::new()).unwrap_err();
    assert!(refused.starts_with("mainlog: gopher://mainlog"), "{refused}");
}
