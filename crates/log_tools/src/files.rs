//! The files of a log: the one that is written, those that were rotated, compressed or not; and their lines.
//!
//! A line is read within a bound, however long it is, so that memory is bounded whatever stands in a file.

use std::io;
use std::path::{Path, PathBuf};

use config::{Configuration, Environment};
use declarations::{Declarations, Schemes, fitness};
use io_wrapper::{Flags, IoWrappers, Stream};

use crate::event::Layout;

/// One log by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The file that is written now.
    pub path: PathBuf,
    /// How its lines are laid out.
    pub layout: Layout,
}

/// Where to look.
pub struct Source {
    /// The logs.
    pub logs: Vec<Log>,
    files: IoWrappers,
}

/// The logs that a configuration names. Those that are no files are left out: nobody can read them back here.
pub fn configured(configuration: &Path) -> Result<Source, String> {
    let registry = Declarations::offline()?.registry;
    let schemes = Schemes::for_includes().map_err(|error| error.to_string())?;
    let environment = Environment { io_wrappers: schemes, ..Environment::default() };
    let loaded = Configuration::load(registry, configuration, environment).map_err(|diagnostics| {
        format!("{}\nthe configuration cannot be read; name the logs with -l", diagnostics.render(false))
    })?;
    let mut logs = Vec::new();
    for (option, log) in fitness::logs(&loaded.current()) {
        let layout = match option {
            "mainlog" => Layout::Mainlog,
            "rejectlog" => Layout::Rejectlog,
            "bouncelog" => Layout::Bouncelog,
            _ => continue,
        };
        if let Some(path) = fitness::log_file(&log) {
            logs.push(Log { path: path.into(), layout });
        }
    }
    logs.dedup();
    Source::of(logs)
}

impl Source {
    /// These logs.
    pub fn of(logs: Vec<Log>) -> Result<Self, String> {
        let files = Schemes::for_includes().map_err(|error| error.to_string())?;
        Ok(Self { logs, files })
    }

    /// A log by its file's name: what is called after the rejectlog or the bouncelog is one.
    pub fn named(paths: &[PathBuf]) -> Result<Self, String> {
        let log = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let layout = match () {
                () if name.contains("reject") => Layout::Rejectlog,
                () if name.contains("bounce") => Layout::Bouncelog,
                () => Layout::Mainlog,
            };
            Log { path: path.clone(), layout }
        };
        Self::of(paths.iter().map(log).collect())
    }

    /// The files of a log: every one in its folder whose name begins with its own and goes on as rotation makes it.
    pub fn files_of(&self, log: &Log) -> Result<Vec<PathBuf>, String> {
        let folder = log.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let own = log.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let entries = self.files.list(&folder.display().to_string()).map_err(|error| error.to_string())?;
        let is_its = |name: &str| match name.strip_prefix(&own) {
            Some(rest) => rest.is_empty() || rest.starts_with(['.', '-', '_']),
            None => false,
        };
        let found = entries.into_iter().filter(|entry| !entry.is_directory && is_its(&entry.name));
        Ok(found.map(|entry| folder.join(entry.name)).collect())
    }

    /// Gives every line of a file. Compressed or not is told by its first octets. The error tells how far it was read.
    pub fn lines(&self, path: &Path, each: &mut dyn FnMut(&str)) -> Result<(), String> {
        let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let url = format!("gzip://{}", path.display());
        let mut stream = self.files.open(&url, Flags::READ, 0).map_err(|error| failed(&error))?;
        read_lines(&mut *stream, each).map_err(|error| failed(&error))
    }
}

fn read_lines(stream: &mut dyn Stream, each: &mut dyn FnMut(&str)) -> io::Result<()> {
    let (mut buffer, mut line) = (vec![0; BUFFER_OCTETS], Vec::new());
    loop {
        let read = stream.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        for piece in buffer[..read].split_inclusive(|&octet| octet == b'\n') {
            let (piece, ends) = piece.strip_suffix(b"\n").map_or((piece, false), |piece| (piece, true));
            line.extend_from_slice(&piece[..piece.len().min(LINE_OCTETS_MAX - line.len())]);
            if ends {
                each(&String::from_utf8_lossy(&line));
                line.clear();
            }
        }
    }
    if !line.is_empty() {
        each(&String::from_utf8_lossy(&line));
    }
    Ok(())
}

const BUFFER_OCTETS: usize = 64 << 10;
/// Longer than any line of the daemon; of a longer one this much is read.
const LINE_OCTETS_MAX: usize = 64 << 10;
