//! The driver of `persist`: asks the origin first, keeps its answer, and falls back on what was kept.
//!
//! Blocks for as long as the origin takes; any thread that may block. What is written goes to the origin, if that can be
//! written; the copy follows when it is next read.
//!
//! Invariant: what is served is a whole answer of the origin, and never an empty one.

use std::io::{self, Read as _};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use io_wrapper::{Driver, Flags, IoWrappers, Seek, Stream};

use crate::place::Place;

/// The driver. Cloning shares it.
#[derive(Clone)]
pub struct PersistDriver(Arc<Persist>);

struct Persist {
    origins: IoWrappers,
    /// Where copies are made and looked for. More than one after `persist_path` was set: what is included before the
    /// option is known must be found by the next start, too.
    places: RwLock<Vec<Place>>,
}

impl PersistDriver {
    /// A driver over what `origins` opens, with its copies in `place`.
    pub fn new(origins: IoWrappers, place: Place) -> Self {
        Self(Arc::new(Persist { origins, places: RwLock::new(vec![place]) }))
    }

    /// Makes copies in `place` as well as in the first one, and no longer in any other.
    pub fn configure(&self, place: Place) {
        let mut places = self.0.places.write().unwrap_or_else(PoisonError::into_inner);
        places.truncate(1);
        if places[0].folder == place.folder {
            places[0] = place;
        } else {
            places.push(place);
        }
    }

    fn get(&self, url: &str) -> io::Result<Vec<u8>> {
        let places = self.0.places.read().unwrap_or_else(PoisonError::into_inner).clone();
        let error = match self.origin(url) {
            Ok(bytes) => {
                self.keep(&places, url, &bytes);
                return Ok(bytes);
            }
            Err(error) => error,
        };
        let copies = places.iter().rev();
        let copy = copies.filter_map(|place| Some((place, place.copy(&self.0.origins, url, BYTES_MAX)?))).next();
        match copy {
            Some((place, bytes)) => {
                let path = place.path(url);
                tracing::warn!(target: "IO", "{error}; the copy of its last answer is used, {}", path.display());
                Ok(bytes)
            }
            None => {
                let folders: Vec<PathBuf> = places.into_iter().map(|place| place.folder).collect();
                Err(io::Error::other(format!("{error}; and no copy of an earlier answer is in {folders:?}")))
            }
        }
    }

    fn origin(&self, url: &str) -> Result<Vec<u8>, String> {
        let mut stream = self.0.origins.open(url, Flags::READ, 0).map_err(|error| error.to_string())?;
        let bytes = stream.read_to_end(BYTES_MAX).map_err(|error| format!("reading {url}: {error}"))?;
        if bytes.is_empty() { Err(format!("{url} is empty")) } else { Ok(bytes) }
    }

    /// A copy that cannot be made is a warning: the origin has answered.
    fn keep(&self, places: &[Place], url: &str, bytes: &[u8]) {
        let failures = places.iter().filter_map(|place| {
            let is_kept = place.copy(&self.0.origins, url, BYTES_MAX).is_some_and(|copy| copy == bytes);
            let kept = if is_kept { Ok(()) } else { place.keep(url, bytes) };
            kept.err().map(|error| format!("{}: {error}", place.path(url).display()))
        });
        let failures: Vec<String> = failures.collect();
        // One copy that the next start finds is enough.
        if failures.len() == places.len() {
            tracing::warn!(target: "IO", "no copy of {url} could be kept, so it cannot be read while its origin is down: {}", failures.join("; "));
        }
    }
}

impl Driver for PersistDriver {
    fn scheme(&self) -> &str {
        "persist"
    }

    fn check(&self, rest: &str, flags: Flags) -> io::Result<()> {
        refuse_twice(rest)?;
        self.0.origins.check(rest, flags).map_err(io::Error::other)
    }

    fn open(&self, rest: &str, flags: Flags, mode: u32) -> io::Result<Box<dyn Stream>> {
        refuse_twice(rest)?;
        if flags.write || flags.append {
            return self.0.origins.open(rest, flags, mode).map_err(io::Error::other);
        }
        let bytes = io::Cursor::new(self.get(rest)?);
        Ok(Box::new(Copy { driver: self.clone(), url: rest.to_owned(), bytes }))
    }
}

fn refuse_twice(rest: &str) -> io::Result<()> {
    match rest.get(..10).is_some_and(|start| start.eq_ignore_ascii_case("persist://")) {
        true => Err(io::Error::new(io::ErrorKind::InvalidInput, "persist:// stands before itself; once is enough")),
        false => Ok(()),
    }
}

/// One answer, fresh or kept.
struct Copy {
    driver: PersistDriver,
    url: String,
    bytes: io::Cursor<Vec<u8>>,
}

impl Stream for Copy {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.bytes.read(into)
    }

    fn seek(&mut self, to: Seek) -> io::Result<u64> {
        io::Seek::seek(&mut self.bytes, to)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.bytes.get_ref().len() as u64)
    }

    /// Asks the origin again.
    fn reopen(&mut self) -> io::Result<()> {
        self.bytes = io::Cursor::new(self.driver.get(&self.url)?);
        Ok(())
    }

    fn close(self: Box<Self>) -> io::Result<()> {
        Ok(())
    }
}

/// The longest answer that is kept: that of the longest configuration file.
const BYTES_MAX: usize = 64 << 20;
