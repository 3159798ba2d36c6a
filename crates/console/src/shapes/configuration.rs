//! `config reload`. The other commands of the family answer with the configuration's own text.

use serde_json::{Value, json};

use super::Shape;

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
    fn a_reload_names_the_file_and_the_generation() {
        let reloaded = ConfigReloaded { path: "etc/ecelerity.conf".into(), generation: 2 };
        assert_eq!(reloaded.text(), "Configuration reloaded from etc/ecelerity.conf; generation 2.\n");
        assert_eq!(reloaded.json()["generation"], 2);
    }
}
