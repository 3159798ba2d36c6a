//! The header section of a body in wire form: finding, counting, removing and inserting fields without decoding it.
//!
//! Takes wire form (dot-stuffed, CRLF) and gives slices of it. Pure; on the hot path, so one pass and no copies.
//!
//! The section ends before the empty line, before the final `.` line, or before the first line that is neither a field
//! nor the continuation of one: clients that forget the empty line have their content begin there.

use std::borrow::Cow;

use memchr::memchr;

/// One header field, as it stands in the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// Its name, without the colon.
    pub name: &'a [u8],
    /// All its lines, with the last CRLF.
    pub raw: &'a [u8],
    /// Where `raw` begins in the body.
    pub at: usize,
    /// Where in `raw` the value begins: after the colon.
    value_at: usize,
}

impl<'a> Field<'a> {
    /// Whether it has this name; case does not matter.
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    /// The value, unfolded (RFC 5322 2.2.3), without white space at its ends. Copies only a folded one.
    pub fn value(&self) -> Cow<'a, [u8]> {
        let value = self.raw[self.value_at..].trim_ascii();
        if memchr(b'\n', value).is_none() {
            return Cow::Borrowed(value);
        }
        Cow::Owned(value.iter().copied().filter(|octet| !matches!(octet, b'\r' | b'\n')).collect())
    }
}

/// The fields of a body in wire form, in order.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    body: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    /// The fields of `body`.
    pub fn of(body: &'a [u8]) -> Self {
        Self { body, at: 0 }
    }

    /// Where the next field begins; after the last one, the length of the header section.
    pub fn at(&self) -> usize {
        self.at
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        let rest = &self.body[self.at..];
        // A name may begin with a dot, and is stuffed with another then.
        let stuffing = usize::from(rest.starts_with(b".."));
        let colon = colon(&rest[stuffing..])? + stuffing;
        let mut end = line_end(rest, colon);
        while matches!(rest.get(end), Some(b' ' | b'\t')) {
            end = line_end(rest, end);
        }
        let field =
            Field { name: rest[stuffing..colon].trim_ascii_end(), raw: &rest[..end], at: self.at, value_at: colon + 1 };
        self.at += end;
        Some(field)
    }
}

/// What reception wants to know of a header section, from one pass over it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// Octets of the header section, without the empty line after it.
    pub octets: usize,
    /// Received fields: hops so far (RFC 5321 6.3).
    pub received: usize,
    /// Return-Path fields, which a relay replaces (RFC 5321 4.4).
    pub return_paths: usize,
    /// There is a Date field.
    pub has_date: bool,
    /// There is a From field.
    pub has_from: bool,
    /// There is a Message-ID field.
    pub has_message_id: bool,
}

impl Survey {
    /// Looks through the header section of `body`.
    pub fn of(body: &[u8]) -> Self {
        let mut survey = Self::default();
        let mut fields = Fields::of(body);
        for field in &mut fields {
            // Lengths first: most fields are told apart by them.
            match field.name.len() {
                4 => {
                    survey.has_date |= field.is("Date");
                    survey.has_from |= field.is("From");
                }
                8 if field.is("Received") => survey.received += 1,
                10 => survey.has_message_id |= field.is("Message-ID"),
                11 if field.is("Return-Path") => survey.return_paths += 1,
                _ => {}
            }
        }
        survey.octets = fields.at();
        survey
    }
}

/// The first field of this name.
pub fn find<'a>(body: &'a [u8], name: &str) -> Option<Field<'a>> {
    Fields::of(body).find(|field| field.is(name))
}

/// How many fields have this name.
pub fn count(body: &[u8], name: &str) -> usize {
    Fields::of(body).filter(|field| field.is(name)).count()
}

/// The header section, without the empty line after it.
pub fn section(body: &[u8]) -> &[u8] {
    let mut fields = Fields::of(body);
    fields.by_ref().for_each(drop);
    &body[..fields.at()]
}

/// Removes every field of this name in place, by moving what stands before it towards the end: the content, which may
/// be large, stays where it is. Returns the octets removed; the body begins there now, and the caller advances to it.
pub fn remove(body: &mut [u8], name: &str) -> usize {
    let (mut removed, mut from) = (0, 0);
    loop {
        let mut fields = Fields { body, at: from };
        let Some((at, end)) = fields.find(|field| field.is(name)).map(|field| (field.at, field.at + field.raw.len()))
        else {
            return removed;
        };
        body.copy_within(removed..at, removed + end - at);
        removed += end - at;
        from = end;
    }
}

/// A new body: `fields` (whole lines in wire form) at the top, then `body` without its fields named `replaced`.
pub fn insert_at_top(fields: &[u8], body: &[u8], replaced: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(fields.len() + body.len());
    out.extend_from_slice(fields);
    let mut kept = 0;
    for field in Fields::of(body).filter(|field| field.is(replaced)) {
        out.extend_from_slice(&body[kept..field.at]);
        kept = field.at + field.raw.len();
    }
    out.extend_from_slice(&body[kept..]);
    out
}

/// Where the colon of a field stands; none if the line begins no field. White space before it is obsolete but occurs
/// (RFC 5322 4.5).
fn colon(line: &[u8]) -> Option<usize> {
    let name = line.iter().position(|octet| !octet.is_ascii_graphic() || *octet == b':')?;
    let blanks = line[name..].iter().position(|octet| !matches!(octet, b' ' | b'\t'))?;
    (0 < name && line[name + blanks] == b':').then_some(name + blanks)
}

/// Where the line that `from` stands in ends: after its LF.
fn line_end(text: &[u8], from: usize) -> usize {
    memchr(b'\n', &text[from..]).map_or(text.len(), |at| from + at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BODY: &[u8] =
        b"Received: from a\r\n\tby b\r\nreturn-path: <x@y>\r\nSubject : hello\r\n world\r\nRECEIVED: from c\r\n\
        ..dotted: 1\r\nReturn-Path:\r\n <z@y>\r\nDate: now\r\n\r\nReceived: not a field\r\n.\r\n";

    #[test]
    fn fields_are_found_whole_and_by_any_case() {
        let survey = Survey::of(BODY);
        assert_eq!((survey.received, survey.return_paths, survey.has_date, survey.has_from), (2, 2, true, false));
        assert!(BODY[survey.octets..].starts_with(b"\r\nReceived: not a field"));
        assert_eq!(section(BODY).len(), survey.octets);
        assert_eq!(count(BODY, "received"), 2);
        let subject = find(BODY, "subject").unwrap();
        assert_eq!((subject.name, &*subject.value()), (&b"Subject"[..], &b"hello world"[..]));
        assert_eq!(subject.raw, b"Subject : hello\r\n world\r\n");
        assert_eq!(find(BODY, ".dotted").unwrap().value(), Cow::Borrowed(b"1"));
        assert!(find(BODY, "Cc").is_none());
    }

    #[test]
    fn return_path_is_removed_in_place_without_moving_the_content() {
        let mut body = BODY.to_vec();
        let start = remove(&mut body, "Return-Path");
        assert_eq!(&body[start..], insert_at_top(b"", BODY, "return-path"));
        assert_eq!(start, b"return-path: <x@y>\r\nReturn-Path:\r\n <z@y>\r\n".len());
        assert_eq!(count(&body[start..], "Return-Path"), 0);
        assert_eq!(count(&body[start..], "Received"), 2);
        assert_eq!(remove(&mut body[start..], "Return-Path"), 0);
    }

    #[test]
    fn fields_go_to_the_top() {
        let body = insert_at_top(b"A: 1\r\n", b"Return-Path: <>\r\nB: 2\r\n\r\n.\r\n", "Return-Path");
        assert_eq!(body, b"A: 1\r\nB: 2\r\n\r\n.\r\n");
    }

    #[test]
    fn the_section_ends_where_no_field_follows() {
        for (body, octets) in [
            (&b".\r\n"[..], 0),
            (b"", 0),
            (b"\r\nA: 1\r\n.\r\n", 0),
            (b"hello: world\r\nno field here\r\n.\r\n", 14),
            (b"A: 1\r\n.\r\n", 6),
            (b"A: 1", 4),
            (b": x\r\n.\r\n", 0),
            (b" folded\r\n.\r\n", 0),
        ] {
            assert_eq!(Survey::of(body).octets, octets, "{:?}", String::from_utf8_lossy(body));
        }
    }

    proptest! {
        #[test]
        fn removing_in_place_and_copying_agree_on_any_bytes(body in "([abA.]{0,2} ?:? ?\r?\n?\t?){0,20}") {
            let mut edited = body.clone().into_bytes();
            let start = remove(&mut edited, "a");
            prop_assert_eq!(&edited[start..], insert_at_top(b"", body.as_bytes(), "a"));
        }

        #[test]
        fn fields_lie_end_to_end_on_any_bytes(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut at = 0;
            for field in Fields::of(&body) {
                prop_assert_eq!(field.at, at);
                at += field.raw.len();
                let _ = field.value();
            }
            prop_assert_eq!(Survey::of(&body).octets, at);
        }
    }
}
