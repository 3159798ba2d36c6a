//! The files of a configuration: the one place of this crate that touches the file system.
//!
//! Reads a file or lists a directory, checks permissions, and remembers every text of a load so that a span can be
//! turned into file, line and column. Blocks; runs where a load runs.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::tree::Span;
use crate::variables::Variables;

/// Largest file read.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// What a load depends on besides its files.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// The directory of `conf/`; taken from the main file's place when absent.
    pub etc_dir: Option<PathBuf>,
    /// `{NODENAME}` of the search path; no node directory is searched when absent.
    pub node_name: Option<String>,
    /// Refuse files that anyone may write, instead of warning; for a daemon started as root.
    pub refuse_world_writable: bool,
    /// What `${NAME}` and `if_env` read; those of the process unless told otherwise.
    pub variables: Variables,
}

impl Environment {
    /// The directories searched after the including file's own.
    pub(crate) fn search_path(&self, main: &Path) -> Vec<PathBuf> {
        let etc = self.etc_dir.clone().unwrap_or_else(|| etc_dir_of(main));
        let node =
            self.node_name.as_deref().filter(|name| !name.is_empty() && !name.contains('/') && !name.starts_with('.'));
        ["global"].into_iter().chain(node).chain(["default"]).map(|part| etc.join("conf").join(part)).collect()
    }
}

/// The etc directory when nobody names it: above `conf/NAME/` if the main file lies there, else beside the file.
fn etc_dir_of(main: &Path) -> PathBuf {
    let own = main.parent().unwrap_or(Path::new(""));
    let above = own.parent().filter(|above| above.file_name().is_some_and(|name| name == "conf"));
    above.and_then(Path::parent).unwrap_or(own).to_owned()
}

/// A file that was read.
#[derive(Debug, Default)]
pub(crate) struct SourceFile {
    path: PathBuf,
    text: String,
    line_starts: Vec<u32>,
    included_from: Option<Span>,
    pub read_only: bool,
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

    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn position(&self, at: u32) -> Position {
        let line = self.line_starts.partition_point(|start| *start <= at).max(1);
        let line_start = self.line_starts.get(line - 1).copied().unwrap_or(0);
        let before = self.text.get(line_start as usize..at as usize).unwrap_or("");
        Position { line, column: before.chars().count() + 1, line_start }
    }

    /// The text of a line, counted from 1, without its end.
    pub fn line_text(&self, line: usize) -> &str {
        let start = self.line_starts.get(line - 1).copied().unwrap_or(0) as usize;
        let end = self.line_starts.get(line).map_or(self.text.len(), |next| *next as usize);
        self.text.get(start..end).unwrap_or("").trim_end_matches(['\n', '\r'])
    }
}

/// Every file of one load.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    files: Vec<SourceFile>,
}

impl Sources {
    /// Adds a text; the index is the `file` of its spans.
    pub fn add(&mut self, path: PathBuf, text: String, included_from: Option<Span>, read_only: bool) -> u32 {
        let starts = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at as u32 + 1);
        let line_starts = std::iter::once(0).chain(starts).collect();
        self.files.push(SourceFile { path, text, line_starts, included_from, read_only });
        self.files.len() as u32 - 1
    }

    pub fn file(&self, index: u32) -> Option<&SourceFile> {
        self.files.get(index as usize)
    }

    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// `file:line` of a span.
    pub fn line_of(&self, span: Span) -> (PathBuf, usize, usize) {
        self.file(span.file).map_or((PathBuf::new(), 0, 0), |file| {
            let position = file.position(span.start);
            (file.path.clone(), position.line, position.column)
        })
    }

    /// The include lines that led to a file, innermost first.
    pub fn include_chain(&self, index: u32) -> Vec<String> {
        let mut chain = Vec::new();
        let mut from = self.file(index).and_then(|file| file.included_from);
        while let Some(span) = from {
            let (path, line, _) = self.line_of(span);
            chain.push(format!("{}:{line}", path.display()));
            from = self.file(span.file).and_then(|file| file.included_from);
        }
        chain
    }
}

/// A file as found on disk.
pub(crate) struct Found {
    pub text: String,
    /// The byte at which the text stops being UTF-8, if it does.
    pub invalid_at: Option<usize>,
    /// Anyone may write it.
    pub world_writable: bool,
    /// This user may not write it.
    pub read_only: bool,
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
    fs::File::open(path).map_err(explain)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(explain)?;
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
    Ok(Found { text, invalid_at, world_writable: mode & 0o002 != 0, read_only: mode & 0o222 == 0 })
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
