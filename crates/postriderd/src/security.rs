//! Gives up the rights of root: `security { }` says for whom, and which capabilities are kept.
//!
//! Comes in: a checked generation, while the process is still root. Goes out: a process that is that user, has the kept
//! capabilities and can gain no others; what it must write then, the spool, the logs, the pidfile, its sockets and what is
//! written back from the console, belongs to it.
//! Runs on the main thread at start, before there is another: rights are a thread's, and every later one has them from it. So
//! do the programs that logs are piped to, which start once this is done.
//!
//! Invariant: it either ends with the rights it was asked for or the daemon does not start.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use config::{Generation, ListenAddress, Lookup};
use declarations::daemon::PIDFILE;
use declarations::fitness::{self, LISTENERS};
use declarations::places;
use declarations::security::Identity;
use netlistener::listen_specs;
use nix::unistd::{self, Uid};
use rustix::io::Errno;
use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::exit::Failure;
use crate::ownership;

/// What must be so before the first thread is: neither the daemon nor a program that it starts gains a right that it was not
/// started with, by whatever file it executes. A thread's property, which later threads and programs have from it.
pub fn renounce() -> Result<(), Failure> {
    rustix::thread::set_no_new_privs(true)
        .map_err(|error| Failure::System(format!("cannot renounce new privileges: {error}")))
}

/// Does what `security { }` asks for; without that stanza, nothing but a look at whose the spool is. The log tells what was
/// done, or what an operator should know.
pub fn settle(generation: &Generation) -> Result<(), Failure> {
    let is_root = Uid::effective().is_root();
    let wanted = Identity::of(generation).map_err(Failure::Configuration)?;
    let user = wanted.as_ref().filter(|_| is_root).map_or_else(Uid::effective, |wanted| wanted.uid);
    let base = spool::JournalOptions::configured(generation).base;
    for unsafe_way in places::check_spool(&base, Some(&[user.as_raw()])).map_err(Failure::Spool)? {
        tracing::warn!(target: "START", "{unsafe_way}");
    }
    let Some(wanted) = wanted else {
        if is_root {
            tracing::warn!(target: "START", "the daemon runs as root: write security {{ user = \"postrider\" }} or start it as that user");
        }
        return Ok(());
    };
    if !is_root {
        let (uid, name) = (Uid::effective(), &wanted.name);
        if uid != wanted.uid {
            tracing::warn!(target: "START", "security asks for user {name}, and the daemon was started as user {uid}: \
                it stays that user, only root can become another");
        }
        return Ok(());
    }
    hand_over(generation, &wanted).map_err(Failure::System)?;
    let wanted = Wanted(wanted);
    wanted.become_it()?;
    let Wanted(wanted) = wanted;
    tracing::info!(target: "START", "Milestone: running as user {} ({}), group {}, capabilities {:?}",
        wanted.name, wanted.uid, wanted.gid, wanted.capabilities);
    Ok(())
}

/// Becomes it.
struct Wanted(Identity);

impl Wanted {
    fn become_it(&self) -> Result<(), Failure> {
        let failed = |doing: &'static str| {
            let name = &self.0.name;
            move |error: &dyn std::fmt::Display| Failure::System(format!("cannot become user {name}: {doing}: {error}"))
        };
        let groups = [&[self.0.gid][..], &self.0.groups].concat();
        unistd::setgroups(&groups).map_err(|error| failed("its groups")(&error))?;
        unistd::setgid(self.0.gid).map_err(|error| failed("its group")(&error))?;
        // Root asked for by name keeps everything.
        if !self.0.uid.is_root() {
            self.bound()?;
            rustix::thread::set_keep_capabilities(true).map_err(|error| failed("its capabilities")(&error))?;
            unistd::setuid(self.0.uid).map_err(|error| failed("its number")(&error))?;
            let kept = self.0.capabilities;
            let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
            rustix::thread::set_capabilities(None, sets).map_err(|error| failed("its capabilities")(&error))?;
            rustix::thread::set_keep_capabilities(false).map_err(|error| failed("its capabilities")(&error))?;
        }
        if !self.0.uid.is_root() && (Uid::current().is_root() || Uid::effective().is_root()) {
            return Err(Failure::Internal("still root after giving up its rights".to_owned()));
        }
        Ok(())
    }
}

impl Wanted {
    /// Takes every other capability out of the bounding set, so that no program can bring it back.
    fn bound(&self) -> Result<(), Failure> {
        for capability in CapabilitySet::all().difference(self.0.capabilities).iter() {
            // A kernel that does not know it has nothing to take out.
            if !rustix::thread::capability_is_in_bounding_set(capability).unwrap_or(false) {
                continue;
            }
            match rustix::thread::remove_capability_from_bounding_set(capability) {
                Ok(()) => {}
                Err(Errno::PERM) => {
                    tracing::warn!(target: "START", "the bounding set of capabilities stays as it is: the daemon was started without cap_setpcap");
                    return Ok(());
                }
                Err(error) => {
                    return Err(Failure::System(format!("cannot drop {capability:?} from the bounding set: {error}")));
                }
            }
        }
        Ok(())
    }
}

/// Gives the user what the daemon writes and root has made, and makes what is missing as the daemon itself would: so that
/// everything is as it would be had that user started it.
fn hand_over(generation: &Generation, wanted: &Identity) -> Result<(), String> {
    let owner = ownership::Owner { uid: wanted.uid.as_raw(), gid: wanted.gid.as_raw() };
    let spool = absolute(&spool::JournalOptions::configured(generation).base);
    owner.spool(&spool)?;
    let folders = written(generation);
    let files = folders.iter().flat_map(|(folder, files)| files.iter().map(|file| folder.join(&file.name)));
    let ours = files.chain(folders.keys().cloned()).chain([spool]).collect();
    folders.iter().try_for_each(|(folder, files)| owner.folder(folder, files, &ours))
}

/// The files that the daemon writes beside its spool, by folder.
pub fn written(generation: &Generation) -> BTreeMap<PathBuf, Vec<ownership::File>> {
    let mut folders: BTreeMap<PathBuf, Vec<ownership::File>> = BTreeMap::new();
    let mut add = |path: &Path, made: bool| {
        let path = absolute(path);
        if let (Some(folder), Some(name)) = (path.parent(), path.file_name()) {
            folders.entry(folder.to_owned()).or_default().push(ownership::File { name: name.to_owned(), made });
        }
    };
    for (_, log) in fitness::logs(generation) {
        if let Some(file) = fitness::log_file(&log) {
            add(Path::new(file), true);
        }
    }
    let pidfile = generation.get(&PIDFILE, &Lookup::Global);
    if let Some(pidfile) = fitness::log_file(&pidfile) {
        add(Path::new(pidfile), true);
    }
    // Replaced as a whole when it is written, which takes a folder that may be written.
    let local = generation.get(&config::LOCAL_CHANGES_FILE, &Lookup::Global);
    if Path::new(&local).is_absolute() {
        add(Path::new(&local), false);
    }
    for spec in listen_specs(generation, &LISTENERS).unwrap_or_default() {
        if let ListenAddress::Unix(path) = &spec.address {
            add(path, false);
        }
    }
    folders
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
