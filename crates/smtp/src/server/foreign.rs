//! Clients that speak another protocol: a browser led here by a web page, a proxy, a client that begins with TLS.
//!
//! What they send is no mail, and whoever made them send it may hope that lines of it are taken for commands: so the session
//! ends with the first octets that tell them apart. No verb of SMTP looks like these.

use crate::replies;
use crate::reply::Reply;

/// The last word to whoever sent these octets at the place of a command; none if they may become one.
pub(super) fn farewell(octets: &[u8]) -> Option<Reply> {
    match octets {
        // A TLS record of a handshake (RFC 8446 5.1), or a ClientHello in the form of SSL 2 (RFC 5246 E.2).
        [0x16, 3, ..] | [128..=255, _, 1, 2 | 3, ..] => Some(replies::TLS_NOT_SPOKEN),
        _ if is_http(octets) => Some(replies::HTTP_NOT_SPOKEN),
        _ => None,
    }
}

/// Whether a line begins as a request of HTTP does: with a method and a blank (RFC 9112 3).
fn is_http(octets: &[u8]) -> bool {
    let end = octets.iter().take(METHOD_OCTETS_MAX + 1).position(|&octet| octet == b' ');
    end.is_some_and(|end| METHODS.iter().any(|method| octets[..end].eq_ignore_ascii_case(method.as_bytes())))
}

/// Methods of RFC 9110 and RFC 5789, of the preface of HTTP/2, and of WebDAV that scanners send.
const METHODS: [&str; 11] =
    ["GET", "POST", "HEAD", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "PRI", "PROPFIND"];
const METHOD_OCTETS_MAX: usize = 8;
