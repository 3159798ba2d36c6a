//! The two promises a scheme makes: a driver that opens, and the streams it opened.

use std::fmt;
use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;

/// Opens the streams of one scheme. Shared by all threads; every call may block.
///
/// A module registers one under a scheme of its own to give the house a synthetic device.
pub trait Driver: Send + Sync {
    /// The scheme without `://`, lower case: `file`.
    fn scheme(&self) -> &str;

    /// Opens `rest`, what follows `scheme://` (for a file also the plain path). `mode` holds the permission bits of a
    /// file that is created. The registry adds scheme and name to the error.
    fn open(&self, rest: &str, flags: Flags, mode: u32) -> io::Result<Box<dyn Stream>>;

    /// Whether `rest` could be opened so, as far as the name tells: nothing is opened, made or started.
    fn check(&self, _rest: &str, _flags: Flags) -> io::Result<()> {
        Ok(())
    }

    /// Makes what must exist before `rest` can be created, directories for a file. Most schemes need nothing.
    fn make_path(&self, _rest: &str) -> io::Result<()> {
        Ok(())
    }

    /// What stands directly under `rest`, in name order, for a scheme with directories.
    fn list(&self, _rest: &str) -> io::Result<Vec<Entry>> {
        Err(unsupported("listing"))
    }
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The name, without the directory.
    pub name: String,
    /// Whether it is a directory itself, or a link to one.
    pub is_directory: bool,
}

/// One open stream: one owner, which may be on any thread; every call may block.
///
/// What a scheme cannot do answers [`io::ErrorKind::Unsupported`], which is what the default methods do.
pub trait Stream: Send {
    /// Reads up to the length of `into`; 0 is the end.
    fn read(&mut self, _into: &mut [u8]) -> io::Result<usize> {
        Err(unsupported("reading"))
    }

    /// Writes some of `bytes` and says how many. `WouldBlock` if the other side takes nothing just now.
    fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
        Err(unsupported("writing"))
    }

    /// Writes some of the buffers, in order, and says how many bytes.
    fn writev(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        let first = buffers.iter().find(|buffer| !buffer.is_empty());
        self.write(first.map_or(&[], |buffer| buffer))
    }

    /// Moves the position and gives the new one, from the start.
    fn seek(&mut self, _to: Seek) -> io::Result<u64> {
        Err(unsupported("seeking"))
    }

    /// Hands what is buffered to the device. `WouldBlock` if the other side takes no more just now.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Returns when what was written can survive power loss.
    fn sync(&mut self) -> io::Result<()> {
        Err(unsupported("syncing"))
    }

    /// Cuts what lies behind the first `bytes` off.
    fn truncate(&mut self, _bytes: u64) -> io::Result<()> {
        Err(unsupported("cutting off"))
    }

    /// How many bytes there are in all.
    fn size(&self) -> io::Result<u64> {
        Err(unsupported("asking for the size"))
    }

    /// Opens the same name anew with the same flags, after rotation or repair. The old stream stays usable on an error.
    fn reopen(&mut self) -> io::Result<()> {
        Err(unsupported("reopening"))
    }

    /// The descriptor to poll, for a scheme that has one.
    fn pollable(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Flushes and closes, and says whether that succeeded: a full disk may show only here. Dropping a stream closes it
    /// too, but loses the answer.
    fn close(self: Box<Self>) -> io::Result<()>;

    /// Writes all of `bytes`.
    fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads to the end, refusing more than `bytes_max`.
    fn read_to_end(&mut self, bytes_max: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            match self.read(&mut piece) {
                Ok(0) => return Ok(bytes),
                Ok(read) if bytes_max - bytes.len() < read => {
                    return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("more than {bytes_max} bytes")));
                }
                Ok(read) => bytes.extend_from_slice(&piece[..read]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl fmt::Debug for dyn Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stream")
    }
}

/// How to open: POSIX `O_*` flags by their meaning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// Readable.
    pub read: bool,
    /// Writable.
    pub write: bool,
    /// Every write goes to the end.
    pub append: bool,
    /// Made if missing.
    pub create: bool,
    /// Fails if it exists, with `create`.
    pub exclusive: bool,
    /// Emptied.
    pub truncate: bool,
    /// Follows a symbolic link in the last place. Off for what we create, so that nobody with a foot in the directory
    /// can point a log at another file.
    pub follow: bool,
}

impl Flags {
    /// For reading what the operator named; links are followed.
    pub const READ: Self = Self { read: true, follow: true, ..Self::NONE };
    /// For a log: appended to, made if missing, never through a symbolic link.
    pub const APPEND: Self = Self { write: true, append: true, create: true, ..Self::NONE };
    /// For a file written anew: emptied or made, never through a symbolic link.
    pub const REPLACE: Self = Self { write: true, create: true, truncate: true, ..Self::NONE };

    /// Whether anything may be written.
    pub fn is_writing(self) -> bool {
        self.write || self.append
    }

    const NONE: Self = Self {
        read: false,
        write: false,
        append: false,
        create: false,
        exclusive: false,
        truncate: false,
        follow: false,
    };
}

/// Where to seek.
pub type Seek = io::SeekFrom;

pub(crate) fn unsupported(doing: &str) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, format!("{doing} is not supported by this kind of stream"))
}

const PIECE_BYTES: usize = 16 << 10;
