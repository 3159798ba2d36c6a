//! What only this machine can tell about a configuration: addresses it does not have, folders that are not there.
//!
//! In: a generation without errors. Out: warnings; a file may well be checked on another machine than the one it is for, and
//! a folder may come before the start. Asks the system, and changes nothing.

use std::collections::BTreeSet;
use std::net::{IpAddr, UdpSocket};
use std::path::{Path, PathBuf};

use crate::advice::{Advice, declared};
use crate::diagnostics::{Fault, Reports};
use crate::generation::Generation;

/// Every piece of advice of this room.
pub(crate) const ALL: [Advice; 2] = [addresses_of_others, missing_folders];

/// Connections cannot begin at an address that is somebody else's.
fn addresses_of_others(generation: &Generation, reports: &mut Reports) {
    let Some(option) = declared(generation, "bind_address") else { return };
    let mut asked = 0;
    for (_, node) in generation.arena().iter() {
        let Some(setting) = node.setting(option) else { continue };
        let Some(ip) = setting.value.scalar().and_then(|text| text.text().parse::<IpAddr>().ok()) else { continue };
        asked += 1;
        if ADDRESSES_ASKED_MAX < asked || !reports.wants_warnings() {
            return;
        }
        if !is_ours(ip) {
            let message = format!("this host does not have the address {ip}: mail of this binding cannot leave");
            let help = "give the address to an interface (ip address add), or correct it; other hosts may well have it";
            reports.push(Fault::warning(setting.value.span, message).help(help));
        }
    }
}

/// Whether a socket can be bound to an address; whatever else stands in the way is no fault of the address.
fn is_ours(ip: IpAddr) -> bool {
    UdpSocket::bind((ip, 0)).err().is_none_or(|error| error.kind() != std::io::ErrorKind::AddrNotAvailable)
}

/// A log folder that is not there is made, and the log may be looked for elsewhere.
fn missing_folders(generation: &Generation, reports: &mut Reports) {
    let mut told: BTreeSet<PathBuf> = BTreeSet::new();
    for name in LOGS {
        let Some(option) = declared(generation, name) else { continue };
        for (_, node) in generation.arena().iter() {
            let Some(setting) = node.setting(option) else { continue };
            let Some(text) = setting.value.scalar().map(|text| text.text().into_owned()) else { continue };
            let Some(folder) = folder_of(&text).filter(|folder| !folder.is_dir()) else { continue };
            if told.insert(folder.to_owned()) {
                let message = format!("{name}: there is no folder {}; the daemon makes it", folder.display());
                let help =
                    "correct the path if that is not meant; tools that rotate or ship logs look where they are told";
                reports.push(Fault::warning(setting.value.span, message).help(help));
            }
        }
    }
}

/// The folder of a log that is a file, if its path says where from the root on.
fn folder_of(log: &str) -> Option<&Path> {
    let path = log.strip_prefix("gzip://").unwrap_or(log);
    let path = path.strip_prefix("file://").unwrap_or(path);
    Path::new(path).parent().filter(|folder| folder.is_absolute() && !path.contains("://"))
}

/// Options that name a log.
const LOGS: [&str; 6] = ["mainlog", "rejectlog", "paniclog", "acctlog", "importlog", "bouncelog"];
/// Most addresses looked at: each costs a socket.
const ADDRESSES_ASKED_MAX: usize = 2_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_address_is_ours_and_one_for_documents_is_not() {
        assert!(is_ours(IpAddr::from([127, 0, 0, 1])));
        assert!(!is_ours(IpAddr::from([192, 0, 2, 1])));
    }

    #[test]
    fn only_files_with_a_whole_path_have_a_folder_to_look_at() {
        assert_eq!(folder_of("/var/log/a.ec"), Some(Path::new("/var/log")));
        assert_eq!(folder_of("gzip:///var/log/a.ec"), Some(Path::new("/var/log")));
        for other in ["log/a.ec", "syslog://mail", "pipe:///bin/cat", "jlog:///var/log/a=>b", ""] {
            assert_eq!(folder_of(other), None, "{other}");
        }
    }
}
