//! Relay control: who may send to whom (reference: extending.md section 1.3).
//!
//! A client may relay if `relay_hosts` holds its address, if `open_relay` is set, if policy set `can_relay`, or if it came
//! by a Unix socket, whose mode says who may. Anyone else reaches `relay_domains` only. Never grants anything but relaying.

use std::collections::HashSet;
use std::net::IpAddr;

use smtp::{Mailbox, ReversePath};

use crate::options::ListenerOptions;

/// A list of domains, some as left globs: `*.example.com` matches sub-domains only, `*example.com` any name so ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DomainGlobs {
    exact: HashSet<Box<str>>,
    endings: Vec<Box<str>>,
}

impl DomainGlobs {
    /// Reads a list.
    pub fn new(domains: &[String]) -> Self {
        let mut globs = Self::default();
        for domain in domains {
            let domain = domain.to_ascii_lowercase();
            match domain.strip_prefix('*') {
                Some(ending) => globs.endings.push(ending.into()),
                None => drop(globs.exact.insert(domain.into())),
            }
        }
        globs
    }

    /// Whether a domain is in the list; case does not matter.
    pub fn matches(&self, domain: &str) -> bool {
        if self.exact.is_empty() && self.endings.is_empty() {
            return false;
        }
        let domain = domain.to_ascii_lowercase();
        // No domain begins with a dot, so `*.example.com` does not match `example.com`.
        self.exact.contains(&*domain) || self.endings.iter().any(|ending| domain.ends_with(&**ending))
    }
}

/// Whether a client may relay, before policy has spoken.
pub(crate) fn client_may_relay(options: &ListenerOptions, peer: Option<IpAddr>) -> bool {
    options.open_relay || peer.is_none_or(|peer| options.relay_hosts.contains(peer))
}

/// Whether a client that may not relay may name this recipient all the same.
pub(crate) fn recipient_is_ours(options: &ListenerOptions, reverse_path: &ReversePath, recipient: &Mailbox) -> bool {
    // `<postmaster>` names nobody but this host's (RFC 5321 4.5.1).
    recipient.domain().is_empty()
        || options.relay_domains.matches(recipient.domain())
        || reverse_path.mailbox().is_some_and(|mailbox| options.relay_for_sending_domains.matches(mailbox.domain()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn left_globs_match_as_documented() {
        let globs = DomainGlobs::new(&["here.test".into(), "*.Example.com".into(), "*loose.test".into()]);
        for domain in ["here.test", "HERE.test", "a.example.com", "a.b.EXAMPLE.com", "loose.test", "badloose.test"] {
            assert!(globs.matches(domain), "{domain}");
        }
        for domain in ["a.here.test", "example.com", "badexample.com", "loose.test.evil", ""] {
            assert!(!globs.matches(domain), "{domain}");
        }
    }
}
