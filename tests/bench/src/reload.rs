//! What a reload of a large configuration costs the mail that flows meanwhile.
//!
//! The relay runs with 1 000 bindings, 10 000 domain stanzas and 200 patterns. Runs without and with reloads alternate, so
//! that both see the same machine; the loss is told for each reload, and as a share of the throughput when there is one a
//! minute. A loop that was blocked shows in the daemon's own watchdog counters.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::load::Load;
use crate::peer::Postrider;
use crate::process;

/// Measures and prints.
pub fn report(scratch: &Path, quick: bool) -> Result<(), String> {
    println!("\n## Reload of 1 000 bindings, 10 000 domains and 200 patterns under load");
    let (pairs, messages) = if quick { (1, 30_000) } else { (3, 150_000) };
    let load = Load { name: "4 KiB, 50 sessions, connections reused", bytes: 4096, messages, reuse: true };
    let (mut quiet, mut disturbed, mut reloads) = (Duration::ZERO, Duration::ZERO, 0_u32);
    for _ in 0..pairs {
        quiet += run(scratch, &load, None)?.0;
        let (took, done) = run(scratch, &load, Some(Duration::from_secs(2)))?;
        disturbed += took;
        reloads += done;
    }
    let lost = (disturbed.as_secs_f64() - quiet.as_secs_f64()) / f64::from(reloads.max(1));
    println!(
        "{reloads} reloads: {:.0}/s without, {:.0}/s with; a reload costs {:.0} ms of relaying, {:.2} % with one a minute",
        (pairs * messages) as f64 / quiet.as_secs_f64(),
        (pairs * messages) as f64 / disturbed.as_secs_f64(),
        lost * 1e3,
        lost / 60.0 * 100.0
    );
    Ok(())
}

/// One run, with a reload each `every`; how long it took, and how many reloads there were.
fn run(scratch: &Path, load: &Load, every: Option<Duration>) -> Result<(Duration, u32), String> {
    let mut peer = Postrider::new(scratch)?;
    peer.add(&large());
    let mut reloads = 0;
    let mut next = Instant::now();
    let took = load.time_through(&mut peer, |folder, began| {
        let Some(every) = every else { return Ok(()) };
        if reloads == 0 {
            next = began + every / 2;
        }
        if next <= Instant::now() {
            console(folder, &["config", "reload"])?;
            reloads += 1;
            next = Instant::now() + every;
        }
        Ok(())
    })?;
    Ok((took, reloads))
}

/// Asks the daemon in `folder`.
pub fn console(folder: &Path, words: &[&str]) -> Result<String, String> {
    let program = std::env::current_exe().map_err(|e| e.to_string())?.with_file_name("ec_console");
    let control = folder.join("control").display().to_string();
    process::run(&program.display().to_string(), &[&[control.as_str()], words].concat())
}

fn large() -> String {
    let mut text = String::new();
    for binding in 0..1000 {
        let _ = writeln!(text, "binding \"b{binding}\" {{ ehlo_hostname = \"b{binding}.bench.example\" }}");
    }
    for domain in 0..10_000 {
        let _ = writeln!(text, "domain \"d{domain}.example\" {{ max_outbound_connections = 2 retry_interval = 600 }}");
    }
    for pattern in 0..200 {
        let _ = writeln!(text, "domain \"/(^|\\.)p{pattern}\\.example$/\" {{ max_outbound_connections = 5 }}");
    }
    text
}
