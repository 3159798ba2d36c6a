//! What can go wrong with the spool, shaped by what the caller does next.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use message::MessageId;

use crate::backend::Kind;

/// Why an operation on a message failed. Cheap to clone: one failed sync refuses every message of its batch.
#[derive(Clone, Debug)]
pub enum SpoolError {
    /// No room on the device (ENOSPC, EDQUOT). Try again later; deletions are still recorded.
    Full {
        /// Octets the operation needed.
        wanted_bytes: u64,
        /// Octets the file system had left.
        free_bytes: u64,
    },
    /// The device refused a write, a sync or a read. What was being written is not stored.
    Io {
        /// The step, as a verb.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: Arc<io::Error>,
    },
    /// The spool holds no such message.
    Missing {
        /// The id asked for.
        id: MessageId,
    },
    /// The message's record does not match its checksum, or cannot be understood. Trying again will not help.
    Damaged {
        /// The message.
        id: MessageId,
        /// What is wrong with it.
        why: String,
    },
    /// A later release wrote the message's record. It stays for that, whatever is done with damaged mail.
    OfNewerRelease {
        /// The message.
        id: MessageId,
        /// What is not known here.
        why: String,
    },
    /// More is waiting for the device than the spool holds in memory. Try again later.
    Overloaded {
        /// Octets waiting.
        waiting_bytes: u64,
    },
    /// The spool has been closed.
    Closed,
}

impl SpoolError {
    /// An input or output error; one that means "no room" becomes [`SpoolError::Full`].
    pub fn from_io(doing: &'static str, path: &Path, source: io::Error, space: (u64, u64)) -> Self {
        if is_full(&source) {
            let (wanted_bytes, free_bytes) = space;
            return Self::Full { wanted_bytes, free_bytes };
        }
        Self::Io { doing, path: path.to_owned(), source: Arc::new(source) }
    }

    /// Whether the same call may succeed later.
    pub const fn is_transient(&self) -> bool {
        !matches!(self, Self::Missing { .. } | Self::Damaged { .. } | Self::OfNewerRelease { .. })
    }
}

/// ENOSPC, EDQUOT or a write that took nothing.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::WriteZero)
}

impl fmt::Display for SpoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Octets are not what is lacking then.
            Self::Full { wanted_bytes, free_bytes } if wanted_bytes < free_bytes => write!(
                f,
                "spool full: {wanted_bytes} bytes wanted; of the {free_bytes} free on the device none is for mail: they are kept for \
                 removals to come, or the device has no inode left for a file (`df -i`); refusing mail until space returns"
            ),
            Self::Full { wanted_bytes, free_bytes } => write!(
                f,
                "spool full: {wanted_bytes} bytes wanted, {free_bytes} free on the device; refusing mail until space returns"
            ),
            Self::Io { doing, path, source } => write!(f, "spool: {doing} failed on {}: {source}", path.display()),
            Self::Missing { id } => write!(f, "message {id} is not in the spool"),
            Self::Damaged { id, why } => write!(f, "message {id} is damaged on disk: {why}"),
            Self::OfNewerRelease { id, why } => write!(f, "message {id} cannot be read: {why}"),
            Self::Overloaded { waiting_bytes } => {
                write!(f, "spool device too slow: {waiting_bytes} bytes wait to be written; refusing mail meanwhile")
            }
            Self::Closed => f.write_str("the spool is closed"),
        }
    }
}

impl std::error::Error for SpoolError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source.as_ref()),
            _ => None,
        }
    }
}

/// Why a spool could not be opened. The daemon prints it and ends.
#[derive(Debug)]
pub enum OpenError {
    /// Another process has it.
    Locked {
        /// The spool's directory.
        base: PathBuf,
        /// The other process, if it left its number.
        owner: Option<u32>,
    },
    /// Written by a later release.
    Version {
        /// The file that says so.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format this release reads.
        known: u32,
    },
    /// Another back end's mail is in the directory.
    OtherKind {
        /// The spool's directory.
        base: PathBuf,
        /// What it holds.
        found: Kind,
        /// What was to be opened.
        asked: Kind,
    },
    /// A file or directory could not be used.
    Io {
        /// The step, as a verb.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Locked { base, owner: Some(pid) } => {
                write!(f, "spool {} is in use by process {pid}; stop that one first", base.display())
            }
            Self::Locked { base, owner: None } => write!(f, "spool {} is in use by another process", base.display()),
            Self::Version { path, found, known } => write!(
                f,
                "{} is of spool format {found}, this release knows formats up to {known}: start the release that wrote it",
                path.display()
            ),
            Self::OtherKind { base, found, asked: asked @ Kind::Memory } => write!(
                f,
                "spool {base} holds a {found} store and spool_backend is {asked}: mail in it would be passed over; set \
                 spool_backend = \"{found}\", or spoolbase to a directory without a spool",
                base = base.display()
            ),
            Self::OtherKind { base, found, asked } => write!(
                f,
                "spool {base} holds a {found} store and spool_backend is {asked}: mail in it would be passed over; convert it \
                 with ec_spool_convert --from {found}:{base} --to {asked}:NEWDIR, or set spool_backend = \"{found}\"",
                base = base.display()
            ),
            Self::Io { doing, path, source } => write!(f, "spool: cannot {doing} {}: {source}", path.display()),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn want_of_inodes_is_not_told_as_want_of_octets() {
        let told = |wanted_bytes, free_bytes| SpoolError::Full { wanted_bytes, free_bytes }.to_string();
        assert!(told(4096, 1 << 30).contains("no inode left"), "{}", told(4096, 1 << 30));
        assert!(told(4096, 100).contains("4096 bytes wanted, 100 free"), "{}", told(4096, 100));
    }
}
