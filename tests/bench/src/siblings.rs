//! A hundred live domains on one host under a limit of twenty connections: what the limit costs.
//!
//! A source for each domain, all routed to one sink, without the limit and with it, in turn, so that both see the same machine.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::peer::{Peer, Postrider};
use crate::process::{self, Guard};

/// Measures and prints.
pub fn report(scratch: &Path, quick: bool) -> Result<(), String> {
    println!("\n## {DOMAINS} domains on one host, 4 KiB, a session for each");
    let (rounds, messages) = if quick { (1, 20_000) } else { (3, 100_000) };
    for _ in 0..rounds {
        let free = rate(scratch, messages, "")?;
        let limit = "server_max_outbound_connections = 20\nserver_reserve_outbound_connections = 0\n";
        let limited = rate(scratch, messages, limit)?;
        println!(
            "relayed without a limit {free:>6.0}/s  with 20 connections {limited:>6.0}/s = {:.1} %",
            100.0 * limited / free
        );
    }
    Ok(())
}

/// Messages a second until the sink has the last one.
fn rate(scratch: &Path, messages: usize, limit: &str) -> Result<f64, String> {
    let (port, sink_port) = (process::free_port()?, process::free_port()?);
    let mut peer = Postrider::new(scratch)?;
    let route = format!("gateway = \"\" routes = ( \"smtp://127.0.0.1?port={sink_port}\" )");
    peer.add(&format!("domain \"/^d[0-9]+[.]bench[.]example$/\" {{ {route} }}\n{limit}"));
    let (each, address) = (messages / DOMAINS, format!("127.0.0.1:{sink_port}"));
    let count = (each * DOMAINS).to_string();
    let mut sink = process::start("smtp-sink", &["-u", "nobody", "-m", "400", "-M", &count, &address, "1000"])?;
    process::wait_for_port(sink_port)?;
    peer.start(port, sink_port)?;
    process::wait_for_port(port)?;
    let began = Instant::now();
    let sources: Result<Vec<Guard>, String> = (0..DOMAINS).map(|domain| source(port, domain, each)).collect();
    let _sources = sources?;
    while sink.0.try_wait().map_err(|e| e.to_string())?.is_none() {
        if Duration::from_secs(600) < began.elapsed() {
            return Err("not finished after 600 s".to_owned());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let took = began.elapsed();
    peer.stop()?;
    Ok((each * DOMAINS) as f64 / took.as_secs_f64())
}

fn source(port: u16, domain: usize, messages: usize) -> Result<Guard, String> {
    let mut command = Command::new("smtp-source");
    command.args(["-d", "-s", "1", "-m", &messages.to_string(), "-l", "4096", "-f", "source@bench.example"]);
    command.args(["-t", &format!("sink@d{domain}.bench.example"), &format!("127.0.0.1:{port}")]);
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    child.map(Guard).map_err(|e| format!("cannot start smtp-source: {e}"))
}

const DOMAINS: usize = 100;
