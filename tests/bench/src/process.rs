//! Child processes and what the kernel accounts to them.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// An error unless every program can be found.
pub fn require(programs: &[&str], remedy: &str) -> Result<(), String> {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    for program in programs {
        if !path.split(':').any(|folder| Path::new(folder).join(program).exists()) {
            return Err(format!("{program} is missing: {remedy}"));
        }
    }
    Ok(())
}

/// Kills its child when dropped.
pub struct Guard(pub Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a program with its output thrown away.
pub fn start(program: &str, arguments: &[&str]) -> Result<Guard, String> {
    let child =
        Command::new(program).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    child.map(Guard).map_err(|e| format!("cannot start {program}: {e}"))
}

/// Runs a program to its end; its exit must be success.
pub fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(arguments).output().map_err(|e| format!("cannot run {program}: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        Ok(text)
    } else {
        Err(format!("{program} {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
    }
}

/// A port that was free a moment ago.
pub fn free_port() -> Result<u16, String> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").map_err(|e| e.to_string())?;
    Ok(listener.local_addr().map_err(|e| e.to_string())?.port())
}

/// Waits until something listens on the port.
pub fn wait_for_port(port: u16) -> Result<(), String> {
    for _ in 0..2_000 {
        if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Err(format!("nothing listens on 127.0.0.1:{port} after 10 s"))
}

/// The process and everything below it.
pub fn tree(root: u32) -> Vec<u32> {
    let mut all = vec![root];
    let mut parents = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        if let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok())
            && let Some(parent) = stat_field(pid, 3)
        {
            parents.push((pid, parent as u32));
        }
    }
    let mut at = 0;
    while at < all.len() {
        let parent = all[at];
        all.extend(parents.iter().filter(|(_, p)| *p == parent).map(|(pid, _)| *pid));
        at += 1;
    }
    all
}

/// CPU milliseconds used so far by the tree, children already reaped included.
pub fn cpu_ms(root: u32) -> f64 {
    let ticks: u64 = tree(root).iter().map(|&pid| (13..=16).filter_map(|n| stat_field(pid, n)).sum::<u64>()).sum();
    ticks as f64 * 10.0 // USER_HZ is 100 on Linux
}

/// Peak resident bytes: VmHWM, summed over the tree.
pub fn peak_bytes(root: u32) -> u64 {
    tree(root).iter().filter_map(|&pid| status_bytes(pid, "VmHWM:")).sum()
}

/// Resident bytes of one process now.
pub fn resident_bytes(pid: u32) -> u64 {
    status_bytes(pid, "VmRSS:").unwrap_or(0)
}

fn status_bytes(pid: u32, field: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with(field))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
}

/// Field `n` (1-based, as in proc(5)) of /proc/PID/stat plus one: counted after the parenthesised name.
fn stat_field(pid: u32, n: usize) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let after_name = &stat[stat.rfind(')')? + 2..];
    after_name.split_whitespace().nth(n - 2)?.parse().ok()
}
