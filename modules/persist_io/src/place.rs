//! Where the copies lie: one file for each URL, whose content is what the URL answered and nothing else.

use std::io;
use std::path::{Path, PathBuf};

use io_wrapper::{Flags, IoWrappers};

/// A folder of copies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The folder (`persist_path`); made when the first copy is.
    pub folder: PathBuf,
    /// Its mode, and that of folders made above it.
    pub folder_mode: u32,
    /// The mode of a copy.
    pub file_mode: u32,
}

impl Place {
    /// As documented: for the daemon's user only.
    pub const FOLDER: &'static str = "/var/log/ecelerity/persist";

    /// The copy of `url`, if there is a usable one. An empty file is none: no copy was ever made like that.
    pub(crate) fn copy(&self, files: &IoWrappers, url: &str, bytes_max: usize) -> Option<Vec<u8>> {
        let path = self.path(url);
        let mut stream = files.open(path.to_str()?, Flags::READ, 0).ok()?;
        stream.read_to_end(bytes_max).ok().filter(|bytes| !bytes.is_empty())
    }

    /// Replaces the copy of `url`.
    pub(crate) fn keep(&self, url: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.path(url);
        if let Some(folder) = path.parent() {
            io_wrapper::make_folders(folder, self.folder_mode)?;
        }
        io_wrapper::replace(&path, bytes, self.file_mode)
    }

    /// The file of a URL: its octets, those that are not plain in a file's name as `%41`; a long one goes into folders
    /// of its first pieces.
    pub(crate) fn path(&self, url: &str) -> PathBuf {
        let mut name = String::with_capacity(url.len());
        for octet in url.bytes() {
            match octet {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'=' | b'~' => name.push(octet.into()),
                _ => name.push_str(&format!("%{octet:02X}")),
            }
        }
        let (mut path, mut rest) = (self.folder.clone(), name.as_str());
        // Every folder's name is exactly this long and no file's is, so that the two never meet.
        while PIECE_OCTETS < rest.len() {
            let (piece, behind) = rest.split_at(PIECE_OCTETS);
            path.push(format!("+{piece}"));
            rest = behind;
        }
        path.join(Path::new(&format!("{rest}.copy")))
    }
}

const PIECE_OCTETS: usize = 200;
