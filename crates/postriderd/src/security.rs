//! Gives up the rights of root: `security { }` says for whom, and which capabilities are kept.
//!
//! Comes in: a checked generation, while the process is still root. Goes out: a process that is that user, has the kept
//! capabilities and can gain no others; what it must write then, the spool, the logs and the pidfile, belongs to it.
//! Runs on the main thread at start, before there is another: rights are a thread's, and every later one has them from it. So
//! do the programs that logs are piped to, which start once this is done.
//!
//! Invariant: it either ends with the rights it was asked for or the daemon does not start.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;

use config::{Generation, Lookup};
use declarations::daemon::PIDFILE;
use declarations::security::{CAPABILITIES, GROUP, SUPPLEMENTAL_GROUPS, USER, capabilities};
use nix::unistd::{self, Gid, Group, Uid, User};
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
    let wanted = Wanted::of(generation)?;
    let user = wanted.as_ref().filter(|_| is_root).map_or_else(Uid::effective, |wanted| wanted.uid);
    ownership::check_spool(&spool::JournalOptions::configured(generation).base, &[user.as_raw()])
        .map_err(Failure::Spool)?;
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
    wanted.become_it()?;
    tracing::info!(target: "START", "Milestone: running as user {} ({}), group {}, capabilities {:?}",
        wanted.name, wanted.uid, wanted.gid, wanted.capabilities);
    Ok(())
}

/// Who the daemon is to be.
struct Wanted {
    name: String,
    uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
    capabilities: CapabilitySet,
}

impl Wanted {
    fn of(generation: &Generation) -> Result<Option<Self>, Failure> {
        let Some(stanza) = generation.instances("security").into_iter().next() else { return Ok(None) };
        let name = stanza.get(&USER);
        let user = user(&name)?;
        let group = match stanza.find(&GROUP) {
            Some(group) => gid(&group)?,
            None => user.gid,
        };
        let groups = stanza.get(&SUPPLEMENTAL_GROUPS).iter().map(|group| gid(group)).collect::<Result<Vec<_>, _>>()?;
        let capabilities = capabilities(&stanza.get(&CAPABILITIES)).map_err(Failure::Configuration)?;
        Ok(Some(Self { name, uid: user.uid, gid: group, groups, capabilities }))
    }

    fn become_it(&self) -> Result<(), Failure> {
        let failed = |doing: &'static str| {
            let name = &self.name;
            move |error: &dyn std::fmt::Display| Failure::System(format!("cannot become user {name}: {doing}: {error}"))
        };
        let groups = [&[self.gid][..], &self.groups].concat();
        unistd::setgroups(&groups).map_err(|error| failed("its groups")(&error))?;
        unistd::setgid(self.gid).map_err(|error| failed("its group")(&error))?;
        // Root asked for by name keeps everything.
        if !self.uid.is_root() {
            self.bound()?;
            rustix::thread::set_keep_capabilities(true).map_err(|error| failed("its capabilities")(&error))?;
            unistd::setuid(self.uid).map_err(|error| failed("its number")(&error))?;
            let kept = self.capabilities;
            let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
            rustix::thread::set_capabilities(None, sets).map_err(|error| failed("its capabilities")(&error))?;
            rustix::thread::set_keep_capabilities(false).map_err(|error| failed("its capabilities")(&error))?;
        }
        if !self.uid.is_root() && (Uid::current().is_root() || Uid::effective().is_root()) {
            return Err(Failure::Internal("still root after giving up its rights".to_owned()));
        }
        Ok(())
    }
}

impl Wanted {
    /// Takes every other capability out of the bounding set, so that no program can bring it back.
    fn bound(&self) -> Result<(), Failure> {
        for capability in CapabilitySet::all().difference(self.capabilities).iter() {
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

fn user(name: &str) -> Result<User, Failure> {
    let found = match name.parse() {
        Ok(number) => User::from_uid(Uid::from_raw(number)),
        Err(_) => User::from_name(name),
    };
    found.ok().flatten().ok_or_else(|| {
        Failure::Configuration(format!(
            "security: there is no user {name} on this host: set user to one there is, or make it with \
             `useradd --system --no-create-home {name}`"
        ))
    })
}

fn gid(name: &str) -> Result<Gid, Failure> {
    let found = match name.parse() {
        // A number needs no entry.
        Ok(number) => return Ok(Gid::from_raw(number)),
        Err(_) => Group::from_name(name),
    };
    found.ok().flatten().map(|group| group.gid).ok_or_else(|| {
        Failure::Configuration(format!(
            "security: there is no group {name} on this host: set group to one there is, or make it with `groupadd --system {name}`"
        ))
    })
}

/// Gives the user what the daemon writes and root has made.
fn hand_over(generation: &Generation, wanted: &Wanted) -> Result<(), String> {
    let owner = ownership::Owner { uid: wanted.uid.as_raw(), gid: wanted.gid.as_raw() };
    owner.spool(&spool::JournalOptions::configured(generation).base)?;
    let logs = logs(generation);
    let mut folders: BTreeMap<&Path, Vec<&OsStr>> = BTreeMap::new();
    for log in &logs {
        // Of a compressed log the file counts; what goes elsewhere has no file.
        let name = log.strip_prefix("gzip://").unwrap_or(log);
        let path = Path::new(name.strip_prefix("file://").unwrap_or(name));
        if io_wrapper::is_standard_stream(path) {
            continue;
        }
        if let (Some(folder), Some(file), false) =
            (path.parent(), path.file_name(), path.to_string_lossy().contains("://"))
            && folder.is_absolute()
        {
            folders.entry(folder).or_default().push(file);
        }
    }
    for (folder, files) in folders {
        owner.logs(folder, &files)?;
    }
    match generation.get(&PIDFILE, &Lookup::Global) {
        pidfile if pidfile.is_empty() => Ok(()),
        pidfile => owner.file(Path::new(&pidfile)),
    }
}

/// Where the loggers of this generation write.
fn logs(generation: &Generation) -> Vec<String> {
    let mut logs = Vec::new();
    for stanza in generation.instances("ec_logger") {
        for log in [
            &ec_logger::MAINLOG,
            &ec_logger::REJECTLOG,
            &ec_logger::PANICLOG,
            &ec_logger::ACCTLOG,
            &ec_logger::IMPORTLOG,
        ] {
            logs.push(stanza.get(log));
        }
    }
    logs.extend(generation.instances("bounce_logger").iter().map(|stanza| stanza.get(&bounce_logger::BOUNCELOG)));
    logs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_groups_have_names_or_numbers() {
        assert_eq!(user("root").unwrap().uid, Uid::from_raw(0));
        assert_eq!(user("0").unwrap().name, "root");
        assert_eq!(gid("root").unwrap(), gid("0").unwrap());
        let text = user("nobody-of-that-name").unwrap_err().to_string();
        assert!(text.contains("there is no user nobody-of-that-name") && text.contains("useradd"), "{text}");
    }
}
