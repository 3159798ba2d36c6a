//! `memory://`: named buffers, read-only or shared and writable.
//!
//! For what is built in (default files, generated text) and for tests, where it stands in for the disk and is stricter:
//! it tells how many bytes would have survived a power loss.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{Driver, Flags, Seek, Stream};

/// The driver of named buffers. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub struct MemoryDriver(Arc<Mutex<BTreeMap<String, Buffer>>>);

impl MemoryDriver {
    /// No buffers yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a read-only buffer under a name, in place of what was there.
    pub fn insert(&self, name: &str, bytes: &'static [u8]) {
        self.lock().insert(name.to_owned(), Buffer::ReadOnly(bytes));
    }

    /// What is under a name now.
    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        self.lock().get(name).map(|buffer| buffer.with(<[u8]>::to_vec))
    }

    /// What of it was synced: its first so many bytes.
    pub fn synced_bytes(&self, name: &str) -> Option<usize> {
        match self.lock().get(name)? {
            Buffer::ReadOnly(bytes) => Some(bytes.len()),
            Buffer::Shared(shared) => Some(lock(shared).synced),
        }
    }

    /// Moves a buffer to another name, as log rotation does. Open streams go with it. False if there is none.
    pub fn rename(&self, from: &str, to: &str) -> bool {
        let mut buffers = self.lock();
        let Some(buffer) = buffers.remove(from) else { return false };
        buffers.insert(to.to_owned(), buffer);
        true
    }

    /// A stream over bytes that nobody else sees.
    pub fn over(bytes: &'static [u8]) -> Box<dyn Stream> {
        let (driver, name) = (Self::new(), String::new());
        Box::new(MemoryStream { driver, name, buffer: Buffer::ReadOnly(bytes), flags: Flags::READ, position: 0 })
    }

    fn find(&self, name: &str, flags: Flags) -> io::Result<Buffer> {
        let mut buffers = self.lock();
        match buffers.get(name) {
            Some(_) if flags.create && flags.exclusive => Err(io::ErrorKind::AlreadyExists.into()),
            Some(Buffer::ReadOnly(_)) if flags.write || flags.append => Err(io::ErrorKind::ReadOnlyFilesystem.into()),
            Some(buffer) => Ok(buffer.clone()),
            None if flags.create => {
                let buffer = Buffer::Shared(Arc::default());
                buffers.insert(name.to_owned(), buffer.clone());
                Ok(buffer)
            }
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Buffer>> {
        lock(&self.0)
    }
}

impl Driver for MemoryDriver {
    fn scheme(&self) -> &str {
        "memory"
    }

    fn open(&self, rest: &str, flags: Flags, _mode: u32) -> io::Result<Box<dyn Stream>> {
        let buffer = self.find(rest, flags)?;
        if let (true, Buffer::Shared(shared)) = (flags.truncate, &buffer) {
            *lock(shared) = Shared::default();
        }
        Ok(Box::new(MemoryStream { driver: self.clone(), name: rest.to_owned(), buffer, flags, position: 0 }))
    }
}

#[derive(Clone, Debug)]
enum Buffer {
    ReadOnly(&'static [u8]),
    Shared(Arc<Mutex<Shared>>),
}

#[derive(Debug, Default)]
struct Shared {
    bytes: Vec<u8>,
    synced: usize,
}

impl Buffer {
    fn with<T>(&self, look: impl FnOnce(&[u8]) -> T) -> T {
        match self {
            Self::ReadOnly(bytes) => look(bytes),
            Self::Shared(shared) => look(&lock(shared).bytes),
        }
    }
}

struct MemoryStream {
    driver: MemoryDriver,
    name: String,
    buffer: Buffer,
    flags: Flags,
    position: usize,
}

impl Stream for MemoryStream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if !self.flags.read {
            return Err(crate::driver::unsupported("reading"));
        }
        let read = self.buffer.with(|bytes| {
            let left = &bytes[self.position.min(bytes.len())..];
            let read = left.len().min(into.len());
            into[..read].copy_from_slice(&left[..read]);
            read
        });
        self.position += read;
        Ok(read)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Buffer::Shared(shared) = &self.buffer else { return Err(crate::driver::unsupported("writing")) };
        if !self.flags.write && !self.flags.append {
            return Err(crate::driver::unsupported("writing"));
        }
        let mut shared = lock(shared);
        let start = if self.flags.append { shared.bytes.len() } else { self.position };
        let end = start + bytes.len();
        if shared.bytes.len() < end {
            shared.bytes.resize(end, 0);
        }
        shared.bytes[start..end].copy_from_slice(bytes);
        // What is overwritten is no longer safe, nor anything after it.
        shared.synced = shared.synced.min(start);
        self.position = end;
        Ok(bytes.len())
    }

    fn seek(&mut self, to: Seek) -> io::Result<u64> {
        let from_here = |base: usize, offset: i64| (base as u64).checked_add_signed(offset);
        let position = match to {
            Seek::Start(position) => Some(position),
            Seek::Current(offset) => from_here(self.position, offset),
            Seek::End(offset) => from_here(self.buffer.with(<[u8]>::len), offset),
        };
        let position = position.and_then(|position| usize::try_from(position).ok());
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position as u64)
    }

    fn sync(&mut self) -> io::Result<()> {
        if let Buffer::Shared(shared) = &self.buffer {
            let mut shared = lock(shared);
            shared.synced = shared.bytes.len();
        }
        Ok(())
    }

    fn truncate(&mut self, bytes: u64) -> io::Result<()> {
        let Buffer::Shared(shared) = &self.buffer else { return Err(crate::driver::unsupported("cutting off")) };
        let mut shared = lock(shared);
        let length = usize::try_from(bytes).map_or(shared.bytes.len(), |bytes| bytes.min(shared.bytes.len()));
        shared.bytes.truncate(length);
        shared.synced = shared.synced.min(length);
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.buffer.with(<[u8]>::len) as u64)
    }

    fn reopen(&mut self) -> io::Result<()> {
        let flags = Flags { truncate: false, exclusive: false, ..self.flags };
        self.buffer = self.driver.find(&self.name, flags)?;
        self.position = 0;
        Ok(())
    }

    fn close(self: Box<Self>) -> io::Result<()> {
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
