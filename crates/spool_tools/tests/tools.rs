//! The programs, against real directories: exit codes, what they print, and that they change nothing they should not.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use message::{Body, Envelope, MessageId};
use scheduler::{Clock, Meters};
use spool::disk::RealDisk;
use spool::{Job, JournalOptions, Kind, ReadPool, Spool, Store};
use tempfile::TempDir;

struct Inline;

impl ReadPool for Inline {
    fn submit(&self, job: Job) {
        job();
    }
}

const FIRST: &str = "71/A0-03127-08B31BA6";

fn envelope(number: u64, recipient: &str) -> Envelope {
    let text = format!(r#"{{ "reverse_path": "news@sender.example", "forward_path": "{recipient}" }}"#);
    let mut envelope = spool_tools_json(&text);
    envelope.id = MessageId::from_bits(FIRST.parse::<MessageId>().unwrap().to_bits() + number);
    envelope.batch = envelope.id;
    envelope.created = std::time::Duration::from_secs(1_790_000_000 + number * 86_400);
    envelope.body_bytes = body(number).len() as u64;
    if number == 2 {
        let stored = body(number);
        let mut section = message::HeaderSection::of(&stored, None);
        section.set(message::field::encode("Subject", "for Eve").unwrap());
        envelope.edits = section.into_edits().unwrap().map(Arc::new);
        envelope.particulars_mut().requiretls = true;
    }
    envelope
}

fn spool_tools_json(text: &str) -> Envelope {
    spool::export::from_json(&serde_json::from_str(text).unwrap()).unwrap()
}

fn body(number: u64) -> Body {
    format!("Subject: {number}\r\n\r\n{}.\r\n", "the same line\r\n".repeat(500)).into()
}

/// Held while a spool is open here and while a program is started: between fork and exec the child has the spool's lock too.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A spool of a kind with three messages; the second's body is compressed, the third has a Subject of its own and REQUIRETLS.
fn filled(kind: Kind) -> (TempDir, PathBuf) {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let directory = tempfile::tempdir().unwrap();
    let base = directory.path().join("spool");
    let options = JournalOptions { segment_bytes: 1 << 20, ..JournalOptions::new(&base) };
    let store = Store::open(kind, options, Arc::new(RealDisk), Clock::system(), &Meters::new()).unwrap();
    let compress = Arc::new(compress_spool::Compress::default());
    let spool = Spool::new(vec![compress.clone(), store.module()], Arc::new(Inline));
    for (number, recipient) in ["ann@shop.example", "bob@shop.example", "eve@else.example"].into_iter().enumerate() {
        compress.compress_from(if number == 1 { 100 } else { usize::MAX });
        spool.store_and_wait(&body(number as u64), &[envelope(number as u64, recipient)]).unwrap();
    }
    spool.close();
    (directory, base)
}

fn run(tool: &str, arguments: &[&str]) -> Output {
    let program = match tool {
        "check" => env!("CARGO_BIN_EXE_ec_spool_check"),
        "show" => env!("CARGO_BIN_EXE_ec_show"),
        "export" => env!("CARGO_BIN_EXE_ec_spool_export"),
        _ => env!("CARGO_BIN_EXE_ec_spool_convert"),
    };
    let mut command = Command::new(program);
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    let started = {
        let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        command.spawn().unwrap()
    };
    started.wait_with_output().unwrap()
}

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

/// Changes one octet of the first file below `directory` that `chosen` takes, well inside it.
fn flip(directory: &Path, chosen: fn(&Path) -> bool) {
    let mut waiting = vec![directory.to_owned()];
    while let Some(directory) = waiting.pop() {
        let mut paths: Vec<PathBuf> =
            std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        for path in paths {
            if path.is_dir() {
                waiting.push(path);
            } else if chosen(&path) {
                let mut octets = std::fs::read(&path).unwrap();
                octets[60] ^= 1;
                return std::fs::write(&path, octets).unwrap();
            }
        }
    }
    panic!("no such file");
}

#[test]
fn a_sound_spool_is_clean_whatever_its_back_end() {
    for kind in [Kind::Journal, Kind::File, Kind::Sqlite] {
        let (_directory, base) = filled(kind);
        let checked = run("check", &["-d", base.to_str().unwrap()]);
        let said = text(&checked.stdout);
        assert_eq!(checked.status.code(), Some(0), "{kind}: {said}{}", text(&checked.stderr));
        assert!(
            said.starts_with("Total scanned: 3\nTotal ok: 3\nMeta failures: 0\nBody failures: 0\n"),
            "{kind}: {said}"
        );
    }
}

#[test]
fn damage_is_told_by_message_and_the_rest_is_still_checked() {
    let (_directory, base) = filled(Kind::File);
    flip(&base, |path| path.extension().is_some_and(|suffix| suffix == "body"));
    flip(&base, |path| path.extension().is_some_and(|suffix| suffix == "meta"));
    let checked = run("check", &["-d", base.to_str().unwrap()]);
    assert_eq!(checked.status.code(), Some(1));
    let (said, told) = (text(&checked.stdout), text(&checked.stderr));
    assert!(told.starts_with("FAIL 91/A0-03127-08B31BA6: message 91/A0-03127-08B31BA6 is damaged on disk: "), "{told}");
    assert!(said.contains("Total ok: 2"), "{said}{told}");
    let metadata_only = text(&run("check", &["-x", "-d", base.to_str().unwrap()]).stdout);
    assert!(metadata_only.contains("Meta failures: 1\nBody failures: 0"), "{metadata_only}");
}

#[test]
fn a_check_that_cannot_be_made_is_fatal() {
    let (directory, base) = filled(Kind::File);
    let missing = directory.path().join("missing");
    assert_eq!(run("check", &["-d", missing.to_str().unwrap()]).status.code(), Some(2));
    assert_eq!(run("check", &["--nonsense"]).status.code(), Some(2));
    assert_eq!(run("check", &["-h"]).status.code(), Some(0));
    let options = JournalOptions::new(&base);
    let store = Store::open(Kind::File, options, Arc::new(RealDisk), Clock::system(), &Meters::new()).unwrap();
    let refused = run("check", &["-d", base.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(2));
    let expected = format!("is in use by process {}; stop that one first", std::process::id());
    assert!(text(&refused.stderr).contains(&expected), "{}", text(&refused.stderr));
    store.module().close();
}

#[test]
fn the_spool_of_a_configuration_is_found() {
    let (directory, base) = filled(Kind::Journal);
    let configuration = directory.path().join("ecelerity.conf");
    std::fs::write(&configuration, format!("spoolbase = \"{}\"\nhostname = \"x\"\n", base.display())).unwrap();
    let shown = run("show", &["-c", configuration.to_str().unwrap()]);
    assert_eq!(text(&shown.stdout).lines().count(), 3, "{}", text(&shown.stderr));
}

#[test]
fn messages_are_shown_by_id_by_path_and_by_date() {
    for kind in [Kind::Journal, Kind::File, Kind::Sqlite] {
        let (_directory, base) = filled(kind);
        let base = base.to_str().unwrap();
        let lines =
            |arguments: &[&str]| text(&run("show", &[&["-d", base], arguments].concat()).stdout).lines().count();
        assert_eq!(lines(&[]), 3);
        assert_eq!(lines(&["-n", "2"]), 2);
        assert_eq!(lines(&["--recipient", "@shop\\.example$"]), 2);
        assert_eq!(lines(&["--sender", "^nobody"]), 0);
        assert_eq!(lines(&["--start_date", "2026-09-22"]), 2);
        assert_eq!(lines(&["--start_date", "2026-09-22", "--end_date", "2026-09-23"]), 1);
        let second = MessageId::from_bits(FIRST.parse::<MessageId>().unwrap().to_bits() + 1).to_string();
        let one = text(&run("show", &["-d", base, "-m", &second]).stdout);
        assert!(one.contains("To: <bob@shop.example>") && one.contains("Subject: 1\r\n"), "{one}");
        assert_eq!(run("show", &["-d", base, "-m", "00/00-00000-00000000"]).status.code(), Some(2));
    }
}

#[test]
fn what_is_exported_is_the_message_and_its_envelope() {
    let (directory, base) = filled(Kind::Journal);
    let target = directory.path().join("out");
    let exported = run("export", &["-d", base.to_str().unwrap(), target.to_str().unwrap()]);
    assert_eq!(text(&exported.stdout), "Exported: 3\n", "{}", text(&exported.stderr));
    let (found, octets) = spool::export::read(&RealDisk, &target, "81.A0.03127.08B31BA6").unwrap();
    assert_eq!((found, octets), (envelope(1, "bob@shop.example"), body(1)));
    let (found, octets) = spool::export::read(&RealDisk, &target, "91.A0.03127.08B31BA6").unwrap();
    assert!(octets.starts_with(b"Subject: for Eve\r\n\r\nthe same line\r\n"));
    assert!(found.edits.is_none() && found.particulars.is_some_and(|particulars| particulars.requiretls));
}

#[test]
fn a_message_is_shown_as_its_recipient_gets_it() {
    let (_directory, base) = filled(Kind::Journal);
    let shown = text(&run("show", &["-d", base.to_str().unwrap(), "-m", "91/A0-03127-08B31BA6"]).stdout);
    assert!(shown.contains("Subject: for Eve\r\n") && !shown.contains("Subject: 2"), "{shown}");
    assert!(shown.contains("REQUIRETLS: yes\n") && shown.contains("header section changed in 1 places\n"), "{shown}");
}

#[test]
fn a_spool_is_converted_there_and_back_and_the_source_stays_until_it_is_to_go() {
    let (directory, base) = filled(Kind::Journal);
    let path = |name: &str| directory.path().join(name).display().to_string();
    let (first, second, third) = (format!("journal:{}", base.display()), path("files"), path("again"));
    let converted = run("convert", &["-q", "--from", &first, "--to", &format!("file:{second}")]);
    let expected = "Total: 3\nCopied: 3\nPresent: 0\nFailed: 0\n";
    assert_eq!(text(&converted.stdout), expected, "{}", text(&converted.stderr));
    let again = run("convert", &["-q", "--from", &first, "--to", &format!("file:{second}")]);
    assert_eq!(text(&again.stdout), "Total: 3\nCopied: 0\nPresent: 3\nFailed: 0\n");
    assert_eq!(run("check", &["-d", base.to_str().unwrap()]).status.code(), Some(0));
    let back = run("convert", &["-q", "--remove", "--from", &second, "--to", &format!("journal:{third}")]);
    assert_eq!(back.status.code(), Some(0), "{}", text(&back.stderr));
    assert_eq!(run("check", &["-d", &second]).status.code(), Some(2), "nothing is left to check");
    let shown = |base: &str| text(&run("show", &["-d", base, "-s", "all"]).stdout);
    assert_eq!(shown(base.to_str().unwrap()), shown(&third));
    assert_eq!(run("convert", &["--from", &first, "--to", &first]).status.code(), Some(2));
}
