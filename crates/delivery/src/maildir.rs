//! Maildir on the real file system: where a recipient's messages lie, and how one is written so that it is whole or absent.
//!
//! A message is written to `tmp/`, synced, renamed into `new/`, and the directory synced, before it counts as delivered.
//! Everything here blocks: it runs in the IO thread pool. This file is the only one of its crate that touches files.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use smtp::Mailbox;

/// The folder of a recipient: `template` with `%{domain}` and `%{localpart}` replaced by the recipient's, lower case.
/// `None` if either is empty, or has too many octets for a file name once it is made safe.
pub(crate) fn folder_of(template: &str, recipient: &Mailbox) -> Option<PathBuf> {
    let domain = component(recipient.domain())?;
    let local_part = recipient.local_part();
    let unquoted = local_part.strip_prefix('"').and_then(|inner| inner.strip_suffix('"')).unwrap_or(local_part);
    let local_part = component(unquoted)?;
    Some(template.replace("%{domain}", &domain).replace("%{localpart}", &local_part).into())
}

/// One path component that cannot lead elsewhere: letters, digits and a few marks stand for themselves, every other octet,
/// and a leading dot, becomes `%XX`.
fn component(text: &str) -> Option<String> {
    let mut safe = String::with_capacity(text.len());
    for (place, octet) in text.bytes().enumerate() {
        match octet.to_ascii_lowercase() {
            plain @ (b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'+' | b'=' | b'@') => safe.push(plain.into()),
            b'.' if place != 0 => safe.push('.'),
            other => safe.push_str(&format!("%{other:02X}")),
        }
    }
    (1..=COMPONENT_OCTETS_MAX).contains(&safe.len()).then_some(safe)
}

/// Writes one message into a Maildir, made if need be. `name` is unique among all that ever write there.
pub(crate) fn deliver(folder: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    for part in ["tmp", "new", "cur"] {
        make(&folder.join(part), &mut sync_directory)?;
    }
    let (written, delivered) = (folder.join("tmp").join(name), folder.join("new").join(name));
    let outcome = write_synced(&written, content)
        .and_then(|()| fs::rename(&written, &delivered))
        .and_then(|()| sync_directory(&folder.join("new")));
    if outcome.is_err() {
        // Whatever is left in tmp is nobody's; readers of a Maildir ignore it.
        drop(fs::remove_file(&written));
    }
    outcome
}

/// Makes a directory and those above it that are missing. Each one's name is safe in its parent before it is used: a synced
/// message in a directory that a crash takes away would be lost.
fn make(directory: &Path, sync: &mut dyn FnMut(&Path) -> io::Result<()>) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    let parent = directory.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    make(parent, sync)?;
    match fs::DirBuilder::new().mode(0o700).create(directory) {
        // Another delivery made it just now, and may not have come to sync it.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && directory.is_dir() => {}
        made => made?,
    }
    sync(parent)
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

fn write_synced(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

/// The content of a body in wire form as a file holds it: plain, lines ending in LF. Final delivery puts a Return-Path on top
/// (RFC 5321 4.4), unless reception has done so.
pub(crate) fn as_file(reverse_path: &str, body: &[u8]) -> Vec<u8> {
    let mut content = Vec::with_capacity(body.len() + reverse_path.len() + RETURN_PATH.len() + 4);
    if !body.get(..RETURN_PATH.len()).is_some_and(|start| start.eq_ignore_ascii_case(RETURN_PATH)) {
        content.extend_from_slice(&[RETURN_PATH, b" <", reverse_path.as_bytes(), b">\n"].concat());
    }
    for line in message::wire::lines(body) {
        content.extend_from_slice(line);
        content.push(b'\n');
    }
    content
}

const RETURN_PATH: &[u8] = b"Return-Path:";
/// NAME_MAX of the usual file systems.
const COMPONENT_OCTETS_MAX: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(address: &str) -> Option<String> {
        let folder = folder_of("box/%{domain}/%{localpart}", &Mailbox::parse(address).unwrap())?;
        Some(folder.to_str().unwrap().to_owned())
    }

    #[test]
    fn no_recipient_leads_out_of_its_folder() {
        for (address, path) in [
            ("Ann.B+tag@Shop.Example", "box/shop.example/ann.b+tag"),
            ("\"../../etc/passwd\"@x.test", "box/x.test/%2E.%2F..%2Fetc%2Fpasswd"),
            ("\".\"@x.test", "box/x.test/%2E"),
            ("\"a b\\\"c\"@x.test", "box/x.test/a%20b%5C%22c"),
            ("a@[192.0.2.1]", "box/%5B192.0.2.1%5D/a"),
            ("a/b@x.test", "box/x.test/a%2Fb"),
        ] {
            assert_eq!(folder(address).as_deref(), Some(path), "{address}");
        }
        assert_eq!(folder_of("%{domain}", &Mailbox::postmaster()), None);
    }

    #[test]
    fn the_wire_form_is_undone() {
        let received = b"return-path: <>\r\nA: b\r\n\r\n..dot\r\n.\r\n";
        assert_eq!(as_file("a@x.test", received), b"return-path: <>\nA: b\n\n.dot\n");
    }

    #[test]
    fn mail_that_came_without_a_return_path_gets_one() {
        assert_eq!(as_file("a@x.test", b"A: b\r\n.\r\n"), b"Return-Path: <a@x.test>\nA: b\n");
        assert_eq!(as_file("", b".\r\n"), b"Return-Path: <>\n");
    }

    #[test]
    fn the_parent_of_each_directory_made_is_synced_and_no_other() {
        let base = tempfile::tempdir().unwrap();
        let (domain, folder) = (base.path().join("x.test"), base.path().join("x.test/ann"));
        let mut synced = Vec::new();
        for part in ["tmp", "new", "tmp"] {
            let mut sync = |directory: &Path| {
                synced.push(directory.to_owned());
                Ok(())
            };
            make(&folder.join(part), &mut sync).unwrap();
        }
        assert_eq!(synced, [base.path(), &domain, &folder, &folder]);
        fs::write(base.path().join("file"), "").unwrap();
        assert!(make(&base.path().join("file/new"), &mut |_| Ok(())).is_err());
    }

    #[test]
    fn a_message_is_in_new_or_nowhere() {
        let base = tempfile::tempdir().unwrap();
        let folder = base.path().join("x.test/ann");
        deliver(&folder, "1.M1.host", b"hello\n").unwrap();
        assert_eq!(fs::read(folder.join("new/1.M1.host")).unwrap(), b"hello\n");
        assert_eq!(fs::read_dir(folder.join("tmp")).unwrap().count(), 0);
        fs::write(folder.join("tmp/taken"), "").unwrap();
        assert!(deliver(&folder, "taken", b"x").is_err());
    }
}
