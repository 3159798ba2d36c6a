//! What a [`Sink`](super::Sink) has seen: messages taken, connections, commands; and waiting for more of it.
//!
//! Written by the sink's thread, read by the test's; a short mutex between them, and a channel for asynchronous waiters.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;

/// A message the sink answered for with a positive reply (or took before dropping the connection).
#[derive(Clone, Debug)]
pub struct Transaction {
    /// Which connection of the sink brought it, counted from 1.
    pub connection: u64,
    /// What the peer called itself in EHLO or HELO.
    pub helo: String,
    /// The address of MAIL FROM without its brackets; empty for the null reverse-path.
    pub reverse_path: String,
    /// The parameters of MAIL FROM as they came.
    pub parameters: Vec<String>,
    /// The accepted addresses of RCPT TO without brackets.
    pub forward_paths: Vec<String>,
    /// The message as its author wrote it: CRLF lines, dots unstuffed, without the final dot. Empty if the sink discards.
    pub body: Bytes,
    /// The value of the `X-Test-Id` header field, which [`Load`](crate::Load) puts into every message.
    pub test_id: Option<String>,
}

impl Transaction {
    /// The body as text, for messages in assertions.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The value of the first header field of that name, unfolded only as far as the first line.
    pub fn header(&self, name: &str) -> Option<String> {
        header(&self.body, name)
    }
}

/// The value on the first line of the first header field called `name`.
pub(super) fn header(message: &[u8], name: &str) -> Option<String> {
    for line in message.split(|&byte| byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            return None;
        }
        let Some((field, rest)) = line.split_at_checked(name.len()) else { continue };
        if let (true, Some(value)) = (field.eq_ignore_ascii_case(name.as_bytes()), rest.strip_prefix(b":")) {
            return Some(String::from_utf8_lossy(value).trim().to_owned());
        }
    }
    None
}

#[derive(Default)]
pub(super) struct Tables {
    pub(super) messages: Vec<Arc<Transaction>>,
    pub(super) commands: Vec<(u64, String)>,
    pub(super) connections: u64,
    pub(super) open: u64,
    pub(super) open_peak: u64,
}

pub(super) struct Record {
    tables: Mutex<Tables>,
    arrived: Condvar,
    count: watch::Sender<usize>,
}

impl Record {
    pub(super) fn new() -> Self {
        Self { tables: Mutex::default(), arrived: Condvar::new(), count: watch::Sender::new(0) }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn connected(&self) -> u64 {
        let mut tables = self.lock();
        tables.connections += 1;
        tables.open += 1;
        tables.open_peak = tables.open_peak.max(tables.open);
        tables.connections
    }

    pub(super) fn disconnected(&self) {
        self.lock().open -= 1;
    }

    pub(super) fn command(&self, connection: u64, line: &str) {
        let mut tables = self.lock();
        if tables.commands.len() < COMMANDS_MAX {
            tables.commands.push((connection, line.to_owned()));
        }
    }

    pub(super) fn message(&self, transaction: Transaction) {
        let mut tables = self.lock();
        tables.messages.push(Arc::new(transaction));
        let count = tables.messages.len();
        drop(tables);
        self.arrived.notify_all();
        self.count.send_replace(count);
    }

    pub(super) fn clear(&self) {
        let mut tables = self.lock();
        tables.messages.clear();
        tables.commands.clear();
        drop(tables);
        self.count.send_replace(0);
    }

    /// Blocks until `done` holds of the messages, at most `limit`; whether it does in the end.
    pub(super) fn wait(&self, limit: Duration, mut done: impl FnMut(&[Arc<Transaction>]) -> bool) -> bool {
        let waited = self.arrived.wait_timeout_while(self.lock(), limit, |tables| !done(&tables.messages));
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    pub(super) async fn arrived(&self, count: usize) {
        // The sender lives in self, so the channel cannot close under us.
        let _ = self.count.subscribe().wait_for(|&now| count <= now).await;
    }

    /// How often each test id arrived.
    pub(super) fn ids(&self) -> HashMap<String, u64> {
        let mut ids = HashMap::new();
        for id in self.lock().messages.iter().filter_map(|message| message.test_id.clone()) {
            *ids.entry(id).or_default() += 1;
        }
        ids
    }
}

/// Later commands are not recorded: a load test has no use for them.
const COMMANDS_MAX: usize = 20_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_stops_at_the_body() {
        let message = b"Received: x\r\n y\r\nx-test-id: 42 \r\n\r\nSubject: no\r\n";
        assert_eq!(header(message, "X-Test-Id").as_deref(), Some("42"));
        assert_eq!(header(message, "Subject"), None);
    }
}
