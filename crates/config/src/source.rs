//! The files of a configuration: the one place of this crate that touches the file system.
//!
//! Reads, lists and replaces files, checks permissions, and remembers every text of a load so that a span can be turned
//! into file, line and column. Blocks; runs where a load runs.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::SystemTime;

use rustix::fs::{Mode, OFlags};

use io_wrapper::IoWrappers;

use rustix::io::Errno;

use crate::disk_lines::DiskLines;
use crate::tree::Span;
use crate::variables::Variables;

/// Behind the place of a line that its file has no more.
pub(crate) const WHEN_READ: &str = " when it was read, which the file does not say any more";
/// Largest file read.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// What a load depends on besides its files.
#[derive(Clone, Default)]
pub struct Environment {
    /// The directory of `conf/`; taken from the main file's place when absent.
    pub etc_dir: Option<PathBuf>,
    /// `{NODENAME}` of the search path; no node directory is searched when absent.
    pub node_name: Option<String>,
    /// `{SUBCLUSTER}` of the search path, after the node's directory; none is searched when absent.
    pub subcluster: Option<String>,
    /// Refuse files that anyone may write, instead of warning; for a daemon started as root.
    pub refuse_world_writable: bool,
    /// Put the rest of a writeback in place that was cut short, instead of only reading it; for the daemon, whose it was.
    pub finish_writebacks: bool,
    /// What `${NAME}` and `if_env` read; those of the process unless told otherwise.
    pub variables: Variables,
    /// What `include "scheme://..."` is read through; `file://` needs nothing here.
    pub io_wrappers: IoWrappers,
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Environment")
            .field("etc_dir", &self.etc_dir)
            .field("finish_writebacks", &self.finish_writebacks)
            .field("node_name", &self.node_name)
            .field("subcluster", &self.subcluster)
            .field("refuse_world_writable", &self.refuse_world_writable)
            .field("variables", &self.variables)
            .field("schemes", &self.io_wrappers.schemes())
            .finish()
    }
}

impl Environment {
    /// The directories searched after the including file's own.
    pub(crate) fn search_path(&self, main: &Path) -> Vec<PathBuf> {
        let etc = self.etc_dir.clone().unwrap_or_else(|| etc_dir_of(main));
        let usable = |name: &Option<String>| {
            name.clone().filter(|name| !name.is_empty() && !name.contains('/') && !name.starts_with('.'))
        };
        let own = usable(&self.node_name).into_iter().chain(usable(&self.subcluster));
        let parts = ["global".to_owned()].into_iter().chain(own).chain(["default".to_owned()]);
        parts.map(|part| etc.join("conf").join(part)).collect()
    }
}

/// The etc directory when nobody names it: above `conf/NAME/` if the main file lies there, else beside the file.
fn etc_dir_of(main: &Path) -> PathBuf {
    let own = main.parent().unwrap_or(Path::new(""));
    let above = own.parent().filter(|above| above.file_name().is_some_and(|name| name == "conf"));
    above.and_then(Path::parent).unwrap_or(own).to_owned()
}

/// A file that was read.
#[derive(Clone, Debug)]
pub(crate) struct SourceFile {
    path: PathBuf,
    /// One spelling for the file, however it was named.
    identity: PathBuf,
    content: Found,
    line_starts: Vec<u32>,
    /// Where its lines are on disk, once somebody asked, for the file as it was then.
    disk_lines: Arc<Mutex<Option<KnownLines>>>,
    /// What it says was written back.
    is_written: OnceLock<()>,
    included_from: Option<Span>,
    /// Closed to changes from the console: by its permissions, its scheme, or the way it was included.
    pub read_only: bool,
}

/// What tells whether a file is as it was: its number, its size and when it was written; none if it cannot be looked at.
type Stamp = Option<(u64, u64, SystemTime)>;

/// Where the lines of a text are in a file as it is now, and as it was read if that is something else.
#[derive(Debug)]
struct KnownLines {
    stamp: Stamp,
    now: DiskLines,
    before: Option<DiskLines>,
}

/// A place in a file.
struct OnDisk {
    line: usize,
    column: usize,
    /// It was there when the file was read, and is not any more.
    is_gone: bool,
}

fn stamp(path: &Path) -> Stamp {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.ino(), metadata.len(), metadata.modified().ok()?))
}

/// Where a byte stands.
pub(crate) struct Position {
    pub line: usize,
    pub column: usize,
    pub line_start: u32,
}

impl SourceFile {
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn identity(&self) -> &Path {
        &self.identity
    }

    pub fn text(&self) -> &str {
        &self.content.text
    }

    pub fn content(&self) -> &Found {
        &self.content
    }

    /// Where the include line that led to the file names it; none for a file that nothing includes.
    pub fn included_from(&self) -> Option<Span> {
        self.included_from
    }

    pub fn position(&self, at: u32) -> Position {
        let line = self.line_starts.partition_point(|start| *start <= at).max(1);
        let line_start = self.line_starts.get(line - 1).copied().unwrap_or(0);
        let before = self.text().get(line_start as usize..at as usize).unwrap_or("");
        Position { line, column: before.chars().count() + 1, line_start }
    }

    /// Whether the file on disk says something else.
    pub fn differs_from_disk(&self) -> bool {
        self.is_written.get().is_none() && self.content.is_changed()
    }

    /// The text was put on disk.
    pub fn was_written(&self) {
        self.is_written.get_or_init(|| ());
    }

    /// Line and column on disk of what stands at a byte; none where the file does not have it. The file is looked at as it
    /// is now: an operator may have changed it since it was read. What it had when it was read, and has no more, is told so.
    fn place_on_disk(&self, at: u32) -> Option<OnDisk> {
        let Position { line, column, .. } = self.position(at);
        let found = |lines: &DiskLines, is_gone| {
            lines.find(at as usize, line, column).map(|(line, column)| OnDisk { line, column, is_gone })
        };
        // What stands on no disk at all, such as a text that was given instead of a file, is where it is.
        let Some(on_disk) = self.content.on_disk.as_ref() else {
            return Some(OnDisk { line, column, is_gone: false });
        };
        let stamp = stamp(&self.path);
        let mut known = self.disk_lines.lock().unwrap_or_else(PoisonError::into_inner);
        if known.as_ref().is_none_or(|known| known.stamp != stamp) {
            let as_read = if self.differs_from_disk() { on_disk } else { &self.content.text };
            let now = stamp.and_then(|_| read(&self.path).ok()).map(|now| now.text);
            let before = now.as_ref().filter(|now| *now != as_read).map(|_| DiskLines::of(self.text(), as_read));
            let now = DiskLines::of(self.text(), now.as_ref().unwrap_or(as_read));
            *known = Some(KnownLines { stamp, now, before });
        }
        let known = known.as_ref()?;
        found(&known.now, false).or_else(|| found(known.before.as_ref()?, true))
    }

    /// The text of a line, counted from 1, without its end.
    pub fn line_text(&self, line: usize) -> &str {
        let start = self.line_starts.get(line - 1).copied().unwrap_or(0) as usize;
        let end = self.line_starts.get(line).map_or(self.text().len(), |next| *next as usize);
        self.text().get(start..end).unwrap_or("").trim_end_matches(['\n', '\r'])
    }
}

/// Every file of one load.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources {
    files: Vec<SourceFile>,
    /// What each include line was found to mean: the including file and the target as written.
    pub targets: HashMap<(PathBuf, String), Vec<PathBuf>>,
    /// The file of `local_changes_file`.
    pub local_changes: Option<u32>,
    /// `local_changes_only`: every change from the console goes there.
    pub local_changes_only: bool,
    /// The text of changes that no file takes.
    pub homeless: Option<u32>,
}

impl Sources {
    /// Adds a text; the index is the `file` of its spans.
    pub fn add(&mut self, path: PathBuf, content: Found, included_from: Option<Span>, read_only: bool) -> u32 {
        let identity = canonical(&path);
        let starts = content.text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at as u32 + 1);
        let line_starts = std::iter::once(0).chain(starts).collect();
        let (disk_lines, is_written) = Default::default();
        let file =
            SourceFile { path, identity, content, line_starts, disk_lines, is_written, included_from, read_only };
        self.files.push(file);
        self.files.len() as u32 - 1
    }

    pub fn iter(&self) -> impl Iterator<Item = (u32, &SourceFile)> {
        self.files.iter().enumerate().map(|(index, file)| (index as u32, file))
    }

    /// Whether a file takes changes from the console: it is writable and stands here once.
    pub fn takes_changes(&self, index: u32) -> bool {
        let Some(file) = self.file(index).filter(|file| !file.read_only) else { return false };
        self.files.iter().filter(|other| other.identity == file.identity).count() == 1
    }

    /// Whether the process may put a new version in the place of a file now: it may have had more rights when it was read.
    pub fn can_be_replaced(&self, index: u32) -> bool {
        let Some(path) = self.file(index).map(|file| file.path()) else { return false };
        if path.to_str().is_some_and(|path| crate::remote::scheme_of(path).is_some()) {
            return true;
        }
        let real = canonical(path);
        let folder = real.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let may = |path: &Path| {
            !matches!(rustix::fs::access(path, rustix::fs::Access::WRITE_OK), Err(Errno::ACCESS | Errno::ROFS))
        };
        may(&real) && may(folder)
    }

    pub fn file(&self, index: u32) -> Option<&SourceFile> {
        self.files.get(index as usize)
    }

    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// `file:line` of a span, as the file on disk has it; line 0 for what the file does not have.
    pub fn line_of(&self, span: Span) -> (PathBuf, usize, usize) {
        self.file(span.file).map_or((PathBuf::new(), 0, 0), |file| match file.place_on_disk(span.start) {
            Some(OnDisk { line, column, .. }) => (file.path.clone(), line, column),
            None => (file.path.clone(), 0, 0),
        })
    }

    /// `file:line` of a span in the text that was read or made, as diagnostics draw it.
    pub fn line_in_text(&self, span: Span) -> (PathBuf, usize) {
        self.file(span.file).map_or((PathBuf::new(), 0), |file| (file.path.clone(), file.position(span.start).line))
    }

    /// Whether the file had something when it was read, and has it no more.
    pub fn is_gone(&self, span: Span) -> bool {
        let place = self.file(span.file).and_then(|file| file.place_on_disk(span.start));
        place.is_some_and(|place| place.is_gone)
    }

    /// A span for a sentence: `file:line`, or that no file has it.
    pub fn place_of(&self, span: Span) -> String {
        match self.line_of(span) {
            (_, 0, _) => "set from the console".to_owned(),
            (file, line, _) if self.is_gone(span) => format!("{}:{line}{WHEN_READ}", file.display()),
            (file, line, _) => format!("{}:{line}", file.display()),
        }
    }

    /// The include lines that led to a file, innermost first.
    pub fn include_chain(&self, index: u32) -> Vec<String> {
        let mut chain = Vec::new();
        let mut from = self.file(index).and_then(|file| file.included_from);
        while let Some(span) = from {
            chain.push(self.place_of(span));
            from = self.file(span.file).and_then(|file| file.included_from);
        }
        chain
    }
}

/// The content of a file, as found on disk or as changed since.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    pub text: Arc<str>,
    /// What stands on disk as far as we know; none where there is no file.
    pub on_disk: Option<Arc<str>>,
    /// The byte at which the text stops being UTF-8, if it does.
    pub invalid_at: Option<usize>,
    /// Anyone may write it.
    pub world_writable: bool,
    /// This user may not write it.
    pub read_only: bool,
}

impl Found {
    /// A text that stands on no disk.
    pub fn of_text(text: &str) -> Self {
        Found { text: text.into(), ..Found::default() }
    }

    /// Whether it was changed since it was read.
    pub fn is_changed(&self) -> bool {
        if self.on_disk.as_ref().is_some_and(|on_disk| Arc::ptr_eq(on_disk, &self.text)) {
            return false;
        }
        self.on_disk.as_deref().unwrap_or_default() != &*self.text
    }
}

/// Reads a regular file of bounded size.
pub(crate) fn read(path: &Path) -> Result<Found, String> {
    let explain = |problem: io::Error| match problem.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "this user may not read it".to_owned(),
        _ => problem.to_string(),
    };
    let metadata = fs::metadata(path).map_err(explain)?;
    if !metadata.is_file() {
        return Err("it is not a regular file".to_owned());
    }
    let mut bytes = Vec::with_capacity(metadata.len().min(FILE_BYTES_MAX) as usize);
    // Another file may stand there by now: its open would not wait either.
    let file = io_wrapper::open_regular(path, OFlags::RDONLY, Mode::empty()).map_err(explain)?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(explain)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("it is larger than {} MiB", FILE_BYTES_MAX >> 20));
    }
    let mode = metadata.permissions().mode();
    let (text, invalid_at) = match String::from_utf8(bytes) {
        Ok(text) => (text, None),
        Err(problem) => {
            let at = problem.utf8_error().valid_up_to();
            (String::from_utf8_lossy(problem.as_bytes()).into_owned(), Some(at))
        }
    };
    let text: Arc<str> = text.into();
    let read_only = mode & 0o222 == 0 || rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_err();
    Ok(Found { on_disk: Some(text.clone()), text, invalid_at, world_writable: mode & 0o002 != 0, read_only })
}

/// Reads a file that need not exist yet; one that does not is empty.
pub(crate) fn read_if_there(path: &Path) -> Result<Found, String> {
    match fs::symlink_metadata(path) {
        Err(problem) if problem.kind() == io::ErrorKind::NotFound => Ok(Found::default()),
        _ => read(path),
    }
}

/// Puts a text in the place of a file, as a whole or not at all: a file beside it, synced, takes its name. Mode and owner
/// stay; a new file has mode 0640. Symbolic links stay too: what they lead to is replaced. Devices, FIFOs, sockets and
/// directories are refused: the rename would put a file in their place.
pub(crate) fn replace(path: &Path, text: &str) -> Result<(), String> {
    let beside = stage(path, text)?;
    let path = canonical(path);
    let told = |doing: &'static str| {
        let path = path.clone();
        move |problem: io::Error| format!("cannot {doing} {}: {problem}", path.display())
    };
    let result = fs::rename(&beside, &path).map_err(told("replace")).and_then(|()| {
        let directory = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::File::open(directory).and_then(|directory| directory.sync_all()).map_err(told("sync the directory of"))
    });
    if result.is_err() {
        // It may have its final name already.
        let _ = fs::remove_file(&beside);
    }
    result
}

/// Writes the new version of a file beside it, synced, for `replace` or for a set of files: its path.
pub(crate) fn stage(path: &Path, text: &str) -> Result<PathBuf, String> {
    let path = canonical(path);
    let told = |doing: &'static str| {
        let path = path.clone();
        move |problem: io::Error| format!("cannot {doing} {}: {problem}", path.display())
    };
    let old = match fs::metadata(&path) {
        Ok(metadata) => Some(metadata),
        Err(problem) if problem.kind() == io::ErrorKind::NotFound => None,
        Err(problem) => return Err(told("look at")(problem)),
    };
    if old.as_ref().is_some_and(|old| !old.is_file()) {
        return Err(format!("{} is not a regular file and was left alone; name another path", path.display()));
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".new-{}", std::process::id()));
    let beside = path.with_file_name(format!(".{}", name.to_string_lossy()));
    let result = write_beside(&beside, text, old.as_ref()).map_err(told("write a new version of"));
    if result.is_err() {
        // It may never have come to be.
        let _ = fs::remove_file(&beside);
    }
    result.map(|()| beside)
}

fn write_beside(beside: &Path, text: &str, old: Option<&fs::Metadata>) -> io::Result<()> {
    // What an earlier run left behind by a crash; a link planted there is removed, not followed.
    match fs::remove_file(beside) {
        Err(problem) if problem.kind() != io::ErrorKind::NotFound => return Err(problem),
        _ => {}
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(beside)?;
    file.write_all(text.as_bytes())?;
    if let Some(old) = old {
        let own = file.metadata()?;
        if (own.uid(), own.gid()) != (old.uid(), old.gid()) {
            std::os::unix::fs::fchown(&file, Some(old.uid()), Some(old.gid()))?;
        }
    }
    file.set_permissions(fs::Permissions::from_mode(old.map_or(0o640, |old| old.mode() & 0o7777)))?;
    file.sync_all()
}

/// Who owns a path, and who may do what with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rights {
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
}

/// The rights of what a path leads to; none where there is nothing, or it cannot be looked at.
pub(crate) fn rights(path: &Path) -> Option<Rights> {
    let metadata = fs::metadata(path).ok()?;
    Some(Rights { mode: metadata.mode(), uid: metadata.uid(), gid: metadata.gid() })
}

/// The user and the group this process acts as.
pub(crate) fn own_ids() -> (u32, u32) {
    (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
}

/// Whether a path is there, and is a directory.
pub(crate) fn kind_of(path: &Path) -> Option<bool> {
    fs::metadata(path).ok().map(|metadata| metadata.is_dir())
}

/// One spelling for a file, to find an include that leads back to itself.
pub(crate) fn canonical(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// The files of a directory in lexical order, hidden ones and sub-directories left out.
pub(crate) fn list(path: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = fs::read_dir(path).map_err(|problem| problem.to_string())?;
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|problem| problem.to_string())?;
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        if !hidden && kind_of(&entry.path()) == Some(false) {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}
