//! `file://` and plain paths.

use std::fs::{DirBuilder, File};
use std::io::{self, IoSlice, Read, Seek as _, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::driver::unsupported;
use crate::{Driver, Entry, Flags, Seek, Stream};

/// The driver of files. Descriptors are never inherited by child processes (`O_CLOEXEC`).
#[derive(Clone, Copy, Debug, Default)]
pub struct FileDriver;

impl Driver for FileDriver {
    fn scheme(&self) -> &str {
        "file"
    }

    /// What stands there is one, or nothing is: whether it may be opened only opening it tells.
    fn check(&self, rest: &str, flags: Flags) -> io::Result<()> {
        let path = Path::new(rest);
        match std::fs::metadata(path) {
            Ok(found) if found.is_dir() && flags.is_writing() => Err(Errno::ISDIR.into()),
            Ok(found) if !found.is_file() && flags.is_writing() && !is_standard_stream(path) => {
                Err(io::Error::new(io::ErrorKind::InvalidInput, "what stands there is not a regular file"))
            }
            _ => Ok(()),
        }
    }

    fn open(&self, rest: &str, flags: Flags, mode: u32) -> io::Result<Box<dyn Stream>> {
        let path = PathBuf::from(rest);
        let file = open(&path, flags, mode)?;
        Ok(Box::new(FileStream { file, path, flags, mode }))
    }

    /// Directories are made for the owner and group to enter; the process's umask takes away from that.
    fn make_path(&self, rest: &str) -> io::Result<()> {
        match Path::new(rest).parent() {
            Some(parent) if !parent.as_os_str().is_empty() => {
                DirBuilder::new().recursive(true).mode(0o750).create(parent)
            }
            _ => Ok(()),
        }
    }

    fn list(&self, rest: &str) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(rest)? {
            let entry = entry?;
            // A name that is not text can be neither asked for nor shown.
            if let Ok(name) = entry.file_name().into_string() {
                entries.push(Entry { name, is_directory: entry.path().is_dir() });
            }
        }
        entries.sort();
        Ok(entries)
    }
}

struct FileStream {
    file: File,
    path: PathBuf,
    flags: Flags,
    mode: u32,
}

impl Stream for FileStream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if !self.flags.read && self.flags.is_writing() {
            return Err(unsupported("reading what was opened for writing"));
        }
        self.file.read(into)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.flags.is_writing() {
            return Err(unsupported("writing what was opened for reading"));
        }
        self.file.write(bytes)
    }

    fn writev(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        self.file.write_vectored(buffers)
    }

    fn seek(&mut self, to: Seek) -> io::Result<u64> {
        self.file.seek(to)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn truncate(&mut self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn reopen(&mut self) -> io::Result<()> {
        // Emptying was for the first time: what another process wrote under the name since then is not ours to destroy.
        let flags = Flags { truncate: false, exclusive: false, ..self.flags };
        self.file = open(&self.path, flags, self.mode)?;
        Ok(())
    }

    fn pollable(&self) -> Option<BorrowedFd<'_>> {
        Some(self.file.as_fd())
    }

    fn close(self: Box<Self>) -> io::Result<()> {
        // close(2) itself gives no answer that can be acted on; writes have reported theirs, and sync is the caller's.
        Ok(())
    }
}

fn open(path: &Path, flags: Flags, mode: u32) -> io::Result<File> {
    let access = match (flags.read, flags.write || flags.append) {
        (true, true) => OFlags::RDWR,
        (false, true) => OFlags::WRONLY,
        (_, false) => OFlags::RDONLY,
    };
    let wanted = [
        (flags.append, OFlags::APPEND),
        (flags.create, OFlags::CREATE),
        (flags.exclusive, OFlags::EXCL),
        (flags.truncate, OFlags::TRUNC),
        (!flags.follow, OFlags::NOFOLLOW),
    ];
    let flags = wanted.into_iter().filter(|&(on, _)| on).fold(access, |all, (_, flag)| all | flag);
    open_regular(path, flags, Mode::from_raw_mode(mode))
}

/// Opens a file that somebody named, and never waits for whoever is at the other end of what stands there: a FIFO, a socket or
/// a device is refused. Only the standard streams and the null device are as good as a file. Never inherited by programs.
pub fn open_regular(path: &Path, flags: OFlags, mode: Mode) -> io::Result<File> {
    let flags = flags | OFlags::CLOEXEC | OFlags::NOCTTY;
    if is_standard_stream(path) {
        return Ok(File::from(rustix::fs::open(path, flags & !(OFlags::NOFOLLOW | OFlags::TRUNC), mode)?));
    }
    let refused =
        |what: &str| Err(io::Error::new(io::ErrorKind::InvalidInput, format!("it is {what}, not a regular file")));
    let file = match rustix::fs::open(path, flags | OFlags::NONBLOCK, mode) {
        Ok(file) => file,
        // Nobody reads from it.
        Err(Errno::NXIO) => return refused("a FIFO, a socket or a device"),
        Err(Errno::LOOP) if flags.contains(OFlags::NOFOLLOW) => return refused("a symbolic link"),
        Err(error) => return Err(error.into()),
    };
    match FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) {
        FileType::RegularFile => Ok(File::from(file)),
        FileType::Directory => Err(Errno::ISDIR.into()),
        FileType::Fifo => refused("a FIFO"),
        _ => refused("a device"),
    }
}

/// Whether a path is a standard stream of the process, or the null device.
pub fn is_standard_stream(path: &Path) -> bool {
    STREAMS.iter().any(|stream| path == Path::new(stream))
}

/// What a service's output may be led to by its manager.
const STREAMS: [&str; 3] = ["/dev/null", "/dev/stdout", "/dev/stderr"];
