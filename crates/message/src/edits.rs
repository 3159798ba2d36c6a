//! Changes of the header section of a stored body that one recipient's message has, and the others' have not.
//!
//! What is stored stays as it is; [`Edits`] say where whole lines are put in and where whole lines are left out. Rendered,
//! stored body and edits are pieces of memory one after the other: nothing is copied. Pure.
//!
//! Invariant: text that is put in is whole header fields in wire form, 7-bit, no line over 998 octets, no bare CR or LF. So
//! no edit can end the header section, begin a content, or make a line of its own elsewhere.

use bytes::Bytes;
use smtp::Pieces;

use crate::body::Body;
use crate::header::{self, Fields};

/// Octets that may be put in; who wants more stores a body of its own.
pub const INSERTED_OCTETS_MAX: usize = 64 << 10;
/// Places that may be changed.
pub const CHANGES_MAX: usize = 4096;

/// Changes of a header section. Compared with `==`, they are equal if they do the same in the same places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edits {
    changes: Box<[Change]>,
    /// All that is put in, one after the other.
    text: Bytes,
}

/// One place of the stored body: so many octets are left out there, and text is put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Where, in the stored body.
    pub at: u32,
    /// Octets left out.
    pub removed: u32,
    /// Octets put in.
    pub inserted: u32,
}

/// Why something cannot be an edit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// The changes overlap, change nothing, or are too many.
    Places,
    /// The text is not whole header fields.
    Text,
    /// More than [`INSERTED_OCTETS_MAX`].
    Size,
}

impl Edits {
    /// Edits of these parts, if they can be such.
    pub fn of_parts(changes: Vec<Change>, text: impl Into<Bytes>) -> Result<Self, Misfit> {
        let text = text.into();
        if INSERTED_OCTETS_MAX < text.len() {
            return Err(Misfit::Size);
        }
        if changes.is_empty() || CHANGES_MAX < changes.len() {
            return Err(Misfit::Places);
        }
        let (mut free, mut from) = (Some(0u32), 0usize);
        for change in &changes {
            let is_behind = free.is_some_and(|free| free <= change.at);
            if !is_behind || (change.removed, change.inserted) == (0, 0) {
                return Err(Misfit::Places);
            }
            free = change.at.checked_add(change.removed);
            let end = from.checked_add(change.inserted as usize);
            let Some((inserted, end)) = end.and_then(|end| Some((text.get(from..end)?, end))) else {
                return Err(Misfit::Text);
            };
            if !is_fields(inserted) {
                return Err(Misfit::Text);
            }
            from = end;
        }
        if free.is_none() || from != text.len() {
            return Err(Misfit::Places);
        }
        Ok(Self { changes: changes.into(), text })
    }

    /// The changes, in order.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// All that is put in, one after the other.
    pub fn text(&self) -> &Bytes {
        &self.text
    }

    /// Octets of memory that hang on it.
    pub fn held(&self) -> usize {
        size_of::<Self>() + self.changes.len() * size_of::<Change>() + self.text.len()
    }

    /// Whether they are edits of that body: each changes whole fields of its header section.
    pub fn fit(&self, stored: &[u8]) -> bool {
        let mut ends = Fields::of(stored);
        let mut reach = |at: usize| {
            while ends.at() < at && ends.next().is_some() {}
            ends.at() == at
        };
        self.changes.iter().all(|change| reach(change.at as usize) && reach((change.at + change.removed) as usize))
    }

    /// The same edits of a body with so many octets more in front. `None` if that is too long for them.
    pub fn behind(&self, octets: usize) -> Option<Self> {
        let octets = u32::try_from(octets).ok()?;
        let moved = |change: &Change| Some(Change { at: change.at.checked_add(octets)?, ..*change });
        let changes = self.changes.iter().map(moved).collect::<Option<Box<[Change]>>>()?;
        changes.last()?.at.checked_add(changes.last()?.removed)?;
        Some(Self { changes, text: self.text.clone() })
    }

    /// The message as its recipient has it. What does not fit that body is passed over: see [`Edits::fit`].
    pub fn render(&self, stored: &Body) -> Pieces {
        let (mut pieces, mut kept, mut from) = (Pieces::default(), 0, 0);
        for change in &self.changes {
            let at = (change.at as usize).clamp(kept, stored.len());
            pieces.push(stored.slice(kept..at));
            kept = (at + change.removed as usize).min(stored.len());
            let end = from + change.inserted as usize;
            pieces.push(self.text.slice(from..end));
            from = end;
        }
        pieces.push(stored.slice(kept..));
        pieces
    }

    /// Octets of the message in wire form, if those stored are so many.
    pub fn rendered_octets(&self, stored: u64) -> u64 {
        let removed: u64 = self.changes.iter().map(|change| u64::from(change.removed)).sum();
        stored.saturating_sub(removed) + self.text.len() as u64
    }
}

/// The message as its recipient has it: the stored body, with the edits if there are any.
pub fn rendered(stored: &Body, edits: Option<&Edits>) -> Pieces {
    edits.map_or_else(|| stored.clone().into(), |edits| edits.render(stored))
}

/// Whether this is whole header fields in wire form and nothing else, or nothing at all.
fn is_fields(text: &[u8]) -> bool {
    let mut fields = Fields::of(text);
    fields.by_ref().for_each(drop);
    fields.at() == text.len() && lines(text).all(|line| line.is_some_and(|line| line.len() <= LINE_OCTETS_MAX))
}

/// The lines without their CRLF; `None` for what is none, or not 7-bit text.
fn lines(text: &[u8]) -> impl Iterator<Item = Option<&[u8]>> {
    text.split_inclusive(|&octet| octet == b'\n').map(|line| {
        let line = line.strip_suffix(b"\r\n")?;
        line.iter().all(|&octet| matches!(octet, b'\t' | b' '..=b'~')).then_some(line)
    })
}

/// The header section of one message while it is changed: fields that are stored, and fields that are new.
#[derive(Clone, Debug)]
pub struct HeaderSection<'a> {
    stored: &'a [u8],
    lines: Vec<Standing>,
}

/// One field.
#[derive(Clone, Debug)]
enum Standing {
    Stored { at: usize, end: usize },
    New(Vec<u8>),
}

impl<'a> HeaderSection<'a> {
    /// That of a stored body with the edits it has so far.
    pub fn of(stored: &'a [u8], edits: Option<&Edits>) -> Self {
        let mut changes = edits.map_or(&[][..], Edits::changes).iter();
        let mut text = edits.map_or(&[][..], |edits| &edits.text);
        let mut next = changes.next();
        let (mut lines, mut hidden) = (Vec::new(), 0);
        let mut fields = Fields::of(stored);
        loop {
            let at = fields.at();
            while let Some(change) = next.filter(|change| change.at as usize <= at) {
                let (inserted, rest) = text.split_at((change.inserted as usize).min(text.len()));
                text = rest;
                lines.extend(Fields::of(inserted).map(|field| Standing::New(field.raw.to_vec())));
                hidden = change.at as usize + change.removed as usize;
                next = changes.next();
            }
            let Some(field) = fields.next() else { break };
            if hidden <= at {
                lines.push(Standing::Stored { at, end: at + field.raw.len() });
            }
        }
        Self { stored, lines }
    }

    /// The fields as they stand, in order; each in wire form with its last CRLF.
    pub fn fields(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.lines.iter().map(|line| self.raw(line))
    }

    /// The values of every field of that name, unfolded and not decoded.
    pub fn values(&self, name: &str) -> impl Iterator<Item = Vec<u8>> {
        let named = self.fields().filter_map(move |raw| header::find(raw, name));
        named.map(|field| field.value().into_owned()).collect::<Vec<_>>().into_iter()
    }

    /// Puts a field (see [`crate::field`]) in the place of the first of its name, and leaves the others out; at the end if
    /// there is none.
    pub fn set(&mut self, field: Vec<u8>) {
        let name = name_of(&field);
        let first = self.lines.iter().position(|line| self.has_name(line, &name));
        self.remove_from(&name, first.map_or(self.lines.len(), |first| first + 1));
        match first {
            Some(first) => self.lines[first] = Standing::New(field),
            None => self.lines.push(Standing::New(field)),
        }
    }

    /// Leaves every field of that name out; whether there was one.
    pub fn remove(&mut self, name: &str) -> bool {
        let before = self.lines.len();
        self.remove_from(name, 0);
        self.lines.len() < before
    }

    /// Puts a field behind all others.
    pub fn append(&mut self, field: Vec<u8>) {
        self.lines.push(Standing::New(field));
    }

    /// Puts a field before all others, but for a Return-Path: that stays on top (RFC 5321 4.4).
    pub fn prepend(&mut self, field: Vec<u8>) {
        let on_top = self.lines.first().is_some_and(|line| self.has_name(line, "Return-Path"));
        self.lines.insert(on_top.into(), Standing::New(field));
    }

    /// The edits that lead here; none if nothing is changed.
    pub fn into_edits(self) -> Result<Option<Edits>, Misfit> {
        let section = header::section(self.stored).len();
        let (mut changes, mut text, mut free) = (Vec::<Change>::new(), Vec::new(), 0);
        let mut pending = 0;
        let mut change = |at: usize, removed: usize, inserted: &mut usize| {
            if (removed, *inserted) == (0, 0) {
                return Ok(());
            }
            let narrow = |octets: usize| u32::try_from(octets).map_err(|_| Misfit::Places);
            let (at, removed) = (narrow(at)?, narrow(removed)?);
            changes.push(Change { at, removed, inserted: narrow(std::mem::take(inserted))? });
            Ok(())
        };
        for line in &self.lines {
            match line {
                Standing::New(field) => {
                    text.extend_from_slice(field);
                    pending += field.len();
                }
                Standing::Stored { at, end } => {
                    change(free, at - free, &mut pending)?;
                    free = *end;
                }
            }
        }
        change(free, section - free, &mut pending)?;
        if changes.is_empty() {
            return Ok(None);
        }
        Edits::of_parts(changes, text).map(Some)
    }

    /// A new body with the same header section, for what is too much to be edits.
    pub fn into_body(self) -> Vec<u8> {
        let mut body = self.fields().collect::<Vec<_>>().concat();
        body.extend_from_slice(&self.stored[header::section(self.stored).len()..]);
        body
    }

    fn raw<'b>(&'b self, line: &'b Standing) -> &'b [u8] {
        match line {
            Standing::Stored { at, end } => &self.stored[*at..*end],
            Standing::New(field) => field,
        }
    }

    fn has_name(&self, line: &Standing, name: &str) -> bool {
        header::find(self.raw(line), name).is_some()
    }

    fn remove_from(&mut self, name: &str, first: usize) {
        let mut place = 0;
        let lines = std::mem::take(&mut self.lines);
        let keeps = |line: &Standing| {
            place += 1;
            place <= first || !self.has_name(line, name)
        };
        let mut keeps = keeps;
        let kept = lines.into_iter().filter(|line| keeps(line)).collect();
        self.lines = kept;
    }
}

fn name_of(field: &[u8]) -> String {
    Fields::of(field).next().map_or(String::new(), |field| String::from_utf8_lossy(field.name).into_owned())
}

/// Octets of a line without its CRLF (RFC 5322 2.1.1).
pub(crate) const LINE_OCTETS_MAX: usize = 998;

#[cfg(test)]
#[path = "edits_tests.rs"]
mod tests;
