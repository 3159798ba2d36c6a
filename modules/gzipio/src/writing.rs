//! Writing: what was taken since the last flush becomes one member.
//!
//! Invariant: behind whole members there is at most one unfinished one, whose rest is kept here until it is written. If
//! the name is opened anew meanwhile, the new file gets that member from its start.

use std::io;

use io_wrapper::Stream;

use crate::member::member;

/// A stream that compresses.
pub(crate) struct Writing {
    inner: Box<dyn Stream>,
    plain: Vec<u8>,
    /// The member being written; its first `written` octets are.
    member: Vec<u8>,
    written: usize,
}

impl Writing {
    pub(crate) fn new(inner: Box<dyn Stream>) -> Self {
        Self { inner, plain: Vec::new(), member: Vec::new(), written: 0 }
    }

    /// Brings the member out, and what was taken since as another one.
    fn push(&mut self) -> io::Result<()> {
        loop {
            while self.written < self.member.len() {
                match self.inner.write(&self.member[self.written..]) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(count) => self.written += count,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            self.member.clear();
            self.written = 0;
            if self.plain.is_empty() {
                return Ok(());
            }
            self.member = member(&self.plain)?;
            self.plain.clear();
        }
    }
}

impl Stream for Writing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if PLAIN_OCTETS_MAX <= self.plain.len() {
            self.push()?;
        }
        let count = bytes.len().min(PLAIN_OCTETS_MAX);
        self.plain.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    /// Ends the member: all that was written can be read.
    fn flush(&mut self) -> io::Result<()> {
        self.push()?;
        self.inner.flush()
    }

    fn sync(&mut self) -> io::Result<()> {
        self.flush()?;
        self.inner.sync()
    }

    /// Of the compressed octets.
    fn size(&self) -> io::Result<u64> {
        self.inner.size()
    }

    fn reopen(&mut self) -> io::Result<()> {
        // What the old file does not take belongs to the new one.
        let _ = self.flush();
        self.inner.reopen()?;
        self.written = 0;
        Ok(())
    }

    fn close(mut self: Box<Self>) -> io::Result<()> {
        self.flush()
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        // Whoever wants to know how it went calls close.
        let _ = self.flush();
    }
}

const PLAIN_OCTETS_MAX: usize = 1 << 20;
