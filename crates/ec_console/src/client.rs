//! A connection to a control listener: one question, one answer.
//!
//! Blocking. The server closes an idle connection after a minute, so before each question the connection is looked at and
//! opened again when it is gone. A question that may have been received is never sent twice.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use console::wire::{Answer, HEADER_BYTES, Header, Hello, Kind, REQUEST_BYTES_MAX, Request, Status};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{RecvFlags, recv};

use crate::changing::only_looks;
use crate::endpoint::Endpoint;

/// A connected socket of either family.
pub trait Stream: Read + Write + AsFd {}

impl<T: Read + Write + AsFd> Stream for T {}

/// Why the listener could not be asked: what happened, and what to look at.
#[derive(Debug)]
pub struct Unreachable(pub String);

/// One listener to talk to.
pub struct Client {
    endpoint: Endpoint,
    stream: Box<dyn Stream>,
    lost: bool,
    hello: Hello,
    user: String,
    /// Whether it is said which daemon a command goes to.
    says_where: bool,
}

impl Client {
    /// Connects and waits for the greeting.
    pub fn connect(endpoint: Endpoint) -> Result<Self, Unreachable> {
        let (stream, hello) = open(&endpoint)?;
        let user = std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_default();
        Ok(Self { endpoint, stream, lost: false, hello, user, says_where: false })
    }

    /// Where the listener is.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// What the server said it is.
    pub fn server(&self) -> &Hello {
        &self.hello
    }

    /// From now on says which daemon a command goes to before each that may change something: nobody has named it.
    pub fn say_where(&mut self) {
        self.says_where = true;
    }

    /// As [`Client::ask`], for a command that somebody gave.
    pub fn carry_out(&mut self, text: &str, json: bool) -> Result<Answer, Unreachable> {
        if self.says_where && !only_looks(text) {
            let pid = self.ask("pid", false)?.body;
            let Hello { product, version } = &self.hello;
            eprintln!("ec_console: to {product} {version}, process {}, at {}", pid.trim(), self.endpoint);
        }
        self.ask(text, json)
    }

    /// Sends one command line and waits for its answer.
    pub fn ask(&mut self, text: &str, json: bool) -> Result<Answer, Unreachable> {
        if self.lost || is_closed(&*self.stream) {
            (self.stream, self.hello) = open(&self.endpoint)?;
            self.lost = false;
        }
        let frame = Request { text: text.to_owned(), json, user: self.user.clone() }.encode();
        if HEADER_BYTES + REQUEST_BYTES_MAX < frame.len() {
            let body = format!("the command has {} bytes; at most {REQUEST_BYTES_MAX} can be sent", text.len());
            return Ok(Answer { status: Status::Failed, json: false, body });
        }
        let answer = self.exchange(&frame);
        answer.map_err(|error| {
            self.lost = true;
            let what = match error.kind() {
                io::ErrorKind::WouldBlock => format!("no answer came within {} seconds", REPLY_TIMEOUT.as_secs()),
                io::ErrorKind::UnexpectedEof => "the daemon closed it".to_owned(),
                _ => error.to_string(),
            };
            Unreachable(format!(
                "the connection to {} was lost while '{text}' was running: {what}\nThe command may have been carried out or not.",
                self.endpoint
            ))
        })
    }

    fn exchange(&mut self, frame: &[u8]) -> io::Result<Answer> {
        self.stream.write_all(frame)?;
        let payload = read_frame(&mut *self.stream, Kind::Reply)?;
        Answer::decode(&payload).map_err(not_ours)
    }
}

fn open(endpoint: &Endpoint) -> Result<(Box<dyn Stream>, Hello), Unreachable> {
    let mut stream = endpoint.connect()?;
    let greeting = greet(&mut *stream);
    let hello = greeting.map_err(|error| {
        Unreachable(match error.kind() {
            io::ErrorKind::WouldBlock => format!(
                "connected to {endpoint}, but no greeting came within {} seconds\n\
                 The daemon may be stopped or its master scheduler blocked; look into its paniclog.",
                HELLO_TIMEOUT.as_secs()
            ),
            io::ErrorKind::UnexpectedEof => format!(
                "connected to {endpoint}, but the connection was closed before a greeting\n\
                 The listener may refuse this peer (Peer rules, concurrency), or the daemon is stopping."
            ),
            _ => format!("what answers on {endpoint} is no control listener of Postrider: {error}"),
        })
    })?;
    Ok((stream, hello))
}

fn greet(stream: &mut dyn Stream) -> io::Result<Hello> {
    set_socket_timeout(stream.as_fd(), Timeout::Recv, Some(HELLO_TIMEOUT))?;
    let hello = Hello::decode(&read_frame(stream, Kind::Hello)?).map_err(not_ours)?;
    set_socket_timeout(stream.as_fd(), Timeout::Recv, Some(REPLY_TIMEOUT))?;
    Ok(hello)
}

fn read_frame(stream: &mut dyn Stream, kind: Kind) -> io::Result<Vec<u8>> {
    let mut header = [0; HEADER_BYTES];
    stream.read_exact(&mut header)?;
    let header = Header::decode(&header).map_err(not_ours)?;
    if header.kind != kind {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("a {:?} frame where a {kind:?} belongs", header.kind),
        ));
    }
    let mut payload = vec![0; header.length];
    stream.read_exact(&mut payload)?;
    Ok(payload)
}

fn not_ours(why: console::wire::WireError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// Whether the server has hung up. Between two questions nothing else can be waiting to be read.
fn is_closed(stream: &dyn Stream) -> bool {
    let peeked = recv(stream.as_fd(), &mut [0u8; 1][..], RecvFlags::PEEK | RecvFlags::DONTWAIT);
    !matches!(peeked, Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR))
}

const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// A little over the server's own limit for a command, so that its sentence arrives first.
const REPLY_TIMEOUT: Duration = Duration::from_secs(310);
