//! Memory: idle, per idle session, and per queued message that is not resident; and the time to the first banner.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::peer::{Peer, Postrider};
use crate::process;

/// Measures and prints.
pub fn report(scratch: &Path, quick: bool) -> Result<(), String> {
    println!("\n## Memory and start");
    let mut peer = Postrider::new(scratch)?;
    let (port, nowhere) = (process::free_port()?, process::free_port()?);
    let began = Instant::now();
    let pid = peer.start(port, nowhere)?;
    process::wait_for_port(port)?;
    println!("start to listening: {:.0} ms", began.elapsed().as_secs_f64() * 1e3);
    settle();
    let idle = process::resident_bytes(pid);
    println!("idle daemon: {:.1} MB", idle as f64 / 1e6);
    let sessions = if quick { 200 } else { 2_000 };
    let open = idle_sessions(port, sessions)?;
    settle();
    let per_session = process::resident_bytes(pid).saturating_sub(idle) / sessions as u64;
    println!("idle session: {:.1} KB ({sessions} open)", per_session as f64 / 1e3);
    drop(open);
    settle();
    let messages = if quick { 20_000 } else { 200_000 };
    let before = process::resident_bytes(pid);
    inject(port, messages)?;
    settle();
    let queued = process::resident_bytes(pid).saturating_sub(before) as f64 / messages as f64;
    println!("queued message, not resident: {queued:.0} bytes ({messages} queued)");
    peer.stop()
}

fn settle() {
    std::thread::sleep(Duration::from_secs(3));
}

/// So many sessions that have said EHLO.
pub fn idle_sessions(port: u16, sessions: usize) -> Result<Vec<TcpStream>, String> {
    let open = |_| {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).map_err(|e| e.to_string())?;
        let mut reply = [0; 512];
        let _ = stream.read(&mut reply).map_err(|e| e.to_string())?;
        stream.write_all(b"EHLO idle.example\r\n").map_err(|e| e.to_string())?;
        let _ = stream.read(&mut reply).map_err(|e| e.to_string())?;
        if reply.starts_with(b"250") { Ok(stream) } else { Err("a session was turned away".to_owned()) }
    };
    (0..sessions).map(open).collect()
}

/// Small messages for a next hop that refuses connections, so that they stay in the delayed queue.
fn inject(port: u16, messages: usize) -> Result<(), String> {
    let (count, to) = (messages.to_string(), format!("127.0.0.1:{port}"));
    let arguments =
        ["-d", "-s", "50", "-m", &count, "-l", "1024", "-f", "a@bench.example", "-t", "b@bench.example", &to];
    process::run("smtp-source", &arguments).map(|_| ())
}
