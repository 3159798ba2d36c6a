//! The frames of the control protocol as values; the layout is in the crate header.
//!
//! Bytes in, values out, and back; no socket here, because the daemon reads with tokio and the client with blocking calls.
//! A length is checked against its limit before anything is allocated for it, and decoding never panics.

use std::fmt;

/// Bytes before a payload.
pub const HEADER_BYTES: usize = 8;
/// Largest payload of a request.
pub const REQUEST_BYTES_MAX: usize = 64 * 1024;
/// Largest payload of a reply.
pub const REPLY_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Largest payload of a hello.
pub const HELLO_BYTES_MAX: usize = 1024;

const MAGIC: [u8; 2] = *b"PR";
const VERSION: u8 = 1;

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The server's greeting.
    Hello = 1,
    /// A command line.
    Request = 2,
    /// The answer to one request.
    Reply = 3,
}

impl Kind {
    const fn bytes_max(self) -> usize {
        match self {
            Self::Hello => HELLO_BYTES_MAX,
            Self::Request => REQUEST_BYTES_MAX,
            Self::Reply => REPLY_BYTES_MAX,
        }
    }
}

/// A checked frame header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What follows.
    pub kind: Kind,
    /// Length of the payload in bytes; never above the limit of its kind.
    pub length: usize,
}

impl Header {
    /// Reads a header and holds it against version and limits.
    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Self, WireError> {
        let [m0, m1, version, kind, length @ ..] = *bytes;
        if [m0, m1] != MAGIC {
            return Err(WireError::NotOurs);
        }
        if version != VERSION {
            return Err(WireError::Version(version));
        }
        let kind = match kind {
            1 => Kind::Hello,
            2 => Kind::Request,
            3 => Kind::Reply,
            other => return Err(WireError::Kind(other)),
        };
        let length = u32::from_be_bytes(length) as usize;
        if kind.bytes_max() < length {
            return Err(WireError::TooLong { length, max: kind.bytes_max() });
        }
        Ok(Self { kind, length })
    }
}

/// The server's greeting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Product name.
    pub product: String,
    /// Version of the server.
    pub version: String,
}

impl Hello {
    /// The whole frame.
    pub fn encode(&self) -> Vec<u8> {
        frame(Kind::Hello, |out| {
            put_field(out, &self.product);
            put_field(out, &self.version);
        })
    }

    /// Reads a payload.
    pub fn decode(payload: &[u8]) -> Result<Self, WireError> {
        let mut fields = Fields(payload);
        let hello = Self { product: fields.text()?, version: fields.text()? };
        fields.end()?;
        Ok(hello)
    }
}

/// One command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The command line.
    pub text: String,
    /// Whether the answer shall be JSON.
    pub json: bool,
    /// Who the client says is asking; never trusted.
    pub user: String,
}

impl Request {
    /// The whole frame. The server refuses it when the text is longer than [`REQUEST_BYTES_MAX`].
    pub fn encode(&self) -> Vec<u8> {
        frame(Kind::Request, |out| {
            out.push(u8::from(self.json));
            put_field(out, &self.user);
            put_field(out, &self.text);
        })
    }

    /// Reads a payload.
    pub fn decode(payload: &[u8]) -> Result<Self, WireError> {
        let mut fields = Fields(payload);
        let flags = fields.byte()?;
        if 1 < flags {
            return Err(WireError::Flags(flags));
        }
        let request = Self { json: flags == 1, user: fields.text()?, text: fields.text()? };
        fields.end()?;
        Ok(request)
    }
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Done as asked.
    Completed = 0,
    /// Not done; the body says why.
    Failed = 2,
    /// The peer may not use this command.
    NotAuthz = 3,
    /// The bytes were no request; the server closes the connection.
    BadRequest = 7,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
            Self::NotAuthz => "NOT_AUTHZ",
            Self::BadRequest => "BAD_REQUEST",
        })
    }
}

/// The answer to one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// How the command ended.
    pub status: Status,
    /// Whether the body is JSON.
    pub json: bool,
    /// Text or JSON.
    pub body: String,
}

impl Answer {
    /// The whole frame. A body that does not fit becomes a failure that says so.
    pub fn encode(&self) -> Vec<u8> {
        if REPLY_BYTES_MAX < self.body.len() + 6 {
            return self.too_long().encode();
        }
        frame(Kind::Reply, |out| {
            out.push(self.status as u8);
            out.push(u8::from(self.json));
            put_field(out, &self.body);
        })
    }

    fn too_long(&self) -> Self {
        let body = format!(
            "the reply would be {} bytes and at most {REPLY_BYTES_MAX} fit; ask for less (a domain, a limit)",
            self.body.len()
        );
        let body = if self.json { serde_json::json!({ "error": body }).to_string() } else { body };
        Self { status: Status::Failed, json: self.json, body }
    }

    /// Reads a payload.
    pub fn decode(payload: &[u8]) -> Result<Self, WireError> {
        let mut fields = Fields(payload);
        let status = match fields.byte()? {
            0 => Status::Completed,
            2 => Status::Failed,
            3 => Status::NotAuthz,
            7 => Status::BadRequest,
            other => return Err(WireError::Status(other)),
        };
        let json = fields.byte()? == 1;
        let answer = Self { status, json, body: fields.text()? };
        fields.end()?;
        Ok(answer)
    }
}

/// Why bytes are not a frame of this protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WireError {
    /// No `PR` at the start.
    NotOurs,
    /// A version this side does not speak.
    Version(u8),
    /// An unknown kind of frame, or one that goes the other way.
    Kind(u8),
    /// Flag bits without a meaning.
    Flags(u8),
    /// A status without a meaning.
    Status(u8),
    /// More than the limit.
    TooLong {
        /// Bytes announced.
        length: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// A field reaches past the end of the payload.
    Truncated,
    /// Bytes after the last field.
    Trailing,
    /// A field is not UTF-8.
    NotUtf8,
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOurs => f.write_str("the bytes are not the console protocol"),
            Self::Version(v) => write!(f, "console protocol version {v} is not spoken here, version {VERSION} is"),
            Self::Kind(kind) => write!(f, "frame kind {kind} is not expected"),
            Self::Flags(flags) => write!(f, "request flags {flags:#04x} have no meaning"),
            Self::Status(status) => write!(f, "reply status {status} has no meaning"),
            Self::TooLong { length, max } => write!(f, "a frame of {length} bytes is over the limit of {max}"),
            Self::Truncated => f.write_str("a field is longer than its frame"),
            Self::Trailing => f.write_str("bytes follow the last field"),
            Self::NotUtf8 => f.write_str("a field is not UTF-8"),
        }
    }
}

impl std::error::Error for WireError {}

fn frame(kind: Kind, payload: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = vec![MAGIC[0], MAGIC[1], VERSION, kind as u8, 0, 0, 0, 0];
    payload(&mut out);
    let length = (out.len() - HEADER_BYTES) as u32; // callers keep it under REPLY_BYTES_MAX or let the peer refuse it
    out[4..HEADER_BYTES].copy_from_slice(&length.to_be_bytes());
    out
}

fn put_field(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as u32).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// What is left of a payload.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn byte(&mut self) -> Result<u8, WireError> {
        let (first, rest) = self.0.split_first().ok_or(WireError::Truncated)?;
        self.0 = rest;
        Ok(*first)
    }

    fn text(&mut self) -> Result<String, WireError> {
        let (length, rest) = self.0.split_first_chunk::<4>().ok_or(WireError::Truncated)?;
        let (field, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize).ok_or(WireError::Truncated)?;
        self.0 = rest;
        std::str::from_utf8(field).map(str::to_owned).map_err(|_| WireError::NotUtf8)
    }

    fn end(self) -> Result<(), WireError> {
        if self.0.is_empty() { Ok(()) } else { Err(WireError::Trailing) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(frame: &[u8]) -> (Header, &[u8]) {
        let (header, payload) = frame.split_first_chunk().unwrap();
        (Header::decode(header).unwrap(), payload)
    }

    #[test]
    fn frames_come_back_as_they_went() {
        let hello = Hello { product: "Postrider".into(), version: "1.2.3".into() };
        let request = Request { text: "domain \"ö.example\"".into(), json: true, user: "jan".into() };
        let answer = Answer { status: Status::NotAuthz, json: false, body: "Not Authorized for this command".into() };
        let frames = [hello.encode(), request.encode(), answer.encode()];
        for (frame, kind) in frames.iter().zip([Kind::Hello, Kind::Request, Kind::Reply]) {
            let (header, payload) = split(frame);
            assert_eq!(header, Header { kind, length: payload.len() });
        }
        assert_eq!(Hello::decode(split(&frames[0]).1), Ok(hello));
        assert_eq!(Request::decode(split(&frames[1]).1), Ok(request));
        assert_eq!(Answer::decode(split(&frames[2]).1), Ok(answer));
    }

    #[test]
    fn a_header_of_another_protocol_version_or_size_is_refused() {
        assert_eq!(Header::decode(b"GET / HT"), Err(WireError::NotOurs));
        assert_eq!(Header::decode(b"PR\x02\x02\0\0\0\x01"), Err(WireError::Version(2)));
        assert_eq!(Header::decode(b"PR\x01\x09\0\0\0\x01"), Err(WireError::Kind(9)));
        let long = WireError::TooLong { length: 0x7fff_ffff, max: REQUEST_BYTES_MAX };
        assert_eq!(Header::decode(b"PR\x01\x02\x7f\xff\xff\xff"), Err(long));
    }

    #[test]
    fn a_request_cut_anywhere_or_lengthened_is_refused() {
        let frame = Request { text: "pid".into(), json: false, user: String::new() }.encode();
        let payload = &frame[HEADER_BYTES..];
        for cut in 0..payload.len() {
            assert_eq!(Request::decode(&payload[..cut]), Err(WireError::Truncated), "cut at {cut}");
        }
        assert_eq!(Request::decode(&[payload, b"x"].concat()), Err(WireError::Trailing));
        assert_eq!(Request::decode(b"\0\0\0\0\0\0\0\0\x01\xff"), Err(WireError::NotUtf8));
        assert_eq!(Request::decode(b"\x80\0\0\0\0\0\0\0\0"), Err(WireError::Flags(0x80)));
        assert_eq!(Request::decode(b"\0\xff\xff\xff\xffx"), Err(WireError::Truncated));
    }

    #[test]
    fn a_reply_over_the_limit_becomes_a_failure_that_says_so() {
        let huge = Answer { status: Status::Completed, json: false, body: "x".repeat(REPLY_BYTES_MAX) };
        let frame = huge.encode();
        let answer = Answer::decode(split(&frame).1).unwrap();
        assert_eq!(answer.status, Status::Failed);
        assert!(answer.body.contains("ask for less"), "{}", answer.body);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_decoding_panic(header: [u8; HEADER_BYTES], payload: Vec<u8>) {
            let _ = Header::decode(&header);
            let _ = Hello::decode(&payload);
            let _ = Request::decode(&payload);
            let _ = Answer::decode(&payload);
        }
    }
}
