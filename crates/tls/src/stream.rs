//! A socket under TLS, on our side of the door.
//!
//! What is readable is plaintext or the end: a record that carries none wakes nobody. Whatever is written lies in a buffer until
//! it is flushed.

use std::io::{self, BufRead as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsAcceptor;

use crate::ciphers::described;
use crate::server::ServerContext;

/// A socket that tells when there may be something to read.
pub trait Socket: AsyncRead + AsyncWrite + Unpin {
    /// Whether there may be; costs no system call.
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

/// A socket under TLS.
#[derive(Debug)]
pub struct ServerStream<S> {
    stream: tokio_rustls::server::TlsStream<S>,
    facts: Facts,
}

/// What a handshake has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// `TLSv1.2` or `TLSv1.3`.
    pub protocol: &'static str,
    /// The cipher, by OpenSSL's name.
    pub cipher: &'static str,
    /// Bits of its key.
    pub bits: u16,
    /// The name that the client asked for.
    pub server_name: Option<Box<str>>,
    /// The client has shown a certificate that leads to a CA of `tls_client_ca`.
    pub is_verified: bool,
}

impl<S: Socket> ServerStream<S> {
    /// Shakes hands. Without a bound in time of its own. On an error the socket is closed, and the client was told why.
    pub async fn accept(context: ServerContext, socket: S) -> io::Result<Self> {
        let stream = TlsAcceptor::from(context.config.clone()).accept(socket).await?;
        let (_, session) = stream.get_ref();
        let (cipher, bits) = session.negotiated_cipher_suite().map_or(("unknown", 0), described);
        let facts = Facts {
            protocol: match session.protocol_version() {
                Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
                _ => "TLSv1.2",
            },
            cipher,
            bits,
            server_name: session.server_name().map(Into::into),
            is_verified: context.is_verified(session.peer_certificates()),
        };
        Ok(Self { stream, facts })
    }

    /// What the handshake has come to.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The socket below.
    pub fn socket(&self) -> &S {
        self.stream.get_ref().0
    }

    /// Whether there is plaintext to read, or the end.
    pub fn poll_read_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let (socket, session) = self.stream.get_mut();
            match session.reader().fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                _ => return Poll::Ready(Ok(())),
            }
            ready!(socket.poll_read_ready(cx))?;
            match session.read_tls(&mut Reading { socket, cx }) {
                Ok(0) => return Poll::Ready(Ok(())),
                Ok(_) => {}
                // Whoever waits was noted by the socket.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            }
            let processed = session.process_new_packets();
            if session.wants_write() {
                // An alert, or an answer to new keys: as much of it as the socket takes now.
                let _ = Pin::new(&mut self.stream).poll_flush(cx);
            }
            processed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        }
    }
}

/// A socket's octets as the library takes them.
struct Reading<'a, 'b, S> {
    socket: &'a mut S,
    cx: &'a mut Context<'b>,
}

impl<S: Socket> io::Read for Reading<'_, '_, S> {
    fn read(&mut self, octets: &mut [u8]) -> io::Result<usize> {
        let mut buffer = ReadBuf::new(octets);
        match Pin::new(&mut *self.socket).poll_read(self.cx, &mut buffer) {
            Poll::Ready(result) => result.map(|()| buffer.filled().len()),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl<S: Socket> AsyncRead for ServerStream<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buffer)
    }
}

impl<S: Socket> AsyncWrite for ServerStream<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, octets)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
