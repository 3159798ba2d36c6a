//! The driver of `gzip`: a layer over whatever the rest of the name stands for. Blocks as that does.

use std::io;

use io_wrapper::{Driver, Error, Flags, IoWrappers, Seek, Stream};

use crate::member::{HEAD_OCTETS, Head, head, is_whole};
use crate::reading::Reading;
use crate::writing::Writing;

/// The driver, over what `inner` opens.
#[derive(Clone)]
pub struct GzipDriver(IoWrappers);

impl GzipDriver {
    /// A driver over what `inner` opens.
    pub fn new(inner: IoWrappers) -> Self {
        Self(inner)
    }

    /// Cuts off a member that a crash left unfinished at the end of a file of ours, so that what follows it can be read.
    fn repair(&self, name: &str) -> io::Result<()> {
        let mut stream = match self.0.open(name, Flags { follow: false, ..Flags::READ }, 0) {
            Ok(stream) => stream,
            // Nothing there yet, or nothing that can be read.
            Err(_) => return Ok(()),
        };
        let (Ok(size), mut at, mut last) = (stream.size(), 0, 0) else { return Ok(()) };
        while at < size {
            let octets = piece(&mut *stream, at, HEAD_OCTETS)?;
            match head(&octets) {
                // Made by another program: nobody knows where its members end.
                Head::Foreign => return Ok(()),
                Head::Ours(length) if length != 0 && length <= size - at => (last, at) = (at, at + length),
                Head::Ours(_) | Head::Cut => return self.cut(name, size, at),
            }
        }
        let length = usize::try_from(size - last).map_err(|_| io::ErrorKind::FileTooLarge)?;
        if size == 0 || is_whole(&piece(&mut *stream, last, length)?) { Ok(()) } else { self.cut(name, size, last) }
    }

    fn cut(&self, name: &str, size: u64, kept: u64) -> io::Result<()> {
        let flags = Flags { write: true, create: false, truncate: false, ..Flags::REPLACE };
        let mut stream = self.0.open(name, flags, 0).map_err(inner)?;
        stream.truncate(kept)?;
        tracing::warn!(target: "IO", "{name}: its last {} octets, left unfinished, are cut off", size - kept);
        Ok(())
    }
}

impl Driver for GzipDriver {
    fn scheme(&self) -> &str {
        "gzip"
    }

    fn check(&self, rest: &str, flags: Flags) -> io::Result<()> {
        match (flags.read, flags.write || flags.append) {
            (true, false) | (false, true) => self.0.check(rest, flags).map_err(inner),
            _ => Err(neither_read_nor_written()),
        }
    }

    fn open(&self, rest: &str, flags: Flags, mode: u32) -> io::Result<Box<dyn Stream>> {
        match (flags.read, flags.write || flags.append) {
            (true, false) => Ok(Box::new(Reading::open(self.0.clone(), rest)?)),
            (false, true) => {
                if flags.append {
                    self.repair(rest)?;
                }
                Ok(Box::new(Writing::new(self.0.open(rest, flags, mode).map_err(inner)?)))
            }
            _ => Err(neither_read_nor_written()),
        }
    }

    fn make_path(&self, rest: &str) -> io::Result<()> {
        self.0.make_path(rest).map_err(inner)
    }
}

fn neither_read_nor_written() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "a compressed stream is either read or written")
}

/// What the name below said, with its kind.
pub(crate) fn inner(error: Error) -> io::Error {
    let kind = match &error {
        Error::Io { source, .. } => source.kind(),
        Error::UnknownScheme { .. } | Error::SchemeTaken(_) => io::ErrorKind::InvalidInput,
    };
    io::Error::new(kind, error.to_string())
}

/// Up to `length` octets at a place.
fn piece(stream: &mut dyn Stream, at: u64, length: usize) -> io::Result<Vec<u8>> {
    stream.seek(Seek::Start(at))?;
    let (mut octets, mut have) = (vec![0; length], 0);
    while have < length {
        match stream.read(&mut octets[have..]) {
            Ok(0) => break,
            Ok(read) => have += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    octets.truncate(have);
    Ok(octets)
}
