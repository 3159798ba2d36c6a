//! The PROXY protocol, versions 1 and 2: who the client behind a proxy is.
//!
//! Comes in: a connection that has said nothing yet. Goes out: the addresses its header announces, with not one octet read
//! beyond it. The header is required where it is switched on and never looked for elsewhere, so nobody can announce an
//! address to a listener that does not ask for one.
//!
//! Invariant: a header takes at most [`HEADER_OCTETS_MAX`] octets and the time its listener gives it.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use proxy_header::{ParseConfig, Protocol, ProxyHeader};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Whom a header announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Announced {
    /// A client, and the address it connected to.
    Client { peer: SocketAddr, local: SocketAddr },
    /// Nobody: the proxy itself wants something, such as to see whether we are alive.
    Proxy,
}

/// Why a connection has no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoHeader {
    Late,
    Closed,
    Malformed,
}

impl fmt::Display for NoHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl NoHeader {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Late => "it sent no whole PROXY header within proxy_protocol_timeout",
            Self::Closed => "it left before it had sent its PROXY header",
            Self::Malformed => "what it sent is no PROXY header",
        }
    }
}

/// Reads the header a connection begins with.
pub(crate) async fn read(stream: &mut (impl AsyncRead + Unpin), timeout: Duration) -> Result<Announced, NoHeader> {
    match tokio::time::timeout(timeout, read_header(stream)).await {
        Ok(announced) => announced,
        Err(_) => Err(NoHeader::Late),
    }
}

async fn read_header(stream: &mut (impl AsyncRead + Unpin)) -> Result<Announced, NoHeader> {
    let mut header = vec![0; 1];
    fill(stream, &mut header, 0).await?;
    match header[0] {
        b'P' => read_text(stream, &mut header).await?,
        b'\r' => read_binary(stream, &mut header).await?,
        _ => return Err(NoHeader::Malformed),
    }
    let config = ParseConfig { include_tlvs: false, allow_v1: true, allow_v2: true };
    let (parsed, octets) = ProxyHeader::parse(&header, config).map_err(|_| NoHeader::Malformed)?;
    if octets != header.len() {
        return Err(NoHeader::Malformed);
    }
    match parsed.proxied_address() {
        None => Ok(Announced::Proxy),
        Some(address) if address.protocol == Protocol::Stream => {
            Ok(Announced::Client { peer: address.source, local: address.destination })
        }
        Some(_) => Err(NoHeader::Malformed),
    }
}

/// Version 1: a line. Octet by octet once the shortest could be whole, so that what follows stays in the socket.
async fn read_text(stream: &mut (impl AsyncRead + Unpin), header: &mut Vec<u8>) -> Result<(), NoHeader> {
    more(stream, header, TEXT_BEGINS.len() - 1).await?;
    if header != TEXT_BEGINS {
        return Err(NoHeader::Malformed);
    }
    more(stream, header, TEXT_OCTETS_MIN - TEXT_BEGINS.len()).await?;
    while !header.ends_with(b"\r\n") {
        // A line end of any other kind ends no header, and after it nothing can become one.
        if TEXT_OCTETS_MAX <= header.len() || header.contains(&b'\n') {
            return Err(NoHeader::Malformed);
        }
        more(stream, header, 1).await?;
    }
    Ok(())
}

/// Version 2: a fixed part that says how long the rest is.
async fn read_binary(stream: &mut (impl AsyncRead + Unpin), header: &mut Vec<u8>) -> Result<(), NoHeader> {
    more(stream, header, BINARY_BEGINS.len() - 1).await?;
    if header != BINARY_BEGINS {
        return Err(NoHeader::Malformed);
    }
    more(stream, header, BINARY_FIXED_OCTETS - BINARY_BEGINS.len()).await?;
    let rest = usize::from(u16::from_be_bytes([header[14], header[15]]));
    if HEADER_OCTETS_MAX < header.len() + rest {
        return Err(NoHeader::Malformed);
    }
    more(stream, header, rest).await
}

async fn more(stream: &mut (impl AsyncRead + Unpin), header: &mut Vec<u8>, octets: usize) -> Result<(), NoHeader> {
    let known = header.len();
    header.resize(known + octets, 0);
    fill(stream, header, known).await
}

async fn fill(stream: &mut (impl AsyncRead + Unpin), header: &mut [u8], from: usize) -> Result<(), NoHeader> {
    stream.read_exact(&mut header[from..]).await.map(drop).map_err(|_| NoHeader::Closed)
}

const TEXT_BEGINS: &[u8] = b"PROXY ";
/// `PROXY UNKNOWN` with its line end.
const TEXT_OCTETS_MIN: usize = 15;
/// The specification's bound of version 1.
const TEXT_OCTETS_MAX: usize = 107;
const BINARY_BEGINS: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const BINARY_FIXED_OCTETS: usize = 16;
/// Proxies send some hundred octets at most; the format would allow 65 KiB.
const HEADER_OCTETS_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use proxy_header::ProxiedAddress;

    const TIMEOUT: Duration = Duration::from_secs(60);

    /// What a header announces, and what is left to the session.
    fn announced(octets: &[u8]) -> (Result<Announced, NoHeader>, Vec<u8>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut stream = octets;
            let announced = read(&mut stream, TIMEOUT).await;
            (announced, stream.to_vec())
        })
    }

    fn client() -> Announced {
        Announced::Client { peer: "192.0.2.7:4242".parse().unwrap(), local: "198.51.100.1:25".parse().unwrap() }
    }

    fn binary(address: Option<ProxiedAddress>) -> Vec<u8> {
        let header = address.map_or_else(ProxyHeader::with_local, ProxyHeader::with_address);
        let mut octets = vec![0; 256];
        let length = header.encode_to_slice_v2(&mut octets).unwrap();
        octets.truncate(length);
        octets
    }

    #[test]
    fn both_versions_announce_a_client_and_leave_the_rest_unread() {
        let (text, rest) = announced(b"PROXY TCP4 192.0.2.7 198.51.100.1 4242 25\r\nEHLO c\r\n");
        assert_eq!((text, &rest[..]), (Ok(client()), &b"EHLO c\r\n"[..]));
        let stream = ProxiedAddress::stream("192.0.2.7:4242".parse().unwrap(), "198.51.100.1:25".parse().unwrap());
        let (v2, rest) = announced(&[binary(Some(stream)), b"EHLO c\r\n".to_vec()].concat());
        assert_eq!((v2, &rest[..]), (Ok(client()), &b"EHLO c\r\n"[..]));
        let (text, rest) = announced(b"PROXY TCP6 :: ::1 1 25\r\n");
        assert!(matches!(text, Ok(Announced::Client { .. })) && rest.is_empty());
    }

    #[test]
    fn a_proxy_may_speak_for_itself() {
        for octets in [b"PROXY UNKNOWN\r\n".to_vec(), b"PROXY UNKNOWN ff:: :: 1 2\r\n".to_vec(), binary(None)] {
            assert_eq!(announced(&octets).0, Ok(Announced::Proxy));
        }
    }

    #[test]
    fn anything_else_is_no_header() {
        let datagram = ProxiedAddress::datagram("192.0.2.7:1".parse().unwrap(), "192.0.2.1:2".parse().unwrap());
        let long = [BINARY_BEGINS, &[0x21, 0x11, 0xff, 0xff]].concat();
        let cut = [BINARY_BEGINS, &[0x21, 0x11, 0, 2, 1, 2]].concat();
        let endless = [&b"PROXY UNKNOWN "[..], &[b'x'; 200]].concat();
        for octets in [
            &b"EHLO client.test\r\n"[..],
            b"PROXY TCP4 192.0.2.7 198.51.100.1 4242\r\n",
            b"PROXY TCP4 192.0.2.700 198.51.100.1 4242 25\r\n",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 4242 65536\r\n",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 4242 25\n     \r\n",
            b"PROXY TCP5 192.0.2.7 198.51.100.1 4242 25\r\n",
            b"PROXY\tUNKNOWN\r\n  ",
            b"PORXY TCP4 192.0.2.7 198.51.100.1 4242 25\r\n",
            b"\r\n\r\n\0\r\nQUIX\n\x21\x11\0\0",
            &endless,
            &long,
            &cut,
            &binary(Some(datagram)),
        ] {
            let (announced, _) = announced(octets);
            assert_eq!(announced, Err(NoHeader::Malformed), "{:?}", String::from_utf8_lossy(octets));
        }
        assert_eq!(announced(b"PROXY TCP4 192.0").0, Err(NoHeader::Closed));
        assert_eq!(announced(b"").0, Err(NoHeader::Closed));
    }

    #[test]
    fn a_header_that_does_not_come_in_time_is_none() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let (mut ours, _theirs) = tokio::io::duplex(64);
            assert_eq!(read(&mut ours, TIMEOUT).await, Err(NoHeader::Late));
        });
    }
}
