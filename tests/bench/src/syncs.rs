//! Counts sync calls with the kernel's own tracepoints, which cost next to nothing; a tracer that stops the caller would
//! change what it counts. Counts the whole machine, so nothing else should sync meanwhile.

use std::process::{Child, Command, Stdio};

/// `perf stat` over everything that runs, until stopped.
pub struct SyncCounter(Child);

impl SyncCounter {
    /// Counts from now.
    pub fn start() -> Result<Self, String> {
        let events = "syscalls:sys_enter_fsync,syscalls:sys_enter_fdatasync";
        let mut command = Command::new("perf");
        // What it watches over ends when its input does.
        command.args(["stat", "-a", "-x", ",", "-e", events, "cat"]);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        let counter = child.map(Self).map_err(|e| format!("cannot start perf: {e}"))?;
        // The counters are open once perf has started what it watches.
        std::thread::sleep(std::time::Duration::from_millis(200));
        Ok(counter)
    }

    /// How many there were.
    pub fn stop(self) -> Result<u64, String> {
        // Closes the input first.
        let output = self.0.wait_with_output().map_err(|e| e.to_string())?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let counts: Vec<u64> = text.lines().filter_map(|line| line.split(',').next()?.parse().ok()).collect();
        if counts.len() == 2 { Ok(counts.iter().sum()) } else { Err(format!("perf counted nothing: {}", text.trim())) }
    }
}
