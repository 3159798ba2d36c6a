//! Reading: any gzip file, of one member or many, and a plain file as it is.

use std::io::{self, BufReader, Chain, Cursor, Read};

use flate2::bufread::MultiGzDecoder;
use io_wrapper::{Flags, IoWrappers, Stream};

use crate::driver::inner;

/// A stream over the plain octets.
pub(crate) struct Reading {
    wrappers: IoWrappers,
    name: String,
    source: Source,
}

type Octets = BufReader<Chain<Cursor<Vec<u8>>, Inner>>;

enum Source {
    Gzip(Box<MultiGzDecoder<Octets>>),
    Plain(Octets),
}

struct Inner(Box<dyn Stream>);

impl Read for Inner {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into)
    }
}

impl Reading {
    pub(crate) fn open(wrappers: IoWrappers, name: &str) -> io::Result<Self> {
        let source = Source::open(&wrappers, name)?;
        Ok(Self { wrappers, name: name.to_owned(), source })
    }
}

impl Source {
    fn open(wrappers: &IoWrappers, name: &str) -> io::Result<Self> {
        let mut stream = Inner(wrappers.open(name, Flags::READ, 0).map_err(inner)?);
        let mut start = Vec::new();
        stream.by_ref().take(MAGIC.len() as u64).read_to_end(&mut start)?;
        let is_gzip = start == MAGIC;
        let octets = BufReader::new(Cursor::new(start).chain(stream));
        Ok(if is_gzip { Self::Gzip(Box::new(MultiGzDecoder::new(octets))) } else { Self::Plain(octets) })
    }
}

impl Stream for Reading {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match &mut self.source {
            Source::Gzip(decoder) => decoder.read(into),
            Source::Plain(octets) => octets.read(into),
        }
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.source = Source::open(&self.wrappers, &self.name)?;
        Ok(())
    }

    fn close(self: Box<Self>) -> io::Result<()> {
        Ok(())
    }
}

const MAGIC: [u8; 2] = [0x1f, 0x8b];
