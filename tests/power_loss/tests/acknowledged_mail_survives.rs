//! Power is lost at any moment of a real process, again and again, also while a start clears up: every message that was
//! acknowledged is there once, byte for byte, and no half of one that was not.
//!
//! `POWER_LOSS_LIVES` asks for more lives than CI has time for, `POWER_LOSS_OPERATIONS` for longer ones, `POWER_LOSS_SEED` for
//! another first one; `POWER_LOSS_KEEP` names a directory for the disks on which a promise was broken. A life is the same from the same seed but for the order in which its threads run.

use std::path::Path;

use power_loss::life::{Life, Measure, Outcome, Subject};
use spool::Kind;

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn measure() -> Measure {
    let operations = from_environment("POWER_LOSS_OPERATIONS", 60);
    Measure { boots: 3, operations, losses: 80, force_fsync: true }
}

fn lived(subject: Subject, seed: u64, measure: Measure) -> Outcome {
    // In memory if that is possible: what the disk would do is not the disk's business here.
    let memory = Path::new("/dev/shm");
    let writer = Path::new(env!("CARGO_BIN_EXE_power_loss_writer"));
    let mut last = String::new();
    for _ in 0..RECORDINGS {
        let scratch = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let scratch = scratch.expect("a scratch directory");
        match (Life { subject, seed, measure, writer, scratch: scratch.path() }).live() {
            Ok(outcome) => return outcome,
            Err(why) => last = why,
        }
    }
    panic!("{RECORDINGS} recordings in a row: {last}");
}

/// How often a life is recorded whose calls cannot be put in order.
const RECORDINGS: usize = 4;

fn keeps_its_promises(subject: Subject) {
    let (first, lives) = (from_environment("POWER_LOSS_SEED", 1), from_environment("POWER_LOSS_LIVES", 2));
    let (mut disks, mut promised) = (0, 0);
    for seed in first..first + lives {
        let outcome = lived(subject, seed, measure());
        assert!(
            outcome.broken.is_empty(),
            "{subject:?}, life {seed}: {} of {} disks broke a promise: {:#?}",
            outcome.broken.len(),
            outcome.disks,
            &outcome.broken[..outcome.broken.len().min(5)],
        );
        disks += outcome.disks;
        promised += outcome.promised;
    }
    println!(
        "{subject:?}: {lives} lives from seed {first}, {disks} power losses, {promised} times a message had to be there"
    );
}

#[test]
fn of_the_journal() {
    keeps_its_promises(Subject::Store(Kind::Journal));
}

#[test]
fn of_the_file_back_end() {
    keeps_its_promises(Subject::Store(Kind::File));
}

#[test]
fn of_the_sqlite_back_end() {
    keeps_its_promises(Subject::Store(Kind::Sqlite));
}

#[test]
fn of_a_journaled_log() {
    keeps_its_promises(Subject::Jlog);
}

/// Or the others prove nothing.
#[test]
fn and_is_lost_without_syncs() {
    for kind in [Kind::Journal, Kind::File, Kind::Sqlite] {
        let careless = Measure { boots: 1, force_fsync: false, ..measure() };
        let outcome = lived(Subject::Store(kind), 1, careless);
        assert!(!outcome.broken.is_empty(), "{kind}: no loss was seen in {} disks", outcome.disks);
    }
}
