//! A piece of a source text that keeps the text alive: what words and values of the tree are made of.
//!
//! In: a whole text and a range of bytes. Out: something that reads as `str`. A large file is many small words; each of
//! them costs a reference to the file's text, and no memory of its own. Pure.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

/// A piece of a text.
#[derive(Clone)]
pub(crate) struct Piece {
    whole: Arc<str>,
    start: u32,
    end: u32,
}

impl Piece {
    /// The bytes `range` of a text, which must lie on its characters; what lies elsewhere is empty.
    pub fn of(whole: &Arc<str>, range: Range<u32>) -> Self {
        Piece { whole: whole.clone(), start: range.start, end: range.end }
    }
}

impl Deref for Piece {
    type Target = str;
    fn deref(&self) -> &str {
        self.whole.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

impl From<&str> for Piece {
    fn from(text: &str) -> Self {
        Piece { end: text.len() as u32, whole: text.into(), start: 0 }
    }
}

impl From<String> for Piece {
    fn from(text: String) -> Self {
        Piece::from(text.as_str())
    }
}

impl PartialEq for Piece {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Piece {}

impl fmt::Debug for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl fmt::Display for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}
