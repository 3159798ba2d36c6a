//! The benchmark: how fast and at what cost mail is relayed, against the ceiling of the machine and a tuned Postfix.
//!
//! One run measures, with Postfix's own smtp-source and smtp-sink: the ceiling (source straight into sink), then
//! postriderd and Postfix between them, per load. What is printed: messages a second accepted and relayed end to end,
//! CPU seconds per 1000 messages, sync calls per message, peak memory, and the ratios. Nothing is acknowledged before
//! it is synced, by either. Absolute figures belong to the machine; ratios and CPU per message carry over.
//!
//! `cargo run --release -p bench` (after `cargo build --release`); `-- --quick` for a short run; `--no-load`, `--no-postfix`, `--no-memory`,
//! `--no-reload`, `--no-siblings` leave a part out; `--burst` adds the memory of a burst.

#![allow(clippy::disallowed_methods)] // measures real time from outside the house

mod burst;
mod load;
mod memory;
mod peer;
mod process;
mod reload;
mod siblings;
mod syncs;

use std::path::PathBuf;

use load::{Load, Outcome};
use peer::{Peer, Postfix, Postrider};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let scratch = PathBuf::from("target/bench");
    let parts = Parts {
        quick: has("--quick"),
        load: !has("--no-load"),
        postfix: !has("--no-postfix"),
        memory: !has("--no-memory"),
        reload: !has("--no-reload"),
        siblings: !has("--no-siblings"),
        burst: has("--burst"),
    };
    if let Err(problem) = run(&scratch, &parts) {
        println!("bench: {problem}");
        std::process::exit(1);
    }
}

/// What is asked for on the command line.
struct Parts {
    quick: bool,
    load: bool,
    postfix: bool,
    memory: bool,
    reload: bool,
    siblings: bool,
    burst: bool,
}

fn run(scratch: &std::path::Path, parts: &Parts) -> Result<(), String> {
    process::require(
        &["smtp-source", "smtp-sink", "perf"],
        "apt-get install postfix linux-perf; counting syncs needs root",
    )?;
    let _ = std::fs::remove_dir_all(scratch);
    std::fs::create_dir_all(scratch).map_err(|e| format!("cannot make {}: {e}", scratch.display()))?;
    let scratch = scratch.canonicalize().map_err(|e| e.to_string())?;
    let scale = if parts.quick { 5 } else { 1 };
    let loads = [
        Load { name: "4 KiB, 50 sessions, connections reused", bytes: 4096, messages: 60_000 / scale, reuse: true },
        Load {
            name: "4 KiB, 50 sessions, one message per connection",
            bytes: 4096,
            messages: 30_000 / scale,
            reuse: false,
        },
        Load {
            name: "100 KiB, 50 sessions, connections reused",
            bytes: 102_400,
            messages: 10_000 / scale,
            reuse: true,
        },
    ];
    for load in loads.iter().filter(|_| parts.load) {
        println!("\n## {}, {} messages", load.name, load.messages);
        let ceiling = load.ceiling()?;
        println!("ceiling (smtp-source into smtp-sink): {ceiling:.0} messages/s");
        let ours = measure(&mut Postrider::new(&scratch)?, load, ceiling)?;
        if parts.postfix {
            let slower = Load { messages: load.messages / 6, ..*load };
            let theirs = measure(&mut Postfix::new(&scratch)?, &slower, ceiling)?;
            println!(
                "ratio postriderd / Postfix: rate {:.1}x, CPU {:.2}x",
                ours.relayed / theirs.relayed,
                ours.cpu_ms / theirs.cpu_ms
            );
        }
    }
    if parts.memory {
        memory::report(&scratch, parts.quick)?;
    }
    if parts.reload {
        reload::report(&scratch, parts.quick)?;
    }
    if parts.siblings {
        siblings::report(&scratch, parts.quick)?;
    }
    if parts.burst {
        burst::report(&scratch, parts.quick)?;
    }
    Ok(())
}

fn measure(peer: &mut dyn Peer, load: &Load, ceiling: f64) -> Result<Outcome, String> {
    let outcome = load.through(peer)?;
    println!(
        "{:<11} accepted {:>6.0}/s  relayed {:>6.0}/s = {:>4.1} % of the ceiling  CPU {:.3} ms/message ({:.3} s per 1000)  \
         {:.3} syncs/message  peak memory {:.1} MB",
        peer.name(),
        outcome.accepted,
        outcome.relayed,
        100.0 * outcome.relayed / ceiling,
        outcome.cpu_ms,
        outcome.cpu_ms,
        outcome.syncs,
        outcome.peak_bytes as f64 / 1e6,
    );
    Ok(outcome)
}
