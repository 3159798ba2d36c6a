//! How much memory the daemon has taken of what it may, and whether that is too much (`memory_goal`, `memory_hwm`).
//!
//! What counts is what the rooms of the house are charged with by owner (`scheduler::MemoryOwner`): what they have allocated
//! and can let go of. The page cache of spool and logs never counts. The whole is the machine's memory, or less where a
//! control group or a limit of resident, virtual or data memory (`ulimit -m`, `-v`, `-d`) gives less; but for what has been
//! taken of that very bound and nobody accounts for, code, stacks and what the allocator keeps, at most half of it. Of that the marks are
//! percentages. A charge that passes one raises the pressure itself (`scheduler::MemoryMarks`) and wakes the thread here,
//! which tells the loops; twice a second it measures, sets marks and limits anew, lowers the pressure again, and measures the
//! room of the spool.
//!
//! The limits of the owners that ask come from the marks too, so that they are right in a small control group: bodies may
//! have `max_resident_bytes`, but no more than half of the goal; messages being received a quarter of it.
//!
//! A second guard is the resident anonymous memory that the kernel counts. It has in it what nobody accounts for. Refusing
//! mail gives none of that back, and would never end; so over `memory_hwm` it counts as over `memory_goal`: what can be had
//! again is let go, and the operator is told.

use std::sync::mpsc::{self, TryRecvError};
use std::time::Duration;

use config::{Configuration, Generation, Lookup};
use declarations::daemon::{MEMORY_GOAL, MEMORY_HWM};
use delivery::EngineHandle;
use io_wrapper::IoWrappers;
use queue::MAX_RESIDENT_BYTES;
use rustix::process::{Resource, getrlimit};
use scheduler::{MemoryCharge, MemoryMarks, MemoryOwner, Meters, Pressure};
use spool::Spool;

use crate::exit::Failure;

/// The thread that looks; it ends when this is dropped.
pub struct MemoryWatch {
    _ends: mpsc::Sender<()>,
}

/// What the thread looks at, and whom it tells.
pub struct Watched {
    configuration: Configuration,
    files: IoWrappers,
    meters: Meters,
    marks: MemoryMarks,
    bodies: MemoryOwner,
    receiving: MemoryOwner,
    spool: Spool,
    engine: EngineHandle,
}

impl MemoryWatch {
    /// Looks, and goes on to.
    pub fn start(watched: Watched) -> Result<Self, Failure> {
        let (ends, ended) = mpsc::channel::<()>();
        let mut index = watched.meters.memory("spool:index").charge(0);
        watched.look(&mut index);
        let watch = move || {
            watched.marks.woken(std::thread::current());
            while ended.try_recv() == Err(TryRecvError::Empty) {
                std::thread::park_timeout(INTERVAL);
                watched.look(&mut index);
            }
        };
        let thread = std::thread::Builder::new().name("memory".to_owned()).spawn(watch);
        thread.map_err(|error| Failure::System(format!("cannot start the thread that watches memory: {error}")))?;
        Ok(Self { _ends: ends })
    }
}

impl Watched {
    /// The marks are those of `configuration`; `meters` has every owner, and keeps the reading for whoever reads meters. The
    /// pressure is set at each look, `engine` is told when memory is short, and the room of `spool` is measured too.
    pub fn new(
        configuration: &Configuration,
        files: &IoWrappers,
        meters: &Meters,
        spool: &Spool,
        engine: EngineHandle,
    ) -> Self {
        Self {
            configuration: configuration.clone(),
            files: files.clone(),
            meters: meters.clone(),
            marks: meters.memory_marks(),
            bodies: meters.memory(message::BODIES),
            receiving: meters.memory(reception::RECEIVING),
            spool: spool.clone(),
            engine,
        }
    }

    fn look(&self, index: &mut MemoryCharge) {
        index.set(usize::try_from(self.meters.get(INDEX_BYTES)).unwrap_or(usize::MAX));
        let generation = self.configuration.current();
        if let Some(reading) = Reading::take(&self.files, &self.meters, &generation) {
            let before = self.meters.get("memory.pressure");
            reading.keep(&self.meters);
            self.limit(&reading, generation.get(&MAX_RESIDENT_BYTES, &Lookup::Global));
            let now = reading.pressure();
            self.marks.pressure().set(now);
            // Whatever was charged since the reading counts: what it has raised stays raised.
            self.marks.set(reading.goal(), reading.high_water());
            if before < now as u64 || self.bodies.waiting() != 0 {
                self.engine.look_at_memory();
            }
            if before != now as u64 {
                reading.tell();
            }
        }
        self.bodies.look_again();
        self.spool.measure_room();
    }

    /// What those may have who ask.
    fn limit(&self, reading: &Reading, resident_bytes: u64) {
        let wanted = if resident_bytes == 0 { u64::MAX } else { resident_bytes };
        let (bodies, receiving) = (wanted.min(reading.goal() / BODIES_SHARE), reading.goal() / RECEIVING_SHARE);
        for (owner, most) in [(&self.bodies, bodies), (&self.receiving, receiving)] {
            if owner.most() != most {
                owner.limit(most);
            }
        }
    }
}

/// One look, in octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// What all owners are charged with.
    pub accounted: u64,
    /// Anonymous memory that is resident, as the kernel counts.
    pub anonymous: u64,
    /// All resident memory, files that are mapped among it.
    pub resident: u64,
    /// What the daemon may have.
    pub whole: u64,
    /// What its accounts may have of that.
    pub available: u64,
    /// The marks, in percent of the whole.
    pub marks: Marks,
}

/// `memory_goal` and `memory_hwm`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marks {
    goal: u64,
    high_water: u64,
}

impl Reading {
    /// Reads files of /proc and /sys: not for an event loop. None where they are not to be read.
    pub fn take(files: &IoWrappers, meters: &Meters, generation: &Generation) -> Option<Self> {
        let text = |path: &str| files.read_text(path, BYTES_MAX).ok();
        let status = text("/proc/self/status")?;
        let machine = kibibytes(&text("/proc/meminfo")?, "MemTotal:")?;
        let mark = |option| generation.get(option, &Lookup::Global);
        let (accounted, anonymous) = (meters.memory_marks().accounted(), kibibytes(&status, "RssAnon:")?);
        let limit = |resource| getrlimit(resource).current.unwrap_or(u64::MAX);
        // Each bound with what counts against it: address space is taken by what is resident nowhere.
        let sources = [
            (machine.min(group_limit(&text).unwrap_or(u64::MAX)).min(limit(Resource::Rss)), anonymous),
            (limit(Resource::Data), kibibytes(&status, "VmData:")?),
            (limit(Resource::As), kibibytes(&status, "VmSize:")?),
        ];
        let (whole, available) = least(&sources, accounted);
        Some(Self {
            accounted,
            anonymous,
            resident: kibibytes(&status, "VmRSS:")?,
            whole,
            available,
            marks: Marks { goal: mark(&MEMORY_GOAL), high_water: mark(&MEMORY_HWM) },
        })
    }

    /// Octets of `memory_goal`.
    pub fn goal(&self) -> u64 {
        share(self.marks.goal, self.available)
    }

    /// Octets of `memory_hwm`.
    pub fn high_water(&self) -> u64 {
        share(self.marks.high_water, self.available)
    }

    /// Resident anonymous memory that no owner is charged with.
    pub fn unaccounted(&self) -> u64 {
        self.anonymous.saturating_sub(self.accounted)
    }

    /// How short memory is.
    pub fn pressure(&self) -> Pressure {
        if self.high_water() < self.accounted {
            Pressure::HighWater
        } else if self.goal() < self.accounted || share(self.marks.high_water, self.whole) < self.anonymous {
            Pressure::Goal
        } else {
            Pressure::None
        }
    }

    fn keep(&self, meters: &Meters) {
        let figures = [
            ("accounted", self.accounted),
            ("anonymous", self.anonymous),
            ("unaccounted", self.unaccounted()),
            ("whole", self.whole),
            ("available", self.available),
            ("goal", self.goal()),
            ("high_water", self.high_water()),
            ("pressure", self.pressure() as u64),
        ];
        figures.into_iter().for_each(|(name, value)| meters.counter(&format!("memory.{name}")).set(value));
    }

    fn tell(&self) {
        let Self { accounted, anonymous, whole, marks: Marks { goal, high_water }, .. } = *self;
        match self.pressure() {
            Pressure::HighWater => tracing::error!(target: "MEMORY", "{accounted} bytes of {whole} are used, over \
                memory_hwm ({high_water} %): no mail is taken until it is less; the console's memory says what they are \
                used for; take work or limits away, or give the host more memory"),
            Pressure::Goal if accounted <= self.goal() => {
                tracing::warn!(target: "MEMORY", "{anonymous} bytes of {whole} are \
                resident, over memory_hwm ({high_water} %), but only {accounted} are accounted for: bodies leave memory \
                as over memory_goal")
            }
            Pressure::Goal => {
                tracing::warn!(target: "MEMORY", "{accounted} bytes of {whole} are used, over memory_goal ({goal} %)")
            }
            Pressure::None => {
                tracing::info!(target: "MEMORY", "{accounted} bytes of {whole} are used, below memory_goal again")
            }
        }
    }
}

/// Of bounds, each with what has been taken of it: the least, and the least that is left of one for what is accounted for. What
/// nobody accounts for takes half of a bound at most.
fn least(sources: &[(u64, u64)], accounted: u64) -> (u64, u64) {
    let left = |&(bound, taken): &(u64, u64)| bound - taken.saturating_sub(accounted).min(bound / 2);
    let (bounds, lefts) = (sources.iter().map(|source| source.0), sources.iter().map(left));
    (bounds.min().unwrap_or(u64::MAX), lefts.min().unwrap_or(u64::MAX))
}

fn share(percent: u64, whole: u64) -> u64 {
    u64::try_from(u128::from(whole) * u128::from(percent) / 100).unwrap_or(u64::MAX)
}

/// The least `memory.max` of the process's control group and those above it (version 2), or its limit under version 1.
fn group_limit(text: &dyn Fn(&str) -> Option<String>) -> Option<u64> {
    let groups = text("/proc/self/cgroup")?;
    let mut limits = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, group) = (fields.next()?, fields.next()?);
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        for above in std::path::Path::new(group).ancestors() {
            let above = above.to_string_lossy();
            let limit = text(&format!("{root}{}/{file}", above.trim_end_matches('/')));
            // "max" is no limit.
            limits.extend(limit.and_then(|limit| limit.trim().parse::<u64>().ok()));
        }
    }
    limits.into_iter().min()
}

/// `NAME:   123 kB`, in bytes.
fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The part of memory_goal that bodies may have, those in queues and those on their way out together.
const BODIES_SHARE: u64 = 2;
/// The part of memory_goal that messages being received may have.
const RECEIVING_SHARE: u64 = 4;
/// Time between two looks, unless a mark is passed.
const INTERVAL: Duration = Duration::from_millis(500);
/// The files of /proc and /sys read here are far smaller.
const BYTES_MAX: usize = 1 << 20;
/// The journal keeps the account of its index itself.
const INDEX_BYTES: &str = "spool.journal.index_bytes";

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(accounted: u64, anonymous: u64) -> Reading {
        let marks = Marks { goal: 90, high_water: 95 };
        let available = 1000 - anonymous.saturating_sub(accounted).min(500);
        Reading { accounted, anonymous, resident: anonymous, whole: 1000, available, marks }
    }

    #[test]
    fn marks_are_percentages_of_the_whole_and_what_is_accounted_for_counts() {
        let of = |used| reading(used, 0).pressure();
        assert_eq!(
            [of(900), of(901), of(950), of(951)],
            [Pressure::None, Pressure::Goal, Pressure::Goal, Pressure::HighWater]
        );
        assert_eq!(of(u64::MAX), Pressure::HighWater);
        assert_eq!((reading(10, 0).goal(), reading(10, 0).high_water()), (900, 950));
        let crowded = reading(100, 300);
        assert_eq!((crowded.available, crowded.goal(), crowded.high_water()), (800, 720, 760), "of what is left");
    }

    #[test]
    fn what_nobody_accounts_for_never_keeps_mail_out() {
        let of = |anonymous| reading(100, anonymous).pressure();
        assert_eq!(reading(0, 10_000).goal(), 450, "half of the whole is left at least");
        assert_eq!([of(950), of(951), of(u64::MAX)], [Pressure::None, Pressure::Goal, Pressure::Goal]);
        assert_eq!((reading(100, 951).unaccounted(), reading(100, 50).unaccounted()), (851, 0));
    }

    /// Stacks and what the allocator has reserved take address space, though none of it is resident.
    #[test]
    fn each_bound_is_held_against_what_was_taken_of_it() {
        assert_eq!(least(&[(1000, 150), (u64::MAX, 400)], 100), (1000, 950));
        assert_eq!(least(&[(4000, 150), (1000, 500)], 100), (1000, 600), "address space is what is short");
        assert_eq!(least(&[(700, 150), (1000, 500)], 100), (700, 600));
        assert_eq!(least(&[(4000, 150), (1000, 5000)], 0), (1000, 500));
    }

    #[test]
    fn the_figures_of_this_process_can_be_read() {
        let meters = Meters::new();
        let _charge = meters.memory("bodies").charge(4096);
        let mut registry = config::Registry::new();
        registry.add_all(&[&MEMORY_GOAL, &MEMORY_HWM]);
        let generation = Configuration::of_text(registry, "memory_goal = 50\n").expect("it is valid").current();
        let reading = Reading::take(&IoWrappers::new(), &meters, &generation).expect("Linux tells");
        assert!(0 < reading.anonymous && reading.anonymous < reading.whole, "{reading:?}");
        assert_eq!((reading.accounted, reading.goal()), (4096, reading.available / 2));
        assert!(reading.whole / 2 <= reading.available && reading.available <= reading.whole, "{reading:?}");
        reading.keep(&meters);
        assert_eq!((meters.get("memory.accounted"), meters.get("memory.goal")), (4096, reading.available / 2));
    }

    #[test]
    fn the_least_limit_of_a_group_and_those_above_it_counts() {
        let files = |path: &str| {
            let text = match path {
                "/proc/self/cgroup" => "1:name=systemd:/x\n0::/system.slice/postrider.service\n",
                "/sys/fs/cgroup/system.slice/postrider.service/memory.max" => "max\n",
                "/sys/fs/cgroup/system.slice/memory.max" => "4096\n",
                "/sys/fs/cgroup/memory.max" => "8192\n",
                _ => return None,
            };
            Some(text.to_owned())
        };
        assert_eq!(group_limit(&files), Some(4096));
        let older = |path: &str| match path {
            "/proc/self/cgroup" => Some("4:cpu,memory:/a\n".to_owned()),
            "/sys/fs/cgroup/memory/a/memory.limit_in_bytes" => Some("1234\n".to_owned()),
            _ => None,
        };
        assert_eq!(group_limit(&older), Some(1234));
        assert_eq!(group_limit(&|_| None), None);
    }
}
