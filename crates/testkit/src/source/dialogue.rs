//! One SMTP connection led by the test: sends exactly the bytes it is told, reads whole replies.
//!
//! Every exchange is kept, and a wrong answer panics with the whole dialogue so far. Works over any stream, so a session
//! may also be driven through an in-memory pipe. No wait is longer than the limit.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// A client side of SMTP that does what the test says, wrong things included.
pub struct Dialogue<S = TcpStream> {
    stream: S,
    input: BytesMut,
    log: String,
    limit: Duration,
}

impl Dialogue<TcpStream> {
    /// Connects; the greeting is still unread. Panics if nobody listens.
    pub async fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).await.unwrap_or_else(|error| panic!("connect to {addr}: {error}"));
        stream.set_nodelay(true).expect("a connected socket takes TCP_NODELAY");
        Self::over(stream)
    }

    /// Connects, reads the greeting and says EHLO.
    pub async fn greeted(addr: SocketAddr) -> Self {
        let mut dialogue = Self::connect(addr).await;
        dialogue.expect("220").await;
        dialogue.ask("EHLO client.test", "250").await;
        dialogue
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Dialogue<S> {
    /// Speaks over a stream that is already open.
    pub fn over(stream: S) -> Self {
        Self { stream, input: BytesMut::new(), log: String::new(), limit: Duration::from_secs(30) }
    }

    /// Changes the longest wait for one reply from 30 seconds.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Sends one line and its CRLF.
    pub async fn send(&mut self, line: &str) {
        self.log.push_str(&format!("C: {line}\n"));
        self.write(&[line.as_bytes(), b"\r\n"].concat()).await;
    }

    /// Sends bytes as they are.
    pub async fn send_raw(&mut self, bytes: &[u8]) {
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).escape_debug().to_string();
        self.log.push_str(&format!("C: ({} bytes) {shown}\n", bytes.len()));
        self.write(bytes).await;
    }

    async fn write(&mut self, bytes: &[u8]) {
        let written = tokio::time::timeout(self.limit, self.stream.write_all(bytes)).await;
        // A peer that has closed shows itself in the next reply.
        if written.is_err() {
            panic!("the peer takes no bytes for {:?} after:\n{}", self.limit, self.log);
        }
    }

    /// Reads one whole reply, lines joined by `\n`. `None` when the peer has closed instead.
    pub async fn reply(&mut self) -> Option<String> {
        let mut reply = String::new();
        loop {
            let line = self.line().await?;
            self.log.push_str(&format!("S: {line}\n"));
            reply.push_str(&line);
            if line.as_bytes().get(3) != Some(&b'-') {
                return Some(reply);
            }
            reply.push('\n');
        }
    }

    /// Reads a reply that must begin with `start`, and returns it.
    pub async fn expect(&mut self, start: &str) -> String {
        match self.reply().await {
            Some(reply) if reply.starts_with(start) => reply,
            Some(_) => panic!("expected {start:?} at the end of:\n{}", self.log),
            None => panic!("expected {start:?}, but the connection was closed after:\n{}", self.log),
        }
    }

    /// Sends a line and expects a reply beginning with `start`.
    pub async fn ask(&mut self, line: &str, start: &str) -> String {
        self.send(line).await;
        self.expect(start).await
    }

    /// Expects that the peer closes without another word.
    pub async fn expect_close(&mut self) {
        if let Some(reply) = self.reply().await {
            panic!("expected the end of the connection, not {reply:?}, after:\n{}", self.log);
        }
    }

    /// Sends one message in a transaction; the reply to the final dot. `text` is stuffed and its lines may end in `\n`.
    pub async fn mail(&mut self, reverse_path: &str, forward_paths: &[&str], text: &str) -> String {
        self.ask(&format!("MAIL FROM:<{reverse_path}>"), "250").await;
        for forward_path in forward_paths {
            self.ask(&format!("RCPT TO:<{forward_path}>"), "250").await;
        }
        self.ask("DATA", "354").await;
        self.send_raw(&wire_form(text)).await;
        self.reply().await.unwrap_or_else(|| panic!("the connection was closed after:\n{}", self.log))
    }

    /// Plays a transcript: `C:` lines are sent, each `S:` line is the beginning of the next reply (its last line, if it has
    /// several), other lines are comments.
    pub async fn transcript(&mut self, script: &str) {
        for line in script.lines().map(str::trim_start) {
            if let Some(command) = line.strip_prefix("C: ") {
                self.send(command).await;
            } else if let Some(start) = line.strip_prefix("S: ") {
                let reply = self.reply().await.unwrap_or_default();
                let last = reply.lines().last().unwrap_or_default();
                assert!(last.starts_with(start), "expected {start:?} at the end of:\n{}", self.log);
            }
        }
    }

    /// Everything said so far, as a transcript.
    pub fn log(&self) -> &str {
        &self.log
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = memchr::memmem::find(&self.input, b"\r\n") {
                let line = String::from_utf8_lossy(&self.input[..end]).into_owned();
                self.input.advance(end + 2);
                return Some(line);
            }
            match tokio::time::timeout(self.limit, self.stream.read_buf(&mut self.input)).await {
                Ok(Ok(0) | Err(_)) => return None,
                Ok(Ok(_)) => {}
                Err(_) => panic!("no reply for {:?} after:\n{}", self.limit, self.log),
            }
        }
    }
}

/// Text as it goes after DATA: CRLF lines, dots stuffed, final dot.
fn wire_form(text: &str) -> Vec<u8> {
    let mut wire = Vec::with_capacity(text.len() + 64);
    for line in text.lines() {
        if line.starts_with('.') {
            wire.push(b'.');
        }
        wire.extend_from_slice(line.as_bytes());
        wire.extend_from_slice(b"\r\n");
    }
    wire.extend_from_slice(b".\r\n");
    wire
}
