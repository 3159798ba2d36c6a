//! One connection of the sink: ordinary SMTP (RFC 5321, PIPELINING, SIZE, 8BITMIME), bent by the script.
//!
//! Takes bytes as they come, gives replies in one write per turn, hands complete messages to the record. Runs on the
//! sink's own thread. Invariant: a message is recorded before its positive reply is written.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::record::{Transaction, header};
use super::script::Action;
use super::{Retain, Shared};

/// Serves one accepted connection until either side ends it.
pub(super) async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, shared: Arc<Shared>) {
    let counted = Counted(shared.clone(), shared.record.connected());
    // A broken connection is the peer's affair; tests look at what was recorded.
    let _ = Session::new(shared, counted.1).run(stream).await;
}

/// An open connection in the counts, also when its task is cancelled.
struct Counted(Arc<Shared>, u64);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.record.disconnected();
    }
}

/// What the connection does after a step.
#[derive(PartialEq, Eq)]
enum Flow {
    Go,
    /// Nothing more to do before more bytes come.
    Starved,
    Hangup,
    /// Reads on and says nothing.
    Mute,
    /// Does not even read.
    Deaf,
}

/// Between MAIL and the end of data.
struct Open {
    reverse_path: String,
    parameters: Vec<String>,
    forward_paths: Vec<String>,
}

struct Session {
    shared: Arc<Shared>,
    connection: u64,
    helo: Option<String>,
    open: Option<Open>,
    /// Set between 354 and the final dot: how far the body has been searched for it.
    searched: Option<usize>,
    out: Vec<u8>,
    pause: Option<Duration>,
}

impl Session {
    fn new(shared: Arc<Shared>, connection: u64) -> Self {
        Self { shared, connection, helo: None, open: None, searched: None, out: Vec::new(), pause: None }
    }

    async fn run(mut self, mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
        let mut input = BytesMut::with_capacity(READ_BYTES);
        let mut flow = self.scripted("CONNECT", &[], "220 sink.test ESMTP");
        loop {
            while flow == Flow::Go {
                flow = if self.searched.is_some() { self.data(&mut input) } else { self.line(&mut input) };
                if self.pause.is_some() {
                    self.flush(&mut stream).await?;
                }
            }
            self.flush(&mut stream).await?;
            match flow {
                Flow::Hangup => return stream.shutdown().await,
                Flow::Mute => return tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.map(|_| ()),
                Flow::Deaf => return std::future::pending().await,
                Flow::Go | Flow::Starved => flow = Flow::Go,
            }
            input.reserve(READ_BYTES);
            if stream.read_buf(&mut input).await? == 0 {
                return Ok(());
            }
        }
    }

    async fn flush(&mut self, stream: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        match self.pause.take() {
            None => stream.write_all(&self.out).await?,
            Some(pause) => {
                for byte in &self.out {
                    tokio::time::sleep(pause).await;
                    stream.write_all(&[*byte]).await?;
                }
            }
        }
        self.out.clear();
        Ok(())
    }

    fn reply(&mut self, text: &str) -> Flow {
        for line in text.split('\n') {
            self.out.extend_from_slice(line.as_bytes());
            self.out.extend_from_slice(b"\r\n");
        }
        Flow::Go
    }

    /// Replies as the script says, or with `usual`.
    fn scripted(&mut self, step: &str, paths: &[&str], usual: &str) -> Flow {
        let action = self.shared.script.action(step, paths);
        self.perform(action.unwrap_or_else(|| usual.into()))
    }

    fn perform(&mut self, action: Action) -> Flow {
        match action {
            Action::Reply(text) => self.reply(&text),
            Action::ReplyThenDrop(text) => {
                self.reply(&text);
                Flow::Hangup
            }
            Action::ReplyThenStall(text) => {
                self.reply(&text);
                Flow::Deaf
            }
            Action::Slow(text, pause) => {
                self.pause = Some(pause);
                self.reply(&text)
            }
            Action::Stall => Flow::Mute,
            Action::Drop | Action::AcceptThenDrop => Flow::Hangup,
            Action::Garbage(bytes) => {
                self.out.extend_from_slice(&bytes);
                Flow::Go
            }
        }
    }

    /// Handles one command line, if a whole one is there.
    fn line(&mut self, input: &mut BytesMut) -> Flow {
        let Some(end) = memchr::memmem::find(input, b"\r\n") else {
            return if input.len() < LINE_BYTES_MAX { Flow::Starved } else { Flow::Hangup };
        };
        let line = String::from_utf8_lossy(&input[..end]).into_owned();
        input.advance(end + 2);
        self.shared.record.command(self.connection, &line);
        let (verb, argument) = line.split_once(' ').unwrap_or((&line, ""));
        let verb = verb.to_ascii_uppercase();
        match verb.as_str() {
            "EHLO" | "HELO" => self.hello(&verb, argument),
            "MAIL" => self.mail(argument),
            "RCPT" => self.rcpt(argument),
            "DATA" => self.start_data(),
            "RSET" => {
                self.open = None;
                self.scripted("RSET", &[], "250 2.0.0 reset")
            }
            "NOOP" => self.scripted("NOOP", &[], "250 2.0.0 here"),
            "VRFY" => self.scripted("VRFY", &[], "252 2.5.2 send mail and see"),
            "QUIT" => match self.scripted("QUIT", &[], "221 2.0.0 bye") {
                silent @ (Flow::Mute | Flow::Deaf) => silent,
                _ => Flow::Hangup,
            },
            other => self.scripted(other, &[], "500 5.5.1 no such command"),
        }
    }

    fn hello(&mut self, verb: &str, name: &str) -> Flow {
        let greeting = match verb {
            "EHLO" => self.shared.greeting(),
            _ => "250 sink.test".to_owned(),
        };
        let action = self.shared.script.action(verb, &[]).unwrap_or(Action::Reply(greeting));
        if is_positive(&action) {
            self.helo = Some(name.to_owned());
            self.open = None;
        }
        self.perform(action)
    }

    fn mail(&mut self, argument: &str) -> Flow {
        if self.helo.is_none() || self.open.is_some() {
            return self.reply("503 5.5.1 bad sequence of commands");
        }
        let Some((reverse_path, parameters)) = path_after("FROM:", argument) else {
            return self.reply("501 5.5.4 MAIL FROM:<path> expected");
        };
        let size = parameters.iter().find_map(|word| word.strip_prefix("SIZE=")?.parse::<u64>().ok());
        if size.is_some_and(|size| self.shared.size_max() < size) {
            return self.reply("552 5.3.4 message too big");
        }
        let action = self.shared.script.action("MAIL", &[reverse_path.as_str()]);
        let action = action.unwrap_or_else(|| "250 2.1.0 reverse-path ok".into());
        if is_positive(&action) {
            self.open = Some(Open { reverse_path, parameters, forward_paths: Vec::new() });
        }
        self.perform(action)
    }

    fn rcpt(&mut self, argument: &str) -> Flow {
        if self.open.is_none() {
            return self.reply("503 5.5.1 bad sequence of commands");
        }
        let Some((forward_path, _)) = path_after("TO:", argument).filter(|(path, _)| !path.is_empty()) else {
            return self.reply("501 5.5.4 RCPT TO:<path> expected");
        };
        let action = self.shared.script.action("RCPT", &[forward_path.as_str()]);
        let action = action.unwrap_or_else(|| "250 2.1.5 forward-path ok".into());
        if let (true, Some(open)) = (is_positive(&action), &mut self.open) {
            open.forward_paths.push(forward_path);
        }
        self.perform(action)
    }

    fn start_data(&mut self) -> Flow {
        let Some(open) = &self.open else { return self.reply("503 5.5.1 bad sequence of commands") };
        let paths: Vec<&str> = open.forward_paths.iter().map(String::as_str).collect();
        let usual = if paths.is_empty() { "554 5.5.1 no valid recipients" } else { "354 go ahead" };
        let action = self.shared.script.action("DATA", &paths).unwrap_or_else(|| usual.into());
        if matches!(&action, Action::Reply(text) | Action::Slow(text, _) if text.starts_with("354")) {
            self.searched = Some(0);
        }
        self.perform(action)
    }

    /// Looks for the end of data (RFC 5321 4.1.1.4: CRLF "." CRLF and nothing else), and takes the message.
    fn data(&mut self, input: &mut BytesMut) -> Flow {
        let from = self.searched.unwrap_or(0);
        let end = if input.starts_with(b".\r\n") {
            Some(0)
        } else {
            memchr::memmem::find(&input[from..], b"\r\n.\r\n").map(|at| from + at + 2)
        };
        let Some(end) = end else {
            self.searched = Some(input.len().saturating_sub(4));
            return if (input.len() as u64) < self.shared.size_max() { Flow::Starved } else { Flow::Hangup };
        };
        let Some(open) = self.open.take() else { return Flow::Hangup };
        let body = unstuffed(&input[..end]);
        input.advance(end + 3);
        self.searched = None;
        self.take(open, body)
    }

    fn take(&mut self, open: Open, body: Bytes) -> Flow {
        let paths: Vec<&str> = open.forward_paths.iter().map(String::as_str).collect();
        let action = self.shared.script.action("DOT", &paths).unwrap_or_else(|| "250 2.0.0 taken".into());
        if is_positive(&action) || action == Action::AcceptThenDrop {
            let test_id = header(&body, "X-Test-Id");
            let body = if self.shared.retain() == Retain::Bodies { body } else { Bytes::new() };
            let Open { reverse_path, parameters, forward_paths } = open;
            let helo = self.helo.clone().unwrap_or_default();
            let connection = self.connection;
            let message = Transaction { connection, helo, reverse_path, parameters, forward_paths, body, test_id };
            self.shared.record.message(message);
        }
        self.perform(action)
    }
}

/// Whether the peer will read the action as success.
fn is_positive(action: &Action) -> bool {
    match action {
        Action::Reply(text) | Action::Slow(text, _) | Action::ReplyThenDrop(text) | Action::ReplyThenStall(text) => {
            text.starts_with('2')
        }
        Action::Stall | Action::Drop | Action::AcceptThenDrop | Action::Garbage(_) => false,
    }
}

/// Splits `FROM:<path> words` into the path without brackets and the words.
fn path_after(keyword: &str, argument: &str) -> Option<(String, Vec<String>)> {
    let (head, rest) = argument.split_at_checked(keyword.len())?;
    let (path, words) = rest.strip_prefix('<')?.split_once('>')?;
    let words = words.split_ascii_whitespace().map(str::to_owned).collect();
    head.eq_ignore_ascii_case(keyword).then(|| (path.to_owned(), words))
}

/// Takes away the dot that dot-stuffing put before lines beginning with one (RFC 5321 4.5.2).
fn unstuffed(wire: &[u8]) -> Bytes {
    if !wire.starts_with(b".") && memchr::memmem::find(wire, b"\r\n.").is_none() {
        return Bytes::copy_from_slice(wire);
    }
    let mut body = Vec::with_capacity(wire.len());
    let mut rest = wire.strip_prefix(b".").unwrap_or(wire);
    while let Some(at) = memchr::memmem::find(rest, b"\r\n.") {
        body.extend_from_slice(&rest[..at + 2]);
        rest = &rest[at + 3..];
    }
    body.extend_from_slice(rest);
    body.into()
}

const READ_BYTES: usize = 16 * 1024;
const LINE_BYTES_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stuffed_dots_are_taken_away() {
        assert_eq!(unstuffed(b"..a\r\nb.\r\n..\r\n"), b".a\r\nb.\r\n.\r\n".as_slice());
        assert_eq!(unstuffed(b"a\r\n"), b"a\r\n".as_slice());
    }
}
