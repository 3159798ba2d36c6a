//! The rejectlog's lines of clients that did not become sessions: so many a second, then one for all the others of that second.
//!
//! A crowd at a closed door would fill the disk, and say nothing that a number does not. Any loop; a lock is held for a few
//! steps.
//!
//! Invariant: the lines of a second together speak of every client that was turned away in it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hooks::HookSet;
use logging::LogHooks;
use message::{Context, MessageId};

use crate::listener::Parts;
use crate::refusal;

/// Counts the lines of a second, for all doors of the listener type.
#[derive(Debug, Default)]
pub(crate) struct DoorLog(Mutex<Second>);

#[derive(Debug, Default)]
struct Second {
    lines: u32,
    /// Clients that have no line, and the last of them.
    left_out: Option<(u64, Turning)>,
    /// A task waits for its end.
    has_end: bool,
}

/// A client, and what it was told.
#[derive(Debug)]
pub(crate) struct Turning {
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) local: Option<SocketAddr>,
    pub(crate) phase: &'static str,
    pub(crate) code: u16,
    pub(crate) text: String,
}

impl DoorLog {
    /// Writes the line of a client, now or with those of its second. To be called on a loop.
    pub(crate) fn tell(self: &Arc<Self>, parts: &Parts, turning: Turning) {
        let mut second = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let begins = !std::mem::replace(&mut second.has_end, true);
        if second.lines < LINES_MAX {
            second.lines += 1;
            drop(second);
            write(parts, &turning);
        } else {
            let before = second.left_out.as_ref().map_or(0, |(clients, _)| *clients);
            second.left_out = Some((before + 1, turning));
        }
        if begins {
            let (log, parts) = (self.clone(), parts.clone());
            tokio::task::spawn_local(async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                let ended = std::mem::take(&mut *log.0.lock().unwrap_or_else(PoisonError::into_inner));
                if let Some((clients, mut last)) = ended.left_out {
                    last.text.push_str(&format!(" (the last of {clients} that were turned away within this second)"));
                    write(&parts, &last);
                }
            });
        }
    }
}

fn write(parts: &Parts, turning: &Turning) {
    let hooks = parts.configuration.current().extension::<HookSet>().unwrap_or_default();
    let logs = LogHooks::of(&hooks);
    if logs.rejection.is_empty() {
        return;
    }
    let context = Context::default();
    logs.rejection(&logging::RejectionRecord {
        at: parts.clock.unix(),
        remote: refusal::shown(turning.peer),
        local: refusal::shown(turning.local),
        connection: MessageId::NULL,
        phase: turning.phase,
        code: turning.code,
        module: "",
        context: &context,
        text: &turning.text,
    });
}

/// Lines a second of clients that each have their own.
const LINES_MAX: u32 = 100;
