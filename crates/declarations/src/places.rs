//! The files and folders that a configuration names, as a start will meet them: what must be there, and what could be made.
//!
//! Looks and makes nothing. A daemon that is to run as another user than the one who asks has other rights: what only those
//! decide is not asked here, but for the owner of a spool, by whoever knows the user.

use std::path::Path;

use config::{Generation, Lookup};
use io_wrapper::IoWrappers;
use rustix::fs::{FileType, Stat, lstat, stat};
use rustix::io::Errno;
use spool::JournalOptions;
use spool::disk::{Disk as _, RealDisk};

use crate::daemon::PIDFILE;
use crate::fitness::{log_file, logs};

/// What keeps a start from its files, a sentence each; the spool is asked for by itself.
pub(crate) fn faults(generation: &Generation, files: &IoWrappers) -> Vec<String> {
    let mut faults = Vec::new();
    if let Err(error) = dns::Settings::read(generation, files) {
        faults.push(error.to_string());
    }
    for (option, log) in logs(generation) {
        let checked = match log.strip_prefix("pipe://") {
            Some(program) => check_program(program),
            None => log_file(&log).map_or(Ok(()), |file| check_file(Path::new(file))),
        };
        faults.extend(checked.err().map(|why| format!("{option} = \"{log}\": {why}")));
    }
    let pidfile = generation.get(&PIDFILE, &Lookup::Global);
    if let Some(file) = log_file(&pidfile) {
        let checked = check_file(Path::new(file));
        faults.extend(checked.err().map(|why| format!("pidfile = \"{pidfile}\": {why}")));
    }
    faults
}

/// Whether a file that is written to is one, or could be made.
fn check_file(path: &Path) -> Result<(), String> {
    if stat(path).is_ok_and(|found| is_folder(&found)) {
        return Err(format!("{} is a directory; name a file in it", path.display()));
    }
    check_above(path)
}

/// Whether what is above a path are folders, as far as it is there.
fn check_above(path: &Path) -> Result<(), String> {
    let found = path.ancestors().skip(1).find_map(|above| stat(above).ok().map(|found| (above, found)));
    match found {
        Some((above, found)) if !is_folder(&found) => {
            Err(format!("{} is no directory, so nothing can be in it; name another place", above.display()))
        }
        _ => Ok(()),
    }
}

fn check_program(rest: &str) -> Result<(), String> {
    let program = rest.split(['?', ' ', '\t']).next().unwrap_or_default();
    match stat(program) {
        Ok(found) if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile => {
            Err(format!("{program} is no program"))
        }
        Ok(found) if found.st_mode & 0o111 == 0 => {
            Err(format!("nobody may execute {program}; run: chmod a+x {program}"))
        }
        Err(Errno::NOENT | Errno::NOTDIR) => Err(format!("there is no program {program}; install it or name another")),
        _ => Ok(()),
    }
}

/// The spool that a configuration names, as far as everybody can judge it; see [`check_spool`].
pub(crate) fn spool(generation: &Generation) -> Result<(), String> {
    let base = JournalOptions::configured(generation).base;
    check_above(&base).map_err(|why| format!("spoolbase = \"{}\": {why}", base.display()))?;
    check_spool(&base, None).map(drop)
}

/// Refuses a spool that somebody else could change: mail would be read, replaced or lost by whoever does. `users`, where they
/// are known, may own it and the folders in it; root may anyway. The error says what to run; what is allowed and unsafe is
/// returned.
pub fn check_spool(base: &Path, users: Option<&[u32]>) -> Result<Vec<String>, String> {
    let unsafe_ways = check_way(base, users)?;
    let cannot = |error: Errno| {
        let error = std::io::Error::from(error);
        format!("cannot look at the spool {}: {error}", base.display())
    };
    let found = match stat(base) {
        Ok(found) => found,
        Err(Errno::NOENT) => return Ok(unsafe_ways),
        // Of no weight where another user asks than the one who is to look.
        Err(Errno::ACCESS) if users.is_none() => return Ok(unsafe_ways),
        Err(error) => return Err(cannot(error)),
    };
    check_folder(base, &found, users)?;
    let names = match RealDisk.list(base) {
        Ok(names) => names,
        Err(error) if users.is_none() && error.kind() == std::io::ErrorKind::PermissionDenied => {
            return Ok(unsafe_ways);
        }
        Err(error) => return Err(format!("cannot look at the spool {}: {error}", base.display())),
    };
    for name in names {
        let inner = base.join(name);
        let Ok(found) = lstat(&inner) else { continue };
        match FileType::from_raw_mode(found.st_mode) {
            FileType::Directory => check_folder(&inner, &found, users)?,
            FileType::Symlink => {
                let shown = inner.display();
                return Err(format!(
                    "{shown} is a symbolic link, and leads out of the spool; mount a device there instead, or name its target in spoolbase"
                ));
            }
            _ => {}
        }
    }
    Ok(unsafe_ways)
}

/// Whoever may write in a folder above the spool can put another in its place.
fn check_way(base: &Path, users: Option<&[u32]>) -> Result<Vec<String>, String> {
    let mut unsafe_ways = Vec::new();
    let whole = std::path::absolute(base).unwrap_or_else(|_| base.to_owned());
    // Where links lead counts, and of what is not there yet the part that is.
    let above = whole.ancestors().skip(1).find_map(io_wrapper::real_path).unwrap_or_default();
    for folder in above.ancestors() {
        let Ok(found) = stat(folder) else { continue };
        let (shown, spool, mode) = (folder.display(), base.display(), found.st_mode & 0o7777);
        let is_sticky = mode & 0o1000 != 0;
        if mode & 0o002 != 0 && !is_sticky {
            return Err(format!(
                "the folder {shown} may be written by everyone (mode {mode:04o}), who could put another spool in the place of {spool}; \
                 run: chmod o-w {shown}"
            ));
        }
        if found.st_uid != 0 && users.is_some_and(|users| !users.contains(&found.st_uid)) {
            // As in a checkout that root tries: whose the programs and the configuration are, too.
            unsafe_ways.push(format!(
                "the folder {shown} belongs to user {}, who could put another spool in the place of {spool}; a spoolbase in folders \
                 of root's or of the daemon's user is safer",
                found.st_uid
            ));
        }
    }
    Ok(unsafe_ways)
}

fn check_folder(path: &Path, found: &Stat, users: Option<&[u32]>) -> Result<(), String> {
    let shown = path.display();
    if !is_folder(found) {
        return Err(format!("the spool {shown} is no directory; name another in spoolbase"));
    }
    if let Some(users) = users.filter(|users| found.st_uid != 0 && !users.contains(&found.st_uid)) {
        let (owner, wanted) = (found.st_uid, users.last().copied().unwrap_or_default());
        return Err(format!(
            "the spool {shown} belongs to user {owner}, who could change mail in it; if its mail is to be trusted, run: \
             chown -R {wanted} {shown}"
        ));
    }
    if found.st_mode & 0o002 != 0 {
        let mode = found.st_mode & 0o7777;
        return Err(format!(
            "the spool {shown} may be written by everyone (mode {mode:04o}), who could change mail in it; run: chmod o-w {shown}"
        ));
    }
    Ok(())
}

fn is_folder(found: &Stat) -> bool {
    FileType::from_raw_mode(found.st_mode) == FileType::Directory
}
