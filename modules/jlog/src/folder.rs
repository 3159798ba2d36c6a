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

/// What a bound has cost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Octets of the segments that were removed.
    pub octets: u64,
    /// Who had not acknowledged all of them.
    pub subscribers: Vec<String>,
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

    /// Removes the oldest segments, read or not, until all together have at most `octets_max`; never the newest. What was lost
    /// with that is told once each time, and counted in the folder.
    pub fn bound(&self, octets_max: u64) -> io::Result<Option<Dropped>> {
        let (mut segments, mut octets) = (self.segments()?, self.octets()?);
        segments.pop();
        let mut dropped = Dropped::default();
        for segment in segments {
            if octets <= octets_max {
                break;
            }
            let length = fs::metadata(self.segment(segment)).map_or(0, |found| found.len());
            for (subscriber, checkpoint) in self.checkpoints()? {
                if checkpoint < (Position { segment, offset: length }) && !dropped.subscribers.contains(&subscriber) {
                    dropped.subscribers.push(subscriber);
                }
            }
            match fs::remove_file(self.segment(segment)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            octets = octets.saturating_sub(length);
            dropped.octets += length;
        }
        if dropped.subscribers.is_empty() {
            return Ok(None);
        }
        let all = self.dropped_octets()? + dropped.octets;
        io_wrapper::replace(&self.0.join(DROPPED), format!("{all}\n").as_bytes(), 0o640)?;
        Ok(Some(dropped))
    }

    /// Octets removed by [`Folder::bound`] that a subscriber had not read, since the log was made.
    pub fn dropped_octets(&self) -> io::Result<u64> {
        match fs::read_to_string(self.0.join(DROPPED)) {
            Ok(text) => Ok(text.trim().parse().unwrap_or(0)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// Octets between a place and the end of the log, heads of segments not counted.
    pub fn octets_behind(&self, position: Position) -> io::Result<u64> {
        let mut octets = 0;
        for number in self.segments()?.into_iter().filter(|&number| position.segment <= number) {
            let start = if number == position.segment { position.offset.max(HEAD_OCTETS) } else { HEAD_OCTETS };
            octets += fs::metadata(self.segment(number)).map_or(0, |found| found.len()).saturating_sub(start);
        }
        Ok(octets)
    }

    /// The subscribers, each with how far it has acknowledged.
    pub fn checkpoints(&self) -> io::Result<Vec<(String, Position)>> {
        let mut found = Vec::new();
        for subscriber in self.subscribers()? {
            // One that was removed meanwhile is none.
            if let Some(checkpoint) = self.checkpoint_of(&subscriber)? {
                found.push((subscriber, checkpoint));
            }
        }
        Ok(found)
    }

    /// How many segments there are.
    pub fn segment_count(&self) -> io::Result<usize> {
        Ok(self.segments()?.len())
    }

    /// Removes the segments that every subscriber has left behind, but never the newest; how many.
    pub fn remove_read_segments(&self) -> io::Result<usize> {
        let (mut segments, mut removed) = (self.segments()?, 0);
        segments.pop();
        let needed = self.checkpoints()?.iter().map(|(_, checkpoint)| checkpoint.segment).min().unwrap_or(u64::MAX);
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

    /// Whether a subscriber may have this name.
    pub fn allows(&self, subscriber: &str) -> io::Result<()> {
        self.subscriber(subscriber).map(drop)
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
const DROPPED: &str = "dropped";
const NAME_OCTETS_MAX: usize = 100;
