//! The body of a message, and who pays for its memory.
//!
//! In goes a buffer, out comes a [`Body`] that any number of recipients, queues and connections share. The charge for its
//! memory lies with the buffer: it is taken once, and it ends when the last of those who share it lets go, on whatever
//! thread that is.

use bytes::{Bytes, BytesMut};
use scheduler::{MemoryCharge, MemoryOwner};

/// A body in wire form: header section and content, dot-stuffed, CRLF line ends, with the final `.` line; exactly what
/// follows DATA. Shared by the siblings of a transaction.
pub type Body = Bytes;

/// What bodies are charged to.
pub const BODIES: &str = "bodies";

/// A buffer that becomes a body.
pub trait Buffer: AsRef<[u8]> + Send + 'static {
    /// Octets of memory it takes up.
    fn held(&self) -> usize;
}

impl Buffer for BytesMut {
    fn held(&self) -> usize {
        self.capacity()
    }
}

impl Buffer for Vec<u8> {
    fn held(&self) -> usize {
        self.capacity()
    }
}

/// The buffer as a body, charged to `owner` for as long as anybody has a part of it.
pub fn charged(buffer: impl Buffer, owner: &MemoryOwner) -> Body {
    lent(buffer, owner.charge(0))
}

/// As [`charged`], for a buffer whose memory was asked for: from now on the charge is what the buffer takes up.
pub fn lent(buffer: impl Buffer, mut charge: MemoryCharge) -> Body {
    charge.set(buffer.held());
    Bytes::from_owner(Charged { buffer, _charge: charge })
}

struct Charged<B> {
    buffer: B,
    _charge: MemoryCharge,
}

impl<B: Buffer> AsRef<[u8]> for Charged<B> {
    fn as_ref(&self) -> &[u8] {
        self.buffer.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_charged_once_however_many_share_it_and_until_the_last_lets_go() {
        let owner = MemoryOwner::default();
        let mut buffer = BytesMut::with_capacity(4096);
        buffer.extend_from_slice(b"Subject: x\r\n\r\n.\r\n");
        let body = charged(buffer, &owner);
        let (sibling, part) = (body.clone(), body.slice(0..7));
        assert_eq!((owner.octets(), &body[..7]), (4096, &b"Subject"[..]));
        drop((body, sibling));
        assert_eq!((owner.octets(), &part[..]), (4096, &b"Subject"[..]));
        std::thread::spawn(move || drop(part)).join().expect("it only drops");
        assert_eq!(owner.octets(), 0);
    }
}
