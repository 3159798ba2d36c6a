//! The content of a message as it will be stored: a body that is shared, and edits of its header section.
//!
//! A header that is changed is an edit; what is too much for that, and every change behind the header section, makes a new body.

use std::borrow::Cow;
use std::sync::Arc;

use message::edits::Misfit;
use message::field;
use message::parts::{self, PartView};
use message::{Body, Edits, HeaderSection, header, rendered, wire};
use smtp::Pieces;

use crate::error::PolicyError;

/// Body and edits. Cloning shares both.
#[derive(Clone, Debug, PartialEq)]
pub struct Content {
    /// The body in wire form.
    pub body: Body,
    /// What is different in the header section.
    pub edits: Option<Arc<Edits>>,
}

impl From<Body> for Content {
    fn from(body: Body) -> Self {
        Self { body, edits: None }
    }
}

impl Content {
    /// Whether the body is the same memory as another's: it can be stored once for both.
    pub fn shares_body(&self, other: &Body) -> bool {
        std::ptr::eq(&*self.body, &**other)
    }

    /// The message as its recipient gets it.
    pub fn rendered(&self) -> Pieces {
        rendered(&self.body, self.edits.as_deref())
    }

    /// Its size (RFC 1870).
    pub fn octets(&self) -> u64 {
        self.rendered().content_octets()
    }

    /// The values of every header field of that name, decoded; none if there is no such field.
    pub fn header(&self, name: &str) -> Vec<String> {
        self.section().values(name).map(|value| field::decode(&value)).collect()
    }

    /// All header fields in wire form, one after the other.
    pub fn raw_headers(&self) -> Vec<u8> {
        self.section().fields().collect::<Vec<_>>().concat()
    }

    /// Puts a field in the place of all of its name; an empty value leaves them out.
    pub fn set_header(&mut self, name: &str, value: &str) -> Result<(), PolicyError> {
        let field = field::encode(name, value)?;
        self.change(|section| match value {
            "" => drop(section.remove(name)),
            _ => section.set(field),
        })
    }

    /// Puts a field behind all others.
    pub fn append_header(&mut self, name: &str, value: &str) -> Result<(), PolicyError> {
        let field = field::encode(name, value)?;
        self.change(|section| section.append(field))
    }

    /// Puts a field before all others but a Return-Path.
    pub fn prepend_header(&mut self, name: &str, value: &str) -> Result<(), PolicyError> {
        let field = field::encode(name, value)?;
        self.change(|section| section.prepend(field))
    }

    /// As [`Content::prepend_header`], for a whole field in wire form, as signers make it.
    pub fn prepend_raw_header(&mut self, raw: &[u8]) -> Result<(), PolicyError> {
        let field = field::checked(raw)?;
        self.change(|section| section.prepend(field))
    }

    /// Leaves all fields of that name out; whether there was one.
    pub fn remove_header(&mut self, name: &str) -> Result<bool, PolicyError> {
        // No field has a name that is none.
        field::encode(name, "")?;
        let mut removed = false;
        self.change(|section| removed = section.remove(name))?;
        Ok(removed)
    }

    /// What stands behind the header section and its empty line, in plain form. Copies only stuffed content.
    pub fn text(&self) -> Cow<'_, [u8]> {
        let behind = &self.body[header::section(&self.body).len()..];
        wire::to_plain(behind.strip_prefix(b"\r\n").unwrap_or(behind))
    }

    /// Puts other content behind the header section: plain form, any line ends.
    pub fn set_text(&mut self, plain: &[u8]) {
        let mut body = self.raw_headers();
        body.extend_from_slice(b"\r\n");
        wire::from_plain(plain, &mut body);
        *self = Self::from(Body::from(body));
    }

    /// Puts a whole other message in its place: plain form, any line ends.
    pub fn set_raw(&mut self, plain: &[u8]) {
        let mut body = Vec::new();
        wire::from_plain(plain, &mut body);
        *self = Self::from(Body::from(body));
    }

    /// The parts of the message, read anew with each call: not for an event loop if the message is large.
    pub fn parts(&self) -> Vec<PartView> {
        parts::read(&wire::to_plain(&self.rendered().into_bytes()))
    }

    fn section(&self) -> HeaderSection<'_> {
        HeaderSection::of(&self.body, self.edits.as_deref())
    }

    fn change(&mut self, change: impl FnOnce(&mut HeaderSection<'_>)) -> Result<(), PolicyError> {
        let mut section = self.section();
        change(&mut section);
        match section.clone().into_edits() {
            Ok(edits) => self.edits = edits.map(Arc::new),
            Err(Misfit::Size) => {
                let body = section.into_body();
                if HEADER_OCTETS_MAX < header::section(&body).len() {
                    return Err(PolicyError::TooManyFields);
                }
                *self = Self::from(Body::from(body));
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

/// Octets that a header section may grow to by policy.
pub const HEADER_OCTETS_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn content() -> Content {
        Content::from(Body::from_static(b"Subject: =?UTF-8?Q?caf=C3=A9?=\r\nBcc: x@y\r\n\r\n..hello\r\nend\r\n.\r\n"))
    }

    fn whole(content: &Content) -> String {
        String::from_utf8(content.rendered().into_bytes().to_vec()).unwrap()
    }

    #[test]
    fn header_fields_are_read_and_changed_by_name_and_the_body_stays_shared() {
        let (mut content, stored) = (content(), content().body);
        content.body = stored.clone();
        assert_eq!((content.header("SUBJECT"), content.header("cc")), (vec!["café".to_owned()], vec![]));
        content.set_header("Subject", "thé").unwrap();
        content.append_header("X", "1").unwrap();
        content.append_header("X", "2").unwrap();
        content.prepend_header("Y", "0").unwrap();
        assert_eq!(content.remove_header("bcc"), Ok(true));
        assert_eq!(content.remove_header("bcc"), Ok(false));
        assert_eq!(
            (content.header("x"), content.header("subject")),
            (vec!["1".into(), "2".into()], vec!["thé".to_owned()])
        );
        assert!(content.shares_body(&stored));
        let expected = "Y: 0\r\nSubject: =?UTF-8?B?dGjDqQ==?=\r\nX: 1\r\nX: 2\r\n\r\n..hello\r\nend\r\n.\r\n";
        assert_eq!(whole(&content), expected);
        assert_eq!(content.octets(), expected.len() as u64 - 4);
        content.set_header("X", "").unwrap();
        assert!(content.header("x").is_empty());
        assert!(
            content.set_header("X", "a\r\nBcc: b").is_err() && content.prepend_raw_header(b"a: b\r\n\r\n").is_err()
        );
    }

    #[test]
    fn content_that_is_changed_is_a_body_of_its_own() {
        let mut content = content();
        let stored = content.body.clone();
        content.set_header("X", "1").unwrap();
        assert_eq!(&*content.text(), b".hello\r\nend\r\n");
        content.set_text(b".\nbare\rends");
        assert!(!content.shares_body(&stored) && content.edits.is_none());
        let expected = "Subject: =?UTF-8?Q?caf=C3=A9?=\r\nBcc: x@y\r\nX: 1\r\n\r\n..\r\nbare\r\nends\r\n.\r\n";
        assert_eq!(whole(&content), expected);
        assert_eq!(&*content.text(), b".\r\nbare\r\nends\r\n");
        content.set_raw(b"A: 1\n\nx\n");
        assert_eq!(whole(&content), "A: 1\r\n\r\nx\r\n.\r\n");
        assert_eq!(content.parts()[0].text.as_deref(), Some("x\r\n"));
    }

    #[test]
    fn more_than_edits_hold_is_a_new_body_up_to_a_bound() {
        let mut content = content();
        let stored = content.body.clone();
        let line = "word ".repeat(1000);
        let mut appended = 0;
        while content.append_header("X", &line).is_ok() {
            appended += 1;
            assert!(appended < 1000, "there is a bound");
        }
        assert!(!content.shares_body(&stored) && 200 < appended);
        assert_eq!(content.header("x").len(), appended);
        assert!(whole(&content).ends_with("\r\n\r\n..hello\r\nend\r\n.\r\n"));
    }
}
