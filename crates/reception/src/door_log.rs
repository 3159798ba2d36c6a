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
    pub(crate) fn tell(self: &Arc<Self>, turning: Turning, write: impl Fn(&Turning) + 'static) {
        let mut second = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let begins = !std::mem::replace(&mut second.has_end, true);
        if second.lines < LINES_MAX {
            second.lines += 1;
            drop(second);
            write(&turning);
        } else {
            let before = second.left_out.as_ref().map_or(0, |(clients, _)| *clients);
            second.left_out = Some((before + 1, turning));
        }
        if begins {
            let log = self.clone();
            tokio::task::spawn_local(async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                let ended = std::mem::take(&mut *log.0.lock().unwrap_or_else(PoisonError::into_inner));
                if let Some((clients, mut last)) = ended.left_out {
                    last.text
                        .push_str(&format!(" (the last of {clients} more that were turned away within this second)"));
                    write(&last);
                }
            });
        }
    }
}

/// Writes the line of a client to the logs of the generation in effect.
pub(crate) fn write(parts: &Parts, turning: &Turning) {
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

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;

    #[test]
    fn a_crowd_has_a_hundred_lines_and_one_that_speaks_of_all_the_others() {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_time().start_paused(true).build_local(Default::default()).unwrap();
        runtime.block_on(async {
            let (log, lines) = (Arc::<DoorLog>::default(), Rc::<RefCell<Vec<String>>>::default());
            let turn_away = |number: u32| {
                let lines = lines.clone();
                let text = format!("client {number}");
                let turning = Turning { peer: None, local: None, phase: "", code: 421, text };
                log.tell(turning, move |turning| lines.borrow_mut().push(turning.text.clone()));
            };
            (1..=350).for_each(turn_away);
            assert_eq!(lines.borrow().len(), 100);
            tokio::time::sleep(Duration::from_millis(1500)).await;
            let last = "client 350 (the last of 250 more that were turned away within this second)";
            assert_eq!((lines.borrow().len(), lines.borrow().last().map(String::as_str)), (101, Some(last)));
            (351..=450).for_each(turn_away);
            tokio::time::sleep(Duration::from_millis(1500)).await;
            assert_eq!((lines.borrow().len(), lines.borrow().last().map(String::as_str)), (201, Some("client 450")));
        });
    }
}
