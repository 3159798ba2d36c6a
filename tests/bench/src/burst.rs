//! Memory after a burst: a million messages for a hundred thousand domains that nothing answers for, what is left once they
//! are gone, what a start with them takes, and what fourteen thousand idle sessions leave behind, about as many as 20 000
//! descriptors let in.
//!
//! The resident set is read from /proc, beside what the daemon's own accounts add up to. Each figure has its bar.

use std::io::{BufRead, BufReader, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use crate::memory::idle_sessions;
use crate::peer::{Peer, Postrider};
use crate::process;

/// Measures and prints.
pub fn report(scratch: &Path, quick: bool) -> Result<(), String> {
    println!("\n## Memory of a burst");
    let (messages, domains, sessions) = if quick { (100_000, 10_000, 2_000) } else { (1_000_000, 100_000, 14_000) };
    let (port, nowhere) = (process::free_port()?, process::free_port()?);
    for (next_hops, options) in [
        ("without DNS", format!("resolv_conf = \"{}\"\n", dead_resolver(scratch, nowhere)?)),
        ("that refuse", format!("routes = ( \"smtp://127.0.0.1?port={nowhere}\" )\n")),
    ] {
        let mut peer = Postrider::new(scratch)?;
        peer.take_away_gateway();
        peer.add(&options);
        let pid = peer.start(port, nowhere)?;
        process::wait_for_port(port)?;
        let began = std::time::Instant::now();
        inject(port, messages, domains)?;
        let rate = messages as f64 / began.elapsed().as_secs_f64();
        println!("{messages} messages for {domains} domains {next_hops}: accepted {rate:.0}/s");
        show(&peer, pid, "queued", 350e6)?;
        peer.restart()?;
        process::wait_for_port(port)?;
        let pid = peer.pid()?;
        settle(pid);
        show(&peer, pid, "after a start with them", 350e6)?;
        peer.add("blackhole = internal\n");
        peer.reconfigure(port, nowhere)?;
        settle(pid);
        show(&peer, pid, "after their drain", 80e6)?;
        peer.stop()?;
    }
    let mut peer = Postrider::new(scratch)?;
    let pid = peer.start(port, nowhere)?;
    process::wait_for_port(port)?;
    let open = idle_sessions(port, sessions)?;
    show(&peer, pid, &format!("{sessions} idle sessions"), f64::INFINITY)?;
    drop(open);
    settle(pid);
    show(&peer, pid, "after they have gone", 30e6)?;
    peer.stop()
}

/// Waits until the resident set has not changed by a percent for ten seconds; ten minutes at most.
fn settle(pid: u32) {
    let (mut before, mut quiet) = (0, 0);
    for _ in 0..600 {
        std::thread::sleep(Duration::from_secs(1));
        let now = process::resident_bytes(pid);
        quiet = if now.abs_diff(before) < now / 100 { quiet + 1 } else { 0 };
        before = if quiet == 0 { now } else { before };
        if quiet == 10 {
            return;
        }
    }
}

fn show(peer: &Postrider, pid: u32, when: &str, bar: f64) -> Result<(), String> {
    let resident = process::resident_bytes(pid) as f64;
    let verdict = if resident <= bar { "" } else { "  OVER ITS BAR" };
    println!(
        "{when}: {:.1} MB resident, peak {:.1} MB{verdict}",
        resident / 1e6,
        process::peak_bytes(pid) as f64 / 1e6
    );
    for line in peer.console(&["memory"])?.lines().skip_while(|line| !line.starts_with("type ")) {
        println!("    {line}");
    }
    Ok(())
}

/// A resolver configuration whose server is not there.
fn dead_resolver(scratch: &Path, nowhere: u16) -> Result<String, String> {
    let file = scratch.join("resolv.conf");
    let text = format!("nameserver 127.0.0.1:{nowhere}\noptions timeout:1 attempts:1\n");
    std::fs::write(&file, text).map_err(|e| e.to_string())?;
    Ok(file.display().to_string())
}

/// Small messages, ten recipients at different domains each.
fn inject(port: u16, messages: usize, domains: usize) -> Result<(), String> {
    let (each, sessions) = (10, 16);
    let transactions = messages / each;
    std::thread::scope(|scope| {
        let session =
            |number: usize| move || transactions_of(port, (number..transactions).step_by(sessions), each, domains);
        let running: Vec<_> = (0..sessions).map(|number| scope.spawn(session(number))).collect();
        running.into_iter().try_for_each(|session| session.join().map_err(|_| "a session panicked".to_owned())?)
    })
}

fn transactions_of(port: u16, numbers: impl Iterator<Item = usize>, each: usize, domains: usize) -> Result<(), String> {
    let text = |e: std::io::Error| format!("the daemon does not take mail: {e}");
    let mut stream = TcpStream::connect(("127.0.0.1", port)).map_err(text)?;
    let mut replies = BufReader::new(stream.try_clone().map_err(text)?);
    reply(&mut replies, "220")?;
    stream.write_all(b"EHLO burst.example\r\n").map_err(text)?;
    reply(&mut replies, "250")?;
    let body = "x".repeat(70) + "\r\n";
    let message = format!("Subject: burst\r\n\r\n{}.\r\n", body.repeat(8));
    for number in numbers {
        let mut commands = "MAIL FROM:<>\r\n".to_owned();
        for recipient in 0..each {
            let domain = (number * each + recipient) % domains;
            commands += &format!("RCPT TO:<u{number}@d{domain}.dead.example>\r\n");
        }
        commands += "DATA\r\n";
        stream.write_all(commands.as_bytes()).map_err(text)?;
        (0..=each).try_for_each(|_| reply(&mut replies, "250"))?;
        reply(&mut replies, "354")?;
        stream.write_all(message.as_bytes()).map_err(text)?;
        reply(&mut replies, "250")?;
    }
    Ok(())
}

fn reply(replies: &mut impl BufRead, code: &str) -> Result<(), String> {
    loop {
        let mut line = String::new();
        replies.read_line(&mut line).map_err(|e| e.to_string())?;
        if !line.starts_with(code) {
            return Err(format!("{code} was expected: {line:?}"));
        }
        if line.as_bytes().get(3) != Some(&b'-') {
            return Ok(());
        }
    }
}
