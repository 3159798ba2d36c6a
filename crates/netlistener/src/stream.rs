//! A connection: TCP, Unix or TLS over one of them, one type for whoever reads and writes it.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use tls::{ServerContext, ServerStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// An accepted connection, registered with the loop it is served on. What is written has to be flushed.
#[derive(Debug)]
pub enum Stream {
    /// As it came.
    Plain(Socket),
    /// Under TLS.
    Secured(Box<ServerStream<Socket>>),
    /// A handshake has failed; whatever is tried is an error.
    Broken,
}

/// The socket of a connection.
#[derive(Debug)]
pub enum Socket {
    /// TCP.
    Tcp(TcpStream),
    /// A Unix socket.
    Unix(UnixStream),
}

impl Stream {
    /// Whether there may be something to read; costs no system call, and lets a session wait without a buffer. Under TLS what
    /// is there is plaintext, or the end.
    pub fn poll_read_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(socket) => tls::Socket::poll_read_ready(socket, cx),
            Self::Secured(stream) => stream.poll_read_ready(cx),
            Self::Broken => Poll::Ready(Err(broken())),
        }
    }

    /// Shakes hands with the client; without a bound in time of its own. After an error, or when it is given up, nothing is left
    /// of the connection.
    pub async fn secure(&mut self, context: ServerContext) -> io::Result<()> {
        match std::mem::replace(self, Self::Broken) {
            Self::Plain(socket) => {
                *self = Self::Secured(Box::new(ServerStream::accept(context, socket).await?));
                Ok(())
            }
            Self::Secured(_) | Self::Broken => Err(broken()),
        }
    }

    /// The number of its socket's descriptor, to be shown; -1 once a handshake has failed.
    pub fn descriptor(&self) -> RawFd {
        match self {
            Self::Plain(socket) => socket.as_fd().as_raw_fd(),
            Self::Secured(stream) => stream.socket().as_fd().as_raw_fd(),
            Self::Broken => -1,
        }
    }

    /// What the handshake has come to; none in the clear.
    pub fn tls(&self) -> Option<&tls::Facts> {
        match self {
            Self::Secured(stream) => Some(stream.facts()),
            Self::Plain(_) | Self::Broken => None,
        }
    }
}

fn broken() -> io::Error {
    io::ErrorKind::NotConnected.into()
}

impl tls::Socket for Socket {
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_read_ready(cx),
            Self::Unix(stream) => stream.poll_read_ready(cx),
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, octets),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, octets),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(())) // sockets have nothing to flush
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_read(cx, buffer),
            Self::Secured(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Broken => Poll::Ready(Err(broken())),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write(cx, octets),
            Self::Secured(stream) => Pin::new(stream).poll_write(cx, octets),
            Self::Broken => Poll::Ready(Err(broken())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Self::Secured(stream) => Pin::new(stream).poll_flush(cx),
            Self::Broken => Poll::Ready(Err(broken())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Secured(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Broken => Poll::Ready(Err(broken())),
        }
    }
}

/// A connection between two loops: registered with neither.
#[derive(Debug)]
pub(crate) enum Loose {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

impl Loose {
    /// Registers it with the loop this is called on.
    pub(crate) fn settle(self) -> io::Result<Socket> {
        match self {
            Self::Tcp(stream) => TcpStream::from_std(stream).map(Socket::Tcp),
            Self::Unix(stream) => UnixStream::from_std(stream).map(Socket::Unix),
        }
    }
}

impl Socket {
    /// Takes it off the loop it was accepted on.
    pub(crate) fn loosen(self) -> io::Result<Loose> {
        match self {
            Self::Tcp(stream) => stream.into_std().map(Loose::Tcp),
            Self::Unix(stream) => stream.into_std().map(Loose::Unix),
        }
    }

    /// Our end; none on a Unix socket.
    pub(crate) fn local(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(stream) => stream.local_addr().ok(),
            Self::Unix(_) => None,
        }
    }

    /// Writes what the socket takes at once; for a last word to a client that is not served.
    pub(crate) fn say_and_close(self, octets: &[u8]) {
        // A client whose socket takes no line right after the connect is not owed another attempt.
        let _ = match &self {
            Self::Tcp(stream) => stream.try_write(octets),
            Self::Unix(stream) => stream.try_write(octets),
        };
    }
}
