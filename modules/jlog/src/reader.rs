//! One subscriber reading a journaled log. Blocks for the disk, never for the writer.
//!
//! Gives every record behind the checkpoint, in order, and moves the checkpoint only when it is told to. One reader of a
//! subscriber at a time; the log may be written meanwhile.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use crate::folder::{Folder, Position};
use crate::segment::{self, Found, HEAD_OCTETS, RECORD_HEAD_OCTETS};

/// Reads for one subscriber.
#[derive(Debug)]
pub struct Reader {
    folder: Folder,
    subscriber: String,
    next: Position,
    file: Option<File>,
    /// Octets of the segment from `next` on.
    window: Vec<u8>,
    damaged_octets: u64,
    missing_segments: u64,
}

/// One record, and the place behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What was appended.
    pub octets: Vec<u8>,
    /// What to acknowledge when it, and all before it, is done with.
    pub end: Position,
}

impl Reader {
    /// Begins behind the subscriber's checkpoint. An error if there is no such subscriber.
    pub fn open(folder: Folder, subscriber: &str) -> io::Result<Self> {
        let next = checkpoint(&folder, subscriber)?;
        let subscriber = subscriber.to_owned();
        Ok(Self { folder, subscriber, next, file: None, window: Vec::new(), damaged_octets: 0, missing_segments: 0 })
    }

    /// The next record; none if there is no more for now.
    pub fn next_record(&mut self) -> io::Result<Option<Record>> {
        loop {
            if self.file.is_none() && !self.enter()? {
                return Ok(None);
            }
            if let Some(record) = self.take()? {
                return Ok(Some(record));
            }
            // Whether there is a newer segment is asked first: what its writer finished here before is seen then.
            let is_over = self.folder.segments()?.last().is_some_and(|&last| self.next.segment < last);
            self.window.clear();
            if let Some(record) = self.take()? {
                return Ok(Some(record));
            }
            if !self.skip_damage()? {
                if !is_over {
                    return Ok(None);
                }
                self.leave();
            }
        }
    }

    /// Everything before `position` is done with: durable when this returns. Never moves back.
    pub fn acknowledge(&mut self, position: Position) -> io::Result<()> {
        let before = checkpoint(&self.folder, &self.subscriber)?;
        if position <= before {
            return Ok(());
        }
        self.folder.set_checkpoint(&self.subscriber, position)?;
        if before.segment < position.segment {
            self.folder.remove_read_segments()?;
        }
        Ok(())
    }

    /// Goes back behind the checkpoint: what was not acknowledged is read again.
    pub fn rewind(&mut self) -> io::Result<()> {
        self.next = checkpoint(&self.folder, &self.subscriber)?;
        self.file = None;
        self.window.clear();
        Ok(())
    }

    /// Octets skipped because they were no record any more.
    pub fn damaged_octets(&self) -> u64 {
        self.damaged_octets
    }

    /// Segments that were gone before this subscriber had read them: a bound took them, or somebody removed their files.
    pub fn missing_segments(&self) -> u64 {
        self.missing_segments
    }

    /// The log.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Opens the segment to be read, or the next there is. False if there is none.
    fn enter(&mut self) -> io::Result<bool> {
        let segments = self.folder.segments()?;
        let Some(&number) = segments.iter().find(|&&number| self.next.segment <= number) else { return Ok(false) };
        self.file = match File::open(self.folder.segment(number)) {
            Ok(file) => Some(file),
            // Removed since: it was read by all, this subscriber included.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        if number != self.next.segment {
            // Numbers follow each other, and what is not acknowledged stays. Who subscribed to an empty log is at zero.
            let missing = if self.next.segment == 0 { 0 } else { number - self.next.segment };
            if missing != 0 {
                tracing::error!(target: "IO", "{}: {missing} segments from {} on are gone, removed by a bound or by somebody; what {} had not read of them is lost", self.folder.path().display(), self.next.segment, self.subscriber);
            }
            self.missing_segments += missing;
            self.next = Position { segment: number, offset: HEAD_OCTETS };
        }
        self.next.offset = self.next.offset.max(HEAD_OCTETS);
        self.window.clear();
        Ok(true)
    }

    fn leave(&mut self) {
        if !self.window.is_empty() {
            tracing::error!(target: "IO", "{}: the last {} octets of segment {} are no record and left out", self.folder.path().display(), self.window.len(), self.next.segment);
        }
        self.damaged_octets += self.window.len() as u64;
        self.next = Position { segment: self.next.segment + 1, offset: HEAD_OCTETS };
        self.file = None;
        self.window.clear();
    }

    /// The record at the next position, if it is whole.
    fn take(&mut self) -> io::Result<Option<Record>> {
        let mut wanted = RECORD_HEAD_OCTETS;
        loop {
            self.fill(wanted)?;
            match segment::decode(&self.window, self.next.segment, self.next.offset) {
                Found::Record(octets) => {
                    let octets = octets.to_vec();
                    let length = RECORD_HEAD_OCTETS + octets.len();
                    self.window.drain(..length);
                    self.next.offset += length as u64;
                    return Ok(Some(Record { octets, end: self.next }));
                }
                Found::Needs(more) if wanted < more => wanted = more,
                Found::Needs(_) | Found::Nothing => return Ok(None),
            }
        }
    }

    /// Moves over octets that are no record to the next that is one. False if there is none, now that all was read again.
    fn skip_damage(&mut self) -> io::Result<bool> {
        self.fill(usize::MAX)?;
        // The writer may have finished it since it was last looked at.
        if let Found::Record(_) = segment::decode(&self.window, self.next.segment, self.next.offset) {
            return Ok(true);
        }
        let Some(damaged) = segment::next_record(&self.window, self.next.segment, self.next.offset) else {
            return Ok(false);
        };
        tracing::error!(target: "IO", "{}: {damaged} octets at {} are damaged and left out", self.folder.path().display(), self.next);
        self.damaged_octets += damaged as u64;
        self.next.offset += damaged as u64;
        self.window.drain(..damaged);
        Ok(true)
    }

    /// Reads until the window has `wanted` octets or the segment has no more.
    fn fill(&mut self, wanted: usize) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        while self.window.len() < wanted {
            let (start, piece) =
                (self.window.len(), (wanted - self.window.len()).clamp(PIECE_OCTETS, PIECE_OCTETS_MAX));
            self.window.resize(start + piece, 0);
            let read = file.read_at(&mut self.window[start..], self.next.offset + start as u64);
            self.window.truncate(start + read.as_ref().copied().unwrap_or(0));
            match read {
                Ok(0) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok(_) => {}
            }
        }
        Ok(())
    }
}

fn checkpoint(folder: &Folder, subscriber: &str) -> io::Result<Position> {
    folder.checkpoint_of(subscriber)?.ok_or_else(|| {
        let known = folder.subscribers().unwrap_or_default().join(", ");
        let text = format!("{} has no subscriber {subscriber}; known are: {known}", folder.path().display());
        io::Error::new(io::ErrorKind::NotFound, text)
    })
}

const PIECE_OCTETS: usize = 64 << 10;
const PIECE_OCTETS_MAX: usize = 1 << 20;
