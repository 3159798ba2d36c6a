//! What a module offers to others by name: a configuration option outside its own stanza, or another resource.

use std::fmt;

/// `config.Global:Binding.Option` and its like. The scopes and the option of `config` are compared without case, as the
/// configuration language does; the value prints as it was written.
#[derive(Clone, Debug)]
pub struct Capability {
    written: String,
    /// Lower case, `kind.scope:scope.option`.
    key: String,
}

impl Capability {
    /// `kind.resource`, where a `config` resource is `Scope:Scope.Option`, or `Scope:Option` at the top level.
    pub fn parse(text: &str) -> Result<Self, String> {
        let problem = |why: &str| format!("{text:?} is not a capability: {why}");
        let (kind, resource) = text.split_once('.').unwrap_or(("", text));
        if kind.is_empty() || kind.contains([':', ' ']) {
            return Err(problem("it has no kind, as in config.Global:Option"));
        }
        if resource.is_empty() || resource.contains(char::is_whitespace) {
            return Err(problem("the part after the kind must be one word"));
        }
        if kind != "config" {
            return Ok(Self { written: text.to_owned(), key: text.to_owned() });
        }
        let (scopes, option) = split_option(resource)
            .ok_or_else(|| problem("it needs a scope and an option, as in config.Global:Option"))?;
        if option.is_empty() || scopes.split(':').any(str::is_empty) {
            return Err(problem("a scope or the option is empty"));
        }
        if !scopes.split(':').next().is_some_and(|first| first.eq_ignore_ascii_case("global")) {
            return Err(problem("its scopes must start with Global"));
        }
        Ok(Self { written: text.to_owned(), key: Self::config_key(scopes.split(':').skip(1), option) })
    }

    /// The capability of an option in nested stanzas, outermost first; none for the top level.
    pub fn of_option(stanzas: &[&str], option: &str) -> Self {
        let scopes: String = std::iter::once("Global").chain(stanzas.iter().copied()).collect::<Vec<_>>().join(":");
        let written = match stanzas {
            [] => format!("config.Global:{option}"),
            _ => format!("config.{scopes}.{option}"),
        };
        Self { written, key: Self::config_key(stanzas.iter().copied(), option) }
    }

    /// The stanzas and the option it names, in lower case; none when it is no option.
    pub fn option(&self) -> Option<(Vec<&str>, &str)> {
        let (scopes, option) = self.key.strip_prefix("config.global")?.rsplit_once('.')?;
        Some((scopes.split(':').filter(|scope| !scope.is_empty()).collect(), option))
    }

    /// The URL scheme it names, as in `iowrapper.jlog`; none when it is something else.
    pub fn scheme(&self) -> Option<&str> {
        self.key.strip_prefix("iowrapper.")
    }

    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    fn config_key<'s>(stanzas: impl Iterator<Item = &'s str>, option: &str) -> String {
        let mut key = stanzas.fold("config.global".to_owned(), |key, stanza| key + ":" + stanza);
        key.push('.');
        key.push_str(option);
        key.to_ascii_lowercase()
    }
}

/// `Global:A.Option` has its option after the dot, `Global:Option` after the last colon.
fn split_option(resource: &str) -> Option<(&str, &str)> {
    resource.rsplit_once('.').or_else(|| resource.rsplit_once(':'))
}

impl PartialEq for Capability {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Capability {}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_is_the_same_capability_however_it_is_written() {
        let parsed = Capability::parse("config.Global:Binding:Domain.MyKey").unwrap();
        assert_eq!(parsed, Capability::of_option(&["binding", "domain"], "mykey"));
        assert_eq!(Capability::parse("config.Global:MyKey"), Ok(Capability::of_option(&[], "MYKEY")));
        assert_eq!(Capability::of_option(&[], "x").to_string(), "config.Global:x");
        assert_eq!(parsed.option(), Some((vec!["binding", "domain"], "mykey")));
        assert_eq!((Capability::of_option(&[], "x").option(), parsed.scheme()), (Some((vec![], "x")), None));
        assert_ne!(parsed, Capability::parse("config.Global:Domain.MyKey").unwrap());
    }

    #[test]
    fn other_resources_are_taken_as_they_are() {
        let jlog = Capability::parse("iowrapper.jlog").unwrap();
        assert_eq!((jlog.scheme(), jlog.option()), (Some("jlog"), None));
    }

    #[test]
    fn malformed_capabilities_are_refused() {
        for text in [
            "",
            "config",
            "config.",
            "config.MyKey",
            "config.Domain:MyKey",
            "config.Global:.MyKey",
            "config.Global:a b",
        ] {
            assert!(Capability::parse(text).is_err(), "{text:?} was taken");
        }
    }
}
