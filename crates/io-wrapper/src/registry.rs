//! The schemes there are, and opening by name.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};

use crate::{Driver, Entry, Error, FileDriver, Flags, Stream};

/// The drivers by scheme. Cloning shares them; usable from any thread that may block.
#[derive(Clone)]
pub struct IoWrappers(Arc<RwLock<BTreeMap<String, Arc<dyn Driver>>>>);

impl IoWrappers {
    /// Files only: `file://` and plain paths.
    pub fn new() -> Self {
        let file: Arc<dyn Driver> = Arc::new(FileDriver);
        Self(Arc::new(RwLock::new(BTreeMap::from([(file.scheme().to_owned(), file)]))))
    }

    /// Adds a scheme, also while the daemon runs. A scheme has one driver for the life of the process.
    pub fn register(&self, driver: Arc<dyn Driver>) -> Result<(), Error> {
        let scheme = driver.scheme().to_ascii_lowercase();
        let mut drivers = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if drivers.contains_key(&scheme) {
            return Err(Error::SchemeTaken(scheme));
        }
        drivers.insert(scheme, driver);
        Ok(())
    }

    /// The schemes, in order.
    pub fn schemes(&self) -> Vec<String> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// Opens a URL or plain path. `mode` holds the permission bits of a file that is created. May block.
    pub fn open(&self, url: &str, flags: Flags, mode: u32) -> Result<Box<dyn Stream>, Error> {
        let (driver, rest) = self.driver(url)?;
        driver.open(rest, flags, mode).map_err(|source| Error::Io { doing: "opening", url: url.to_owned(), source })
    }

    /// As [`IoWrappers::open`], but makes what must exist before it, directories for a file.
    pub fn mkpath_and_open(&self, url: &str, flags: Flags, mode: u32) -> Result<Box<dyn Stream>, Error> {
        self.make_path(url)?;
        self.open(url, flags, mode)
    }

    /// Makes what must exist before a name can be created, directories for a file.
    pub fn make_path(&self, url: &str) -> Result<(), Error> {
        let (driver, rest) = self.driver(url)?;
        let made = driver.make_path(rest);
        made.map_err(|source| Error::Io { doing: "making the directories of", url: url.to_owned(), source })
    }

    /// What stands directly under a directory, in name order. May block.
    pub fn list(&self, url: &str) -> Result<Vec<Entry>, Error> {
        let (driver, rest) = self.driver(url)?;
        driver.list(rest).map_err(|source| Error::Io { doing: "listing", url: url.to_owned(), source })
    }

    /// Opens and reads all of a text in UTF-8, refusing more than `bytes_max`. May block.
    pub fn read_text(&self, url: &str, bytes_max: usize) -> Result<String, Error> {
        let bytes = self.open(url, Flags::READ, 0)?.read_to_end(bytes_max);
        let text = bytes.and_then(|bytes| String::from_utf8(bytes).map_err(|_| io::ErrorKind::InvalidData.into()));
        text.map_err(|source| Error::Io { doing: "reading", url: url.to_owned(), source })
    }

    /// Whether a name could be opened so, as far as the name tells: for checking options without opening anything.
    pub fn check(&self, url: &str, flags: Flags) -> Result<(), Error> {
        let (driver, rest) = self.driver(url)?;
        driver.check(rest, flags).map_err(|source| Error::Io { doing: "opening", url: url.to_owned(), source })
    }

    fn driver<'u>(&self, url: &'u str) -> Result<(Arc<dyn Driver>, &'u str), Error> {
        let (scheme, rest) = split(url);
        let drivers = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let driver = drivers.get(&scheme.to_ascii_lowercase()).cloned();
        drop(drivers);
        match driver {
            Some(driver) => Ok((driver, rest)),
            None => Err(Error::UnknownScheme { url: url.to_owned(), known: self.schemes() }),
        }
    }
}

impl Default for IoWrappers {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether a name stands for a file: a plain path or `file://`.
pub fn is_file(url: &str) -> bool {
    split(url).0.eq_ignore_ascii_case("file")
}

/// Scheme and rest. What does not look like `scheme://` (RFC 3986 3.1) is the path of a file.
fn split(url: &str) -> (&str, &str) {
    let is_scheme = |scheme: &str| {
        scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-._".contains(&byte))
    };
    match url.split_once("://") {
        Some((scheme, rest)) if is_scheme(scheme) => (scheme, rest),
        _ => ("file", url),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_path_is_a_file_and_a_url_has_a_scheme() {
        assert_eq!(split("/var/log/main"), ("file", "/var/log/main"));
        assert_eq!(split("file:///var/log/main"), ("file", "/var/log/main"));
        assert_eq!(split("jlog:///var/log/main=>reader"), ("jlog", "/var/log/main=>reader"));
        assert_eq!(split("./odd/a b://c"), ("file", "./odd/a b://c"));
    }

    #[test]
    fn an_unknown_scheme_is_refused_and_the_known_ones_named() {
        let error = IoWrappers::new().open("gopher://a", Flags::READ, 0).unwrap_err();
        assert_eq!(error.to_string(), "gopher://a: no such kind of stream; known are a plain path and file");
    }

    struct Zeros;
    impl Driver for Zeros {
        fn scheme(&self) -> &str {
            "zeros"
        }
        fn open(&self, rest: &str, _flags: Flags, _mode: u32) -> io::Result<Box<dyn Stream>> {
            let left = rest.parse().map_err(|_| io::Error::other("not a number"))?;
            Ok(Box::new(ZeroStream { left }))
        }
    }

    struct ZeroStream {
        left: usize,
    }
    impl Stream for ZeroStream {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let read = into.len().min(self.left);
            into[..read].fill(b'0');
            self.left -= read;
            Ok(read)
        }
        fn close(self: Box<Self>) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_module_adds_a_synthetic_scheme_once() {
        let wrappers = IoWrappers::new();
        wrappers.register(Arc::new(Zeros)).unwrap();
        let taken = wrappers.register(Arc::new(Zeros)).unwrap_err();
        assert_eq!(taken.to_string(), "the scheme zeros:// is registered already");
        assert_eq!(wrappers.schemes(), ["file", "zeros"]);

        let mut stream = wrappers.open("ZEROS://5", Flags::READ, 0).unwrap();
        assert_eq!(stream.read_to_end(5).unwrap(), b"00000");
        assert_eq!(stream.write(b"x").unwrap_err().kind(), io::ErrorKind::Unsupported);
        stream.close().unwrap();
        assert_eq!(
            wrappers.open("zeros://x", Flags::READ, 0).unwrap_err().to_string(),
            "opening zeros://x: not a number"
        );
    }

    #[test]
    fn reading_to_the_end_has_a_bound() {
        let mut stream: Box<dyn Stream> = Box::new(ZeroStream { left: 100_000 });
        assert_eq!(stream.read_to_end(99_999).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }
}
