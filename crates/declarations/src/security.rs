//! The options of `security { }`: who the daemon becomes, and which capabilities it keeps.
//!
//! Declared here, and read by the daemon at its start, so that the offline tools know them too.

use config::{Declared, Generation, Opt, scopes};
use nix::unistd::{Gid, Group, Uid, User};
use rustix::thread::CapabilitySet;

/// Whose rights the daemon has.
pub const USER: Opt<String> = Opt::new(
    "user",
    "\"ecuser\"",
    scopes::SECURITY,
    "User the daemon becomes, by name or number, once it has read its configuration; needs a start as root.",
)
.not_tunable();
/// And of which group.
pub const GROUP: Opt<String> = Opt::new(
    "group",
    "\"ecuser\"",
    scopes::SECURITY,
    "Group the daemon becomes, by name or number; if only user is set, that user's own.",
)
.not_tunable();
/// And of which others.
pub const SUPPLEMENTAL_GROUPS: Opt<Vec<String>> = Opt::new(
    "supplemental_groups",
    "()",
    scopes::SECURITY,
    "Further groups of the daemon, by name or number. Those of the user are not taken over by themselves.",
)
.not_tunable();
/// What is left of root.
pub const CAPABILITIES: Opt<String> = Opt::new(
    "capabilities",
    "\"cap_net_bind_service\"",
    scopes::SECURITY,
    "Linux capabilities the daemon keeps, separated by commas or blanks. Without cap_net_bind_service a reload cannot \
     listen on a port below 1024.",
)
.not_tunable()
.check(|text| capabilities(text).map(drop));

/// All of them.
pub const OPTIONS: &[&dyn Declared] = &[&USER, &GROUP, &SUPPLEMENTAL_GROUPS, &CAPABILITIES];

/// Reads `cap_net_bind_service, cap_net_raw`; flags such as `+ep` behind a name are the only ones there are and say nothing new.
pub fn capabilities(text: &str) -> Result<CapabilitySet, String> {
    let words = text.split([',', ' ', '\t']).filter(|word| !word.is_empty());
    words.map(capability).collect()
}

/// Who the daemon is to be.
#[derive(Clone, Debug)]
pub struct Identity {
    /// As written.
    pub name: String,
    /// The user.
    pub uid: Uid,
    /// The group.
    pub gid: Gid,
    /// Further groups.
    pub groups: Vec<Gid>,
    /// What is kept of root.
    pub capabilities: CapabilitySet,
}

impl Identity {
    /// What `security { }` asks for, none without that stanza. The error names a user or group that this host does not have.
    pub fn of(generation: &Generation) -> Result<Option<Self>, String> {
        let Some(stanza) = generation.instances("security").into_iter().next() else { return Ok(None) };
        let name = stanza.get(&USER);
        let user = user(&name)?;
        let gid = match stanza.find(&GROUP) {
            Some(group) => group_id(&group)?,
            None => user.gid,
        };
        let groups = stanza.get(&SUPPLEMENTAL_GROUPS);
        let groups = groups.iter().map(|group| group_id(group)).collect::<Result<Vec<_>, _>>()?;
        let capabilities = capabilities(&stanza.get(&CAPABILITIES))?;
        Ok(Some(Self { name, uid: user.uid, gid, groups, capabilities }))
    }
}

fn user(name: &str) -> Result<User, String> {
    let found = match name.parse() {
        Ok(number) => User::from_uid(Uid::from_raw(number)),
        Err(_) => User::from_name(name),
    };
    found.ok().flatten().ok_or_else(|| {
        format!(
            "security: there is no user {name} on this host: set user to one there is, or make it with \
             `useradd --system --no-create-home {name}`"
        )
    })
}

fn group_id(name: &str) -> Result<Gid, String> {
    let found = match name.parse() {
        // A number needs no entry.
        Ok(number) => return Ok(Gid::from_raw(number)),
        Err(_) => Group::from_name(name),
    };
    found.ok().flatten().map(|group| group.gid).ok_or_else(|| {
        format!(
            "security: there is no group {name} on this host: set group to one there is, or make it with `groupadd --system {name}`"
        )
    })
}

fn capability(word: &str) -> Result<CapabilitySet, String> {
    let name = word.split(['+', '=']).next().unwrap_or(word).to_ascii_uppercase();
    let known = CapabilitySet::from_name(name.strip_prefix("CAP_").unwrap_or(&name));
    known.ok_or_else(|| format!("`{word}` is no Linux capability; one is cap_net_bind_service"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_groups_have_names_or_numbers() {
        assert_eq!(user("root").unwrap().uid, Uid::from_raw(0));
        assert_eq!(user("0").unwrap().name, "root");
        assert_eq!(group_id("root").unwrap(), group_id("0").unwrap());
        let text = user("nobody-of-that-name").unwrap_err();
        assert!(text.contains("there is no user nobody-of-that-name") && text.contains("useradd"), "{text}");
    }

    #[test]
    fn capabilities_are_listed_by_name() {
        let both = CapabilitySet::NET_BIND_SERVICE | CapabilitySet::NET_RAW;
        assert_eq!(capabilities("cap_net_bind_service, net_raw+ep"), Ok(both));
        assert_eq!(capabilities(""), Ok(CapabilitySet::empty()));
        assert!(capabilities("cap_everything").unwrap_err().contains("is no Linux capability"));
    }
}
