//! The domains that this host takes mail for from anyone: reception asks whether a recipient is in one, delivery whether a queue's is.
//!
//! Pure. A list is read once a generation or listener, and asked for each recipient.

use std::collections::HashSet;

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

    /// Whether it holds no domain.
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.endings.is_empty()
    }

    /// Whether a domain is in the list; case does not matter.
    pub fn matches(&self, domain: &str) -> bool {
        if self.is_empty() {
            return false;
        }
        let domain = domain.to_ascii_lowercase();
        // No domain begins with a dot, so `*.example.com` does not match `example.com`.
        self.exact.contains(&*domain) || self.endings.iter().any(|ending| domain.ends_with(&**ending))
    }
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
