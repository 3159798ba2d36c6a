//! Lines on their way to a log. One owner, which never waits for the receiver: a full socket is `WouldBlock`, a missing
//! one an error, and both are tried again with the next write.
//!
//! A datagram is a whole line, so no line is ever sent in half. UDP does not tell what is lost on its way.

use std::io;
use std::net::{ToSocketAddrs as _, UdpSocket};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::net::UnixDatagram;

use io_wrapper::Stream;
use jiff::tz::TimeZone;
use scheduler::Clock;
use smtp::text;

use crate::address::{Address, Target};
use crate::message::Message;

/// A log, connected when there is something to say.
pub(crate) struct SyslogStream {
    address: Address,
    clock: Clock,
    message: Message,
    socket: Option<Socket>,
}

enum Socket {
    Here(UnixDatagram),
    There(UdpSocket),
}

impl SyslogStream {
    pub(crate) fn new(address: Address, clock: Clock) -> Self {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let message = Message::new(host, std::process::id(), TimeZone::system());
        Self { address, clock, message, socket: None }
    }

    fn say(&mut self, line: &[u8]) -> io::Result<()> {
        let mut datagram = self.message.datagram(&self.address, self.clock.wall(), line);
        match self.send(&datagram) {
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::MSGSIZE.raw_os_error()) => {
                datagram.truncate(text::cut(&datagram, SHORT_OCTETS).len());
                self.send(&datagram)
            }
            // The receiver was restarted: a new connection may reach the new one.
            Err(error) if error.kind() != io::ErrorKind::WouldBlock && self.socket.take().is_some() => {
                self.send(&datagram)
            }
            answer => answer,
        }
    }

    fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => Socket::connect(&self.address.target)?,
        };
        let sent = match &socket {
            Socket::Here(socket) => socket.send(datagram),
            Socket::There(socket) => socket.send(datagram),
        };
        self.socket = Some(socket);
        match sent {
            Ok(_) => Ok(()),
            // A full queue of the network, which has no other way to say so.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NOBUFS.raw_os_error()) => {
                Err(io::ErrorKind::WouldBlock.into())
            }
            Err(error) => Err(error),
        }
    }
}

impl Socket {
    fn connect(target: &Target) -> io::Result<Self> {
        let told = |name: &dyn std::fmt::Display, error: io::Error| {
            io::Error::new(error.kind(), format!("nobody takes messages at {name}: {error}"))
        };
        match target {
            Target::Socket(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.set_nonblocking(true)?;
                socket.connect(path).map_err(|error| told(&path.display(), error))?;
                Ok(Self::Here(socket))
            }
            Target::Host(host) => {
                let mut addresses = host.to_socket_addrs().map_err(|error| told(host, error))?;
                let address = addresses.next().ok_or_else(|| told(host, io::ErrorKind::NotFound.into()))?;
                let any = if address.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" };
                let socket = UdpSocket::bind(any)?;
                socket.set_nonblocking(true)?;
                socket.connect(address).map_err(|error| told(host, error))?;
                Ok(Self::There(socket))
            }
        }
    }
}

impl Stream for SyslogStream {
    /// Each line is a message; so is what stands behind the last LF.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut taken = 0;
        for line in bytes.split_inclusive(|&octet| octet == b'\n') {
            let text = line.strip_suffix(b"\n").unwrap_or(line);
            match if text.is_empty() { Ok(()) } else { self.say(text) } {
                Ok(()) => taken += line.len(),
                Err(error) if taken == 0 => return Err(error),
                // Told by the next write, which begins with this line.
                Err(_) => break,
            }
        }
        Ok(taken)
    }

    /// Connects anew with the next line.
    fn reopen(&mut self) -> io::Result<()> {
        self.socket = None;
        Ok(())
    }

    fn pollable(&self) -> Option<BorrowedFd<'_>> {
        self.socket.as_ref().map(|socket| match socket {
            Socket::Here(socket) => socket.as_fd(),
            Socket::There(socket) => socket.as_fd(),
        })
    }

    fn close(self: Box<Self>) -> io::Result<()> {
        Ok(())
    }
}

/// What a receiver takes that refuses longer ones (RFC 5424 6.1).
const SHORT_OCTETS: usize = 2048;
