//! How much memory the process uses of what it may, and whether that is too much (`memory_goal`, `memory_hwm`).
//!
//! What counts is resident anonymous memory: what the daemon itself has allocated and the kernel cannot drop. The page
//! cache of its spool and logs is not counted, however large. The whole is the machine's memory, or less where a control
//! group or the limit of resident memory (`ulimit -m`) gives less. Read twice a second on a thread of its own, beside the
//! room of the spool; loops read gauges.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use config::{Configuration, Generation, Lookup};
use declarations::daemon::{MEMORY_GOAL, MEMORY_HWM};
use io_wrapper::IoWrappers;
use rustix::process::{Resource, getrlimit};
use scheduler::{MemoryPressure, Pressure};
use spool::Spool;

use crate::exit::Failure;

/// The thread that measures; it ends when this is dropped.
pub struct MemoryWatch {
    _ends: mpsc::Sender<()>,
}

impl MemoryWatch {
    /// Starts to measure, for `pressure` and for the room of `spool`.
    pub fn start(
        configuration: Configuration,
        files: IoWrappers,
        pressure: MemoryPressure,
        spool: Spool,
    ) -> Result<Self, Failure> {
        let (ends, ended) = mpsc::channel();
        let watch = move || {
            while ended.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                if let Some(measured) = Memory::read(&files) {
                    tell(measured, &configuration.current(), &pressure);
                }
                spool.measure_room();
            }
        };
        let thread = std::thread::Builder::new().name("memory".to_owned()).spawn(watch);
        thread.map_err(|error| Failure::System(format!("cannot start the thread that watches memory: {error}")))?;
        Ok(Self { _ends: ends })
    }
}

fn tell(memory: Memory, generation: &Generation, pressure: &MemoryPressure) {
    let goal = generation.get(&MEMORY_GOAL, &Lookup::Global);
    let high_water = generation.get(&MEMORY_HWM, &Lookup::Global);
    let (before, now) = (pressure.get(), memory.pressure(goal, high_water));
    if before == now {
        return;
    }
    pressure.set(now);
    let Memory { used, whole } = memory;
    match now {
        Pressure::HighWater => tracing::error!(target: "MEMORY", "{used} bytes of {whole} are used, over memory_hwm \
            ({high_water} %): no mail is taken until it is less; take work or limits away, or give the host more memory"),
        Pressure::Goal => {
            tracing::warn!(target: "MEMORY", "{used} bytes of {whole} are used, over memory_goal ({goal} %)")
        }
        Pressure::None => tracing::info!(target: "MEMORY", "{used} bytes of {whole} are used, below memory_goal again"),
    }
}

/// Bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Memory {
    used: u64,
    whole: u64,
}

impl Memory {
    fn read(files: &IoWrappers) -> Option<Self> {
        let text = |path: &str| files.read_text(path, BYTES_MAX).ok();
        let used = kibibytes(&text("/proc/self/status")?, "RssAnon:")?;
        let machine = kibibytes(&text("/proc/meminfo")?, "MemTotal:")?;
        let limits = [group_limit(&text), getrlimit(Resource::Rss).current];
        let whole = limits.into_iter().flatten().fold(machine, u64::min);
        Some(Self { used, whole })
    }

    fn pressure(&self, goal: u64, high_water: u64) -> Pressure {
        let over = |percent: u64| u128::from(self.whole) * u128::from(percent) < u128::from(self.used) * 100;
        match (over(goal), over(high_water)) {
            (_, true) => Pressure::HighWater,
            (true, false) => Pressure::Goal,
            (false, false) => Pressure::None,
        }
    }
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

/// Time between two looks.
const INTERVAL: Duration = Duration::from_millis(500);
/// The files of /proc and /sys read here are far smaller.
const BYTES_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_percentages_of_the_whole() {
        let of = |used| Memory { used, whole: 1000 }.pressure(90, 95);
        assert_eq!(
            [of(900), of(901), of(950), of(951)],
            [Pressure::None, Pressure::Goal, Pressure::Goal, Pressure::HighWater]
        );
        assert_eq!(Memory { used: u64::MAX, whole: 1 }.pressure(90, 95), Pressure::HighWater);
    }

    #[test]
    fn the_figures_of_this_process_can_be_read() {
        let memory = Memory::read(&IoWrappers::new()).expect("Linux tells");
        assert!(0 < memory.used && memory.used < memory.whole, "{memory:?}");
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
