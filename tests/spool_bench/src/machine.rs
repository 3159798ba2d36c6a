//! What the kernel accounts: processor time of this process, octets the device wrote.

use std::path::{Path, PathBuf};

/// The block device below a directory. Counts what everybody writes to it.
pub struct Device(PathBuf);

impl Device {
    /// Nothing if the file system has no block device of its own.
    pub fn of(directory: &Path) -> Option<Self> {
        let device = rustix::fs::stat(directory).ok()?.st_dev;
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        let path = PathBuf::from(format!("/sys/dev/block/{major}:{minor}/stat"));
        path.exists().then_some(Self(path))
    }

    /// Octets written since the machine started.
    pub fn written(&self) -> Option<u64> {
        let text = std::fs::read_to_string(&self.0).ok()?;
        Some(text.split_whitespace().nth(6)?.parse::<u64>().ok()? * 512)
    }
}

/// Processor time of this process so far.
pub fn cpu_micros() -> u64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = text.rsplit(')').next().unwrap_or_default();
    let ticks: u64 = after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    ticks * 10_000
}

/// One line about where this runs, and whether somebody else is busy.
pub fn describe(directory: &Path) -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let device = if Device::of(directory.parent().unwrap_or(directory)).is_some() {
        "device writes counted"
    } else {
        "device writes not measurable"
    };
    format!("{cores} cores, kernel {}, load {}, {device}; {}", kernel.trim(), load.trim(), directory.display())
}
