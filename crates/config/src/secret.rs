//! Files whose content is a value: passwords and keys that do not belong in the configuration itself.
//!
//! In: a path. Out: the text without its final newline, or what is wrong and the command that puts it right. A file
//! that users beside its owner and group may reach is no secret and is refused. Blocks; runs where a load runs.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

/// Largest secret read.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// Reads a secret. The error is a sentence about the file, and what to do.
pub(crate) fn read(path: &Path) -> Result<String, (String, String)> {
    let shown = path.display();
    let explain = |problem: io::Error| match problem.kind() {
        io::ErrorKind::NotFound => {
            ("there is no such file".to_owned(), format!("create it: umask 077; printf %s 'the secret' > {shown}"))
        }
        io::ErrorKind::PermissionDenied => (
            "this user may not read it".to_owned(),
            format!("run: chown root:GROUP {shown} && chmod 0640 {shown}, with a group of the daemon's user"),
        ),
        _ => (problem.to_string(), "correct the path".to_owned()),
    };
    // Before opening: the open of a pipe would wait for a writer.
    let metadata = fs::metadata(path).map_err(explain)?;
    if !metadata.is_file() {
        return Err(("it is not a regular file".to_owned(), "name the file that holds the secret".to_owned()));
    }
    let file = io_wrapper::open_regular(path, OFlags::RDONLY, Mode::empty()).map_err(explain)?;
    let mode = file.metadata().map_err(explain)?.permissions().mode();
    if mode & 0o007 != 0 {
        let sentence = format!("everyone on this machine may use it (mode {:04o})", mode & 0o7777);
        return Err((sentence, format!("run: chmod o-rwx {shown}; the daemon reads it as its owner or group (chown)")));
    }
    let mut bytes = Vec::new();
    file.take(SECRET_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(explain)?;
    if bytes.len() as u64 > SECRET_BYTES_MAX {
        let help = "a secret is a line or a key; name another file".to_owned();
        return Err((format!("it is larger than {} KiB", SECRET_BYTES_MAX >> 10), help));
    }
    let mut text = String::from_utf8(bytes).map_err(|_| {
        ("it is not UTF-8".to_owned(), "encode a binary key as text, for example with base64".to_owned())
    })?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}
