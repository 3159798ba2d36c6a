//! Wire form and plain form of a body.
//!
//! Wire form is what follows DATA: CRLF line ends, lines that begin with a dot begin with two, and a line of one dot at
//! the end (RFC 5321 4.5.2). Whoever stores, scans or parses a body as a file needs the plain form, and comes here.
//! Pure.

use std::borrow::Cow;

use memchr::{memchr, memchr2, memmem};

/// The line that ends a body in wire form.
pub const TERMINATOR: &[u8] = b".\r\n";

/// A body in wire form without its final `.` line; all of it if that line is missing.
pub fn without_terminator(wire: &[u8]) -> &[u8] {
    match wire.strip_suffix(TERMINATOR) {
        Some(content) if content.is_empty() || content.ends_with(b"\r\n") => content,
        _ => wire,
    }
}

/// The plain form: no terminator, no stuffing. Copies only if there is stuffing.
pub fn to_plain(wire: &[u8]) -> Cow<'_, [u8]> {
    let content = without_terminator(wire);
    let mut plain = Vec::new();
    let mut copied = 0;
    for dot in stuffing(content) {
        plain.reserve(content.len() - copied);
        plain.extend_from_slice(&content[copied..dot]);
        copied = dot + 1;
    }
    if copied == 0 {
        return Cow::Borrowed(content);
    }
    plain.extend_from_slice(&content[copied..]);
    Cow::Owned(plain)
}

/// Where the dots stand that stuffing added.
fn stuffing(content: &[u8]) -> impl Iterator<Item = usize> + '_ {
    let first = content.starts_with(b".").then_some(0);
    first.into_iter().chain(memmem::find_iter(content, b"\n.").map(|at| at + 1))
}

/// The lines of a body in wire form, unstuffed and without their CRLF, up to the terminator.
pub fn lines(wire: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = without_terminator(wire);
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
        let (line, tail) = rest.split_at(end);
        rest = tail;
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        Some(line.strip_prefix(b".").unwrap_or(line))
    })
}

/// Appends the wire form of `plain`, with the terminator. CR, LF and CRLF each end a line there; the last line gets an
/// end if it has none. So whatever goes in, no bare CR or LF and no early terminator comes out.
pub fn from_plain(plain: &[u8], out: &mut Vec<u8>) {
    out.reserve(plain.len() + plain.len() / 32 + TERMINATOR.len());
    let mut rest = plain;
    while !rest.is_empty() {
        let end = memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
        if rest.starts_with(b".") {
            out.push(b'.');
        }
        out.extend_from_slice(&rest[..end]);
        out.extend_from_slice(b"\r\n");
        let line_end = if rest[end..].starts_with(b"\r\n") { 2 } else { 1 };
        rest = &rest[rest.len().min(end + line_end)..];
    }
    out.extend_from_slice(TERMINATOR);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wire(plain: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        from_plain(plain, &mut out);
        out
    }

    #[test]
    fn stuffing_goes_and_comes() {
        assert_eq!(to_plain(b"..a\r\nb.\r\n..\r\n.\r\n"), Cow::Borrowed(b".a\r\nb.\r\n.\r\n"));
        assert_eq!(wire(b".a\nb.\r\n."), b"..a\r\nb.\r\n..\r\n.\r\n");
        assert_eq!(wire(b""), b".\r\n");
        assert_eq!(wire(b"a\rb\n\rc"), b"a\r\nb\r\n\r\nc\r\n.\r\n");
        assert!(matches!(to_plain(b"a\r\n.\r\n"), Cow::Borrowed(b"a\r\n")));
        assert!(matches!(to_plain(b".\r\n"), Cow::Borrowed(b"")));
        assert_eq!(to_plain(b"cut sho"), Cow::Borrowed(b"cut sho"));
        assert_eq!(lines(b"..a\r\n\r\nb\r\n.\r\n").collect::<Vec<_>>(), [&b".a"[..], b"", b"b"]);
    }

    proptest! {
        #[test]
        fn plain_text_survives_the_wire(lines_in in proptest::collection::vec("[.a]{0,3}", 0..12)) {
            let plain: String = lines_in.iter().map(|line| format!("{line}\r\n")).collect();
            let wire = wire(plain.as_bytes());
            prop_assert_eq!(&*to_plain(&wire), plain.as_bytes());
            prop_assert!(lines(&wire).eq(lines_in.iter().map(|line| line.as_bytes())));
        }

        #[test]
        fn any_bytes_become_wire_form_with_one_terminator(plain in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'.'), any::<u8>()], 0..60)) {
            let wire = wire(&plain);
            prop_assert!(wire == TERMINATOR || wire.ends_with(b"\r\n.\r\n"));
            prop_assert!(!wire.starts_with(TERMINATOR) || wire.len() == 3);
            prop_assert!(!wire[..wire.len() - 3].windows(5).any(|window| window == b"\r\n.\r\n"));
            for (at, &octet) in wire.iter().enumerate() {
                prop_assert!(octet != b'\r' || wire.get(at + 1) == Some(&b'\n'));
                prop_assert!(octet != b'\n' || 0 < at && wire[at - 1] == b'\r');
            }
        }
    }
}
