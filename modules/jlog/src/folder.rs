//! The folder of a journaled log: which segments and subscribers there are, and where each subscriber stands.
//!
//! Blocks. Usable from several processes at once: segments and checkpoints are replaced or removed as a whole.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::segment::HEAD_OCTETS;

/// A journaled log by its folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder(PathBuf);

/// A place between two records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The segment's number; 0 is before all.
    pub segment: u64,
    /// Octets from the segment's start.
    pub offset: u64,
}

/// Where a new subscriber begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the oldest record that is still kept.
    Oldest,
    /// With what is written from now on.
    Newest,
}

impl Folder {
    /// The log in this folder, which need not exist.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The subscribers, in name order.
    pub fn subscribers(&self) -> io::Result<Vec<String>> {
        let names = self.names()?.into_iter();
        Ok(names.filter_map(|name| Some(name.strip_suffix(SUBSCRIBER)?.to_owned())).collect())
    }

    /// Adds a subscriber; one that is there already stays where it is. Whether it is new.
    pub fn subscribe(&self, subscriber: &str, start: Start) -> io::Result<bool> {
        if self.checkpoint_of(subscriber)?.is_some() {
            return Ok(false);
        }
        let segments = self.segments()?;
        let position = match (start, segments.first(), segments.last()) {
            (Start::Oldest, Some(&segment), _) => Position { segment, offset: HEAD_OCTETS },
            (Start::Newest, _, Some(&segment)) => {
                Position { segment, offset: fs::metadata(self.segment(segment))?.len().max(HEAD_OCTETS) }
            }
            _ => Position::default(),
        };
        self.set_checkpoint(subscriber, position)?;
        Ok(true)
    }

    /// Forgets a subscriber, and with it the records that were kept for it alone. Whether there was one.
    pub fn unsubscribe(&self, subscriber: &str) -> io::Result<bool> {
        match fs::remove_file(self.subscriber(subscriber)?) {
            Ok(()) => self.remove_read_segments().map(|_| true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// How far a subscriber has acknowledged; none if there is no such subscriber.
    pub fn checkpoint_of(&self, subscriber: &str) -> io::Result<Option<Position>> {
        let path = self.subscriber(subscriber)?;
        match fs::read_to_string(&path) {
            Ok(text) => parse(&text).map(Some).ok_or_else(|| {
                let text = "is damaged: remove it and add the subscriber again, which begins with the oldest record";
                io::Error::new(io::ErrorKind::InvalidData, format!("{} {text}", path.display()))
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Octets in all segments.
    pub fn octets(&self) -> io::Result<u64> {
        let lengths = self.segments()?.into_iter().filter_map(|number| fs::metadata(self.segment(number)).ok());
        Ok(lengths.map(|found| found.len()).sum())
    }

    /// Removes the segments that every subscriber has left behind, but never the newest; how many.
    pub fn remove_read_segments(&self) -> io::Result<usize> {
        let (mut segments, mut removed) = (self.segments()?, 0);
        segments.pop();
        let mut needed = u64::MAX;
        for subscriber in self.subscribers()? {
            // One that was removed meanwhile needs nothing.
            if let Some(checkpoint) = self.checkpoint_of(&subscriber)? {
                needed = needed.min(checkpoint.segment);
            }
        }
        for segment in segments.into_iter().filter(|&segment| segment < needed) {
            match fs::remove_file(self.segment(segment)) {
                Ok(()) => removed += 1,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(removed)
    }

    pub(crate) fn set_checkpoint(&self, subscriber: &str, position: Position) -> io::Result<()> {
        let text = format!("{CHECKPOINT}{} {}\n", position.segment, position.offset);
        io_wrapper::replace(&self.subscriber(subscriber)?, text.as_bytes(), 0o640)
    }

    /// The numbers of the segments, in order.
    pub(crate) fn segments(&self) -> io::Result<Vec<u64>> {
        let numbers = self.names()?.into_iter().filter_map(|name| {
            let digits = name.strip_suffix(SEGMENT).filter(|digits| digits.len() == 16)?;
            u64::from_str_radix(digits, 16).ok()
        });
        let mut numbers: Vec<u64> = numbers.collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    pub(crate) fn segment(&self, number: u64) -> PathBuf {
        self.0.join(format!("{number:016x}{SEGMENT}"))
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.0.join("lock")
    }

    fn subscriber(&self, name: &str) -> io::Result<PathBuf> {
        let is_plain = |octet: u8| octet.is_ascii_alphanumeric() || b"-_.@+".contains(&octet);
        if name.is_empty() || NAME_OCTETS_MAX < name.len() || name.starts_with('.') || !name.bytes().all(is_plain) {
            let text = format!("{name:?} cannot be a subscriber: 1 to {NAME_OCTETS_MAX} letters, digits and -_.@+");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        Ok(self.0.join(format!("{name}{SUBSCRIBER}")))
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.0)? {
            names.extend(entry?.file_name().into_string());
        }
        names.sort();
        Ok(names)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}:{}", self.segment, self.offset)
    }
}

fn parse(text: &str) -> Option<Position> {
    let (segment, offset) = text.strip_prefix(CHECKPOINT)?.strip_suffix('\n')?.split_once(' ')?;
    Some(Position { segment: segment.parse().ok()?, offset: offset.parse().ok()? })
}

const CHECKPOINT: &str = "postrider jlog 1 ";
const SEGMENT: &str = ".jlog";
const SUBSCRIBER: &str = ".subscriber";
const NAME_OCTETS_MAX: usize = 100;
