//! The options of `security { }`: who the daemon becomes, and which capabilities it keeps.
//!
//! Declared here, and read by the daemon at its start, so that the offline tools know them too.

use config::{Declared, Opt, scopes};
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

fn capability(word: &str) -> Result<CapabilitySet, String> {
    let name = word.split(['+', '=']).next().unwrap_or(word).to_ascii_uppercase();
    let known = CapabilitySet::from_name(name.strip_prefix("CAP_").unwrap_or(&name));
    known.ok_or_else(|| format!("`{word}` is no Linux capability; one is cap_net_bind_service"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_listed_by_name() {
        let both = CapabilitySet::NET_BIND_SERVICE | CapabilitySet::NET_RAW;
        assert_eq!(capabilities("cap_net_bind_service, net_raw+ep"), Ok(both));
        assert_eq!(capabilities(""), Ok(CapabilitySet::empty()));
        assert!(capabilities("cap_everything").unwrap_err().contains("is no Linux capability"));
    }
}
