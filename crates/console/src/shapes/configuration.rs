//! `config get`, `config eval`, `config show`, `config reload`. The configuration makes the values' text; here is what
//! stands around it.

use serde_json::{Value, json};

use super::Shape;

/// `config get`: what is set in exactly one scope.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigExact {
    /// The scope as text; empty for the global one.
    pub scope: String,
    /// The option's name as it shall be shown.
    pub option: String,
    /// Its value there, if it is set there.
    pub value: Option<String>,
}

impl Shape for ConfigExact {
    fn text(&self) -> String {
        let Self { scope, option, value } = self;
        match value {
            Some(value) => format!("{option} = {value}\n"),
            None => format!("Option '{option}' is not set in scope '{scope}'.\n"),
        }
    }

    fn json(&self) -> Value {
        json!({ "scope": self.scope, "option": self.option, "value": self.value })
    }
}

/// `config eval` and `config set`: what counts after fallback and defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigEffective {
    /// The scope as text; empty for the global one.
    pub scope: String,
    /// The option's name as it shall be shown.
    pub option: String,
    /// Its value.
    pub value: String,
}

impl Shape for ConfigEffective {
    fn text(&self) -> String {
        format!("{} = {}\n", self.option, self.value)
    }

    fn json(&self) -> Value {
        json!({ "scope": self.scope, "option": self.option, "value": self.value })
    }
}

/// `config show`, `config showrecurse`: configuration text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigText {
    /// The scope as text; empty for the global one.
    pub scope: String,
    /// The text.
    pub text: String,
}

impl Shape for ConfigText {
    fn text(&self) -> String {
        self.text.clone()
    }

    fn json(&self) -> Value {
        json!({ "scope": self.scope, "config": self.text })
    }
}

/// `config reload`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigReloaded {
    /// The file that was read.
    pub path: String,
    /// The generation that counts now.
    pub generation: u64,
}

impl Shape for ConfigReloaded {
    fn text(&self) -> String {
        format!("Configuration reloaded from {}; generation {}.\n", self.path, self.generation)
    }

    fn json(&self) -> Value {
        json!({ "path": self.path, "generation": self.generation })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn get_tells_an_unset_option_from_a_value() {
        let mut exact = ConfigExact { scope: String::new(), option: "Blackhole".into(), value: None };
        assert_eq!(exact.text(), "Option 'Blackhole' is not set in scope ''.\n");
        exact.value = Some("86400".into());
        assert_eq!(exact.text(), "Blackhole = 86400\n");
    }

    #[test]
    fn the_others_wrap_what_the_configuration_says() {
        let effective = ConfigEffective { option: "Blackhole".into(), value: "0".into(), ..Default::default() };
        assert_eq!(effective.text(), "Blackhole = 0\n");
        let text = ConfigText { scope: "Esmtp_Listener".into(), text: "Listen \":25\" { ... }\n".into() };
        assert_eq!(text.text(), "Listen \":25\" { ... }\n");
        assert_eq!(text.json()["config"], "Listen \":25\" { ... }\n");
        let reloaded = ConfigReloaded { path: "etc/ecelerity.conf".into(), generation: 2 };
        assert_eq!(reloaded.text(), "Configuration reloaded from etc/ecelerity.conf; generation 2.\n");
    }
}
