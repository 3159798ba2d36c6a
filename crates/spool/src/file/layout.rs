//! Where a message's files stand: a pure function of its id, so that nothing has to be remembered.
//!
//! `BASE/WINDOW/CC/CC-PPPPP-TTTTTTTT.meta` and `.body`: the window is five hexadecimal digits, the id's seconds in steps of
//! 4096; the directory and the name below are the id as the logs print it. `.L` marks a transaction that is being stored.

use std::path::{Path, PathBuf};

use message::MessageId;

/// A message's metadata.
pub const META: &str = ".meta";
/// Its body.
pub const BODY: &str = ".body";
/// Its transaction is being stored.
pub const MARKER: &str = ".L";
/// Not yet what it is going to be called.
pub const TEMPORARY: &str = ".tmp";

/// The window an id falls into.
pub fn window(id: MessageId) -> String {
    format!("{:05X}", id.seconds() >> 12)
}

/// The directory of a message's files.
pub fn directory(base: &Path, id: MessageId) -> PathBuf {
    let text = id.to_string();
    base.join(window(id)).join(&text[..2])
}

/// One of a message's files.
pub fn path(base: &Path, id: MessageId, suffix: &str) -> PathBuf {
    let text = id.to_string();
    base.join(window(id)).join(&text[..2]).join(format!("{}{suffix}", &text[3..]))
}

/// The message a file belongs to, from the name of its directory and its own without the suffix.
pub fn id_of(pair: &str, stem: &str) -> Option<MessageId> {
    format!("{pair}/{stem}").parse().ok()
}

/// Whether a name in the base is a window.
pub fn is_window(name: &str) -> bool {
    name.len() == 5 && name.bytes().all(|octet| matches!(octet, b'0'..=b'9' | b'A'..=b'F'))
}

/// Whether a name in a window is one of its 256 directories.
pub fn is_pair(name: &str) -> bool {
    name.len() == 2 && name.bytes().all(|octet| matches!(octet, b'0'..=b'9' | b'A'..=b'F'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_and_its_files_name_each_other() {
        let id: MessageId = "71/A0-03127-08B31BA6".parse().unwrap();
        let found = path(Path::new("/s"), id, META);
        // TTTTTTTT is written with its last digit first: 6AB13B80 seconds.
        assert_eq!(found, Path::new("/s/6AB13/71/A0-03127-08B31BA6.meta"));
        assert_eq!(directory(Path::new("/s"), id), Path::new("/s/6AB13/71"));
        assert_eq!(id_of("71", "A0-03127-08B31BA6"), Some(id));
        assert!(is_window("6AB13") && is_pair("71") && !is_window("lock") && !is_pair("7x"));
    }
}
