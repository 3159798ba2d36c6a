//! One load: what smtp-source sends, and what comes out at smtp-sink.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::peer::{Peer, Postrider};
use crate::process::{self, Guard};
use crate::syncs::SyncCounter;

/// What is sent.
#[derive(Clone, Copy)]
pub struct Load {
    /// For the report.
    pub name: &'static str,
    /// Octets of a message.
    pub bytes: usize,
    /// How many.
    pub messages: usize,
    /// Many messages over each connection, or one.
    pub reuse: bool,
}

/// What one run through a peer gave.
pub struct Outcome {
    /// Messages a second until the last 250.
    pub accepted: f64,
    /// Messages a second until the sink had the last one.
    pub relayed: f64,
    /// CPU milliseconds of the peer per message.
    pub cpu_ms: f64,
    /// Peak resident memory of the peer.
    pub peak_bytes: u64,
    /// fsync and fdatasync calls per message, of the whole machine.
    pub syncs: f64,
}

const SESSIONS: usize = 50;

impl Load {
    /// The machine's own limit: source straight into sink.
    pub fn ceiling(&self) -> Result<f64, String> {
        let port = process::free_port()?;
        let (_, relayed) = self.drive(port, port, || Ok(()), |_| Ok(()))?;
        Ok(self.messages as f64 / relayed.as_secs_f64())
    }

    /// Through a peer, end to end.
    pub fn through(&self, peer: &mut dyn Peer) -> Result<Outcome, String> {
        let sink_port = process::free_port()?;
        let port = process::free_port()?;
        let mut started = None;
        let start = || {
            let pid = peer.start(port, sink_port)?;
            process::wait_for_port(port)?;
            started = Some((pid, process::cpu_ms(pid), SyncCounter::start()?));
            Ok(())
        };
        let (accepted, relayed) = self.drive(port, sink_port, start, |_| Ok(()))?;
        let (pid, cpu_before, syncs) = started.ok_or("the peer was not started")?;
        std::thread::sleep(Duration::from_millis(300));
        let cpu_ms = (process::cpu_ms(pid) - cpu_before) / self.messages as f64;
        let peak_bytes = process::peak_bytes(pid);
        let syncs = syncs.stop()? as f64 / self.messages as f64;
        peer.stop()?;
        let messages = self.messages as f64;
        Ok(Outcome {
            accepted: messages / accepted.as_secs_f64(),
            relayed: messages / relayed.as_secs_f64(),
            cpu_ms,
            peak_bytes,
            syncs,
        })
    }

    /// The time through our daemon, end to end, while `meanwhile` is called with its folder and the beginning.
    pub fn time_through(
        &self,
        peer: &mut Postrider,
        mut meanwhile: impl FnMut(&Path, Instant) -> Result<(), String>,
    ) -> Result<Duration, String> {
        let (sink_port, port) = (process::free_port()?, process::free_port()?);
        let folder = peer.folder().to_owned();
        let start = || {
            peer.start(port, sink_port)?;
            process::wait_for_port(port)
        };
        let (_, relayed) = self.drive(port, sink_port, start, |began| meanwhile(&folder, began))?;
        peer.stop()?;
        Ok(relayed)
    }

    /// Starts the sink, then whatever stands before it, then the source; the times until the source had its last 250
    /// and until the sink, which leaves after the last message, was gone.
    fn drive(
        &self,
        port: u16,
        sink_port: u16,
        before_source: impl FnOnce() -> Result<(), String>,
        mut meanwhile: impl FnMut(Instant) -> Result<(), String>,
    ) -> Result<(Duration, Duration), String> {
        let count = self.messages.to_string();
        let sink_address = format!("127.0.0.1:{sink_port}");
        let mut sink =
            process::start("smtp-sink", &["-u", "nobody", "-m", "400", "-M", &count, &sink_address, "1000"])?;
        process::wait_for_port(sink_port)?;
        before_source()?;
        let began = Instant::now();
        let mut source = self.source(port)?;
        let mut accepted = None;
        let mut sink_gone = None;
        while accepted.is_none() || sink_gone.is_none() {
            if accepted.is_none() && source.0.try_wait().map_err(|e| e.to_string())?.is_some() {
                accepted = Some(began.elapsed());
            }
            if sink_gone.is_none() && sink.0.try_wait().map_err(|e| e.to_string())?.is_some() {
                sink_gone = Some(began.elapsed());
            }
            if Duration::from_secs(600) < began.elapsed() {
                return Err(format!("{}: not finished after 600 s", self.name));
            }
            meanwhile(began)?;
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok((accepted.unwrap_or_default(), sink_gone.unwrap_or_default()))
    }

    fn source(&self, port: u16) -> Result<Guard, String> {
        let mut command = Command::new("smtp-source");
        if self.reuse {
            command.arg("-d");
        }
        command.args(["-s", &SESSIONS.to_string(), "-m", &self.messages.to_string(), "-l", &self.bytes.to_string()]);
        command.args(["-f", "source@bench.example", "-t", "sink@bench.example", &format!("127.0.0.1:{port}")]);
        // Straight into the sink, the source sees the last sessions cut when the sink leaves, and says so on stderr.
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        child.map(Guard).map_err(|e| format!("cannot start smtp-source: {e}"))
    }
}
