//! Who else may put a file in the place of one that is read: the directories on the way to it.
//!
//! In: paths, and what the file system says of each directory between them and the root. Out: the directories that let
//! others rename or replace what is in them, each once, with the command that closes it. As sshd does with StrictModes, but:
//! - A directory with the sticky bit, such as `/tmp`, lets nobody replace what belongs to somebody else. It is accepted when
//!   what stands in it belongs to root, to this process, or to the owner of the main file. An included directory is not,
//!   because anybody could add a file to it.
//! - A group may write where it is root's or this process's, or where it may write the main file as well: whoever is meant
//!   to edit the one may edit the other.
//!
//! Pure but for the questions it asks `source`.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::source::{self, Rights};

/// A directory that others may change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Open {
    pub directory: PathBuf,
    /// Everybody may, and not only a group.
    pub world: bool,
    /// In words: "everyone may write".
    pub what: String,
    /// The command that closes it.
    pub command: String,
}

/// The directories of one load.
#[derive(Debug, Default)]
pub(crate) struct Ways {
    seen: HashSet<PathBuf>,
    users: Vec<u32>,
    groups: Vec<u32>,
}

impl Ways {
    /// Judges by the rights of the main file and of this process.
    pub fn of(main: &Path) -> Self {
        let (uid, gid) = source::own_ids();
        let (mut users, mut groups) = (vec![0, uid], vec![0, gid]);
        if let Some(rights) = source::rights(main) {
            users.push(rights.uid);
            groups.extend((rights.mode & 0o020 != 0).then_some(rights.gid));
        }
        Ways { seen: HashSet::new(), users, groups }
    }

    /// The open directories on the way to a path, as it is written and as links lead; those already told left out.
    pub fn to(&mut self, path: &Path) -> Vec<Open> {
        let written = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let real = source::canonical(path);
        let mut open = Vec::new();
        for way in [written, real] {
            for (inner, directory) in way.ancestors().zip(way.ancestors().skip(1)) {
                if self.seen.insert(directory.to_owned()) {
                    let rights = source::rights(directory);
                    open.extend(rights.and_then(|rights| self.judged(directory, rights, source::rights(inner))));
                }
            }
        }
        open
    }

    /// The directory itself, when its files are included whatever their names.
    pub fn inside(&self, directory: &Path) -> Option<Open> {
        let rights = source::rights(directory)?;
        self.judged(directory, Rights { mode: rights.mode & !STICKY, ..rights }, None)
    }

    fn judged(&self, directory: &Path, rights: Rights, inner: Option<Rights>) -> Option<Open> {
        let world = rights.mode & 0o002 != 0;
        let group = rights.mode & 0o020 != 0 && !self.groups.contains(&rights.gid);
        let ours = inner.is_none_or(|inner| self.users.contains(&inner.uid));
        if !(world || group) || rights.mode & STICKY != 0 && ours {
            return None;
        }
        let who = match (world, group) {
            (true, true) => "go",
            (true, false) => "o",
            (false, _) => "g",
        };
        let what = if world { "everyone".to_owned() } else { format!("the group {}", rights.gid) };
        let command = format!("chmod {who}-w {}", directory.display());
        Some(Open { directory: directory.to_owned(), world, what, command })
    }
}

const STICKY: u32 = 0o1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn ways() -> Ways {
        Ways { seen: HashSet::new(), users: vec![0, 7], groups: vec![0, 50] }
    }

    fn judged(mode: u32, gid: u32, owner_of_inner: u32) -> Option<String> {
        let inner = Rights { mode: 0o644, uid: owner_of_inner, gid: 0 };
        ways().judged(Path::new("/d"), Rights { mode, uid: 0, gid }, Some(inner)).map(|open| open.command)
    }

    #[test]
    fn whoever_may_replace_the_file_is_found() {
        assert_eq!(judged(0o755, 9, 0), None);
        assert_eq!(judged(0o777, 0, 0).as_deref(), Some("chmod o-w /d"));
        assert_eq!(judged(0o777, 9, 0).as_deref(), Some("chmod go-w /d"));
        assert_eq!(judged(0o775, 9, 0).as_deref(), Some("chmod g-w /d"));
        assert_eq!(
            (judged(0o775, 0, 0), judged(0o770, 50, 0)),
            (None, None),
            "root's group, and that of the main file"
        );
    }

    #[test]
    fn a_sticky_directory_protects_what_is_ours() {
        assert_eq!((judged(0o1777, 0, 0), judged(0o1777, 0, 7)), (None, None));
        assert_eq!(judged(0o1777, 0, 1000).as_deref(), Some("chmod o-w /d"));
    }
}
