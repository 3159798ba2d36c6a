//! One life of a spool: boots that are recorded, each ended by a power loss or a kill at any moment, and what a start makes
//! of every disk that could be left.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use message::MessageId;
use spool::{Archive, Kind, OpenError, Spool};

use crate::book::{Book, Found};
use crate::device::{Device, Image};
use crate::random::Seeded;
use crate::trace::{CALLS, Trace};
use crate::{mail, records};

/// What writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A back end of the spool.
    Store(Kind),
    /// A journaled log.
    Jlog,
}

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub struct Measure {
    /// Boots in a row.
    pub boots: u64,
    /// Operations of a boot.
    pub operations: u64,
    /// Power losses looked at in a boot.
    pub losses: u64,
    /// Whether the store syncs; without, a test must see losses.
    pub force_fsync: bool,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Disks looked at.
    pub disks: u64,
    /// Events of the recorded runs.
    pub events: usize,
    /// Messages, or records, that had to be there, over all disks.
    pub promised: usize,
    /// Of the disks, those on which a promise was broken: the seed of the disk, and how.
    pub broken: Vec<(u64, String)>,
}

/// A life.
pub struct Life<'a> {
    /// What lives.
    pub subject: Subject,
    /// Decides everything but the order in which threads run.
    pub seed: u64,
    /// How long.
    pub measure: Measure,
    /// The program.
    pub writer: &'a Path,
    /// An empty directory on any file system.
    pub scratch: &'a Path,
}

/// What was said until a moment.
#[derive(Clone, Default)]
struct Heard {
    book: Book,
    records: Vec<String>,
}

/// What the next boot finds.
struct Left {
    device: Device,
    image: Image,
    heard: Heard,
}

impl Life<'_> {
    /// Lives it. An error if the disk is not as the model says in the end: calls of two threads overlapped, and strace told of
    /// them in another order than they took effect in. Such a recording proves nothing.
    pub fn live(&self) -> Result<Outcome, String> {
        let mut random = Seeded(self.seed);
        let (mut device, mut heard, mut outcome) = (Device::new(&self.root(0)), Heard::default(), Outcome::default());
        std::fs::create_dir(self.root(0)).expect("a directory");
        for boot in 0..self.measure.boots {
            let trace = self.record(boot);
            outcome.events += trace.events.len();
            let left = self.lose_power(boot, &trace, &mut device, &heard, &mut random, &mut outcome);
            if let Some(why) = device.kill().differs(&device, &self.root(boot)) {
                return Err(format!("the model of the disk is wrong: {why}"));
            }
            let next = self.root(boot + 1);
            std::fs::create_dir(&next).expect("a directory");
            left.image.write(&next);
            (device, heard) = (left.device, left.heard);
        }
        Ok(outcome)
    }

    /// Plays a recorded run to its end, and looks at what power losses on the way would leave. One of them is for the next
    /// boot, or the disk of a kill at the same moment.
    fn lose_power(
        &self,
        boot: u64,
        trace: &Trace,
        device: &mut Device,
        before: &Heard,
        random: &mut Seeded,
        outcome: &mut Outcome,
    ) -> Left {
        let (losses, events) = (self.measure.losses, trace.events.len());
        let mut moments: Vec<usize> = (0..losses).map(|_| random.below(events as u64 + 1) as usize).collect();
        moments.sort_unstable();
        let (mut played, mut left, chosen) = (0, None, random.below(losses) as usize);
        for (nth, &moment) in moments.iter().enumerate() {
            trace.events[played..moment].iter().for_each(|event| device.play(trace, *event));
            played = moment;
            let (loss, heard) = (random.draw(), before.and(self.subject, device.said()));
            let image = device.crash(loss);
            outcome.disks += 1;
            match self.examine(&image, &heard) {
                Ok(promised) => outcome.promised += promised,
                Err(why) => {
                    if let Some(keep) = std::env::var_os("POWER_LOSS_KEEP") {
                        let keep = Path::new(&keep).join(loss.to_string());
                        std::fs::create_dir_all(&keep).expect("a directory");
                        image.write(&keep);
                        let told = trace.told(&trace.events[..moment]);
                        std::fs::write(keep.with_extension("calls"), told).expect("the calls before");
                    }
                    outcome.broken.push((loss, format!("boot {boot}, event {moment} of {events}: {why}")));
                }
            }
            if nth == chosen {
                let next = self.root(boot + 1);
                left = Some(if random.one_in(3) {
                    Left { image: device.kill(), device: device.clone().killed(&next), heard }
                } else {
                    Left { device: Device::restarted(&image, &next), image, heard }
                });
            }
        }
        trace.events[played..].iter().for_each(|event| device.play(trace, *event));
        left.expect("one of the moments was chosen")
    }

    /// Looks at one disk; how much had to be there.
    fn examine(&self, image: &Image, heard: &Heard) -> Result<usize, String> {
        let disk = self.scratch.join("disk");
        std::fs::create_dir(&disk).expect("a directory");
        image.write(&disk);
        let kept = match self.subject {
            Subject::Store(kind) => examine(kind, &disk.join(SPOOL), &heard.book),
            Subject::Jlog if !disk.join(LOG).exists() => records::check(&heard.records, &[]),
            Subject::Jlog => records::read(&disk.join(LOG)).and_then(|found| records::check(&heard.records, &found)),
        };
        std::fs::remove_dir_all(&disk).expect("the disk goes");
        kept
    }

    /// Runs the writer under strace.
    fn record(&self, boot: u64) -> Trace {
        let (root, output) = (self.root(boot), self.scratch.join("trace"));
        let (kind, base) = match self.subject {
            Subject::Store(kind) => (kind.as_str(), root.join(SPOOL)),
            Subject::Jlog => ("jlog", root.join(LOG)),
        };
        let numbers = [self.seed + boot, self.measure.operations, boot << 15, u64::from(self.measure.force_fsync)];
        let ran = Command::new("strace")
            .args(["-f", "-xx", "-s", "16777216", "--seccomp-bpf", "-e", "signal=none"])
            .arg("-e")
            .arg(format!("trace={CALLS}"))
            .arg("-o")
            .arg(&output)
            .arg(self.writer)
            .arg(kind)
            .arg(base)
            .args(numbers.map(|number| number.to_string()))
            .output()
            .expect("strace runs: tests/run installs it");
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "the writer failed, or strace may not trace it here: {said}");
        let text = std::fs::read_to_string(&output).expect("what strace wrote");
        std::fs::remove_file(&output).expect("it goes");
        Trace::parse(&text)
    }

    fn root(&self, boot: u64) -> PathBuf {
        self.scratch.join(format!("boot{boot}"))
    }
}

impl Heard {
    fn and(&self, subject: Subject, said: &[String]) -> Self {
        let mut heard = self.clone();
        match subject {
            Subject::Store(_) => heard.book.hear(said),
            Subject::Jlog => heard.records.extend_from_slice(said),
        }
        heard
    }
}

/// Starts on a disk twice, and looks at it as the tools do in between.
fn examine(kind: Kind, base: &Path, book: &Book) -> Result<usize, String> {
    let first = start(kind, base)?;
    book.check(&first)?;
    let archive = patiently(|| Archive::open(None, base, Arc::new(spool::disk::RealDisk)))?;
    let damage = archive.faults().into_iter().find(|fault| !matches!(fault, spool::archive::Fault::Notice(_)));
    drop(archive);
    if let Some(damage) = damage {
        return Err(format!("after a start there is {damage:?}"));
    }
    let second = start(kind, base)?;
    if first == second {
        Ok(book.promised())
    } else {
        Err("a second start found something else than the first".to_owned())
    }
}

/// A program that another test is starting has our descriptors, and with them the lock of a spool that was closed meanwhile,
/// until it becomes that program.
fn patiently<T>(open: impl Fn() -> Result<T, OpenError>) -> Result<T, String> {
    for _ in 0..200 {
        match open() {
            Err(OpenError::Locked { .. }) => std::thread::sleep(Duration::from_millis(10)),
            other => return other.map_err(|error| error.to_string()),
        }
    }
    Err("it stays locked".to_owned())
}

fn start(kind: Kind, base: &Path) -> Result<Vec<Found>, String> {
    let (_store, spool) = patiently(|| mail::open(kind, base, true))?;
    let envelopes = Arc::new(Mutex::new(Vec::new()));
    let seen = envelopes.clone();
    let each = Box::new(move |envelope| seen.lock().expect("no panic").push(envelope));
    spool.process_disk_queue(each).wait().map_err(|error| error.to_string())?;
    let envelopes = std::mem::take(&mut *envelopes.lock().expect("no panic"));
    let mut found: Vec<Found> = envelopes.into_iter().map(|envelope| read(&spool, envelope)).collect();
    found.sort_by_key(|message| message.id);
    spool.close();
    Ok(found)
}

fn read(spool: &Spool, envelope: message::Envelope) -> Found {
    let id: MessageId = envelope.id;
    let body = spool.read(id).wait().map(|(_, body)| body).map_err(|error| error.to_string());
    Found { id: id.to_bits(), envelope, body }
}

const SPOOL: &str = "spool";
const LOG: &str = "log";
