//! `module list`: what is loaded.

use serde_json::{Value, json};

use super::{Shape, line};

/// `module list`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModuleList {
    /// The modules, in the order they were loaded.
    pub modules: Vec<ModuleRow>,
}

/// One loaded module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModuleRow {
    /// The module: `ec_logger`.
    pub module: String,
    /// Its stanza word in the configuration.
    pub scope_name: String,
    /// The instance, if the module can have several.
    pub instance_name: Option<String>,
    /// Whether it is enabled.
    pub enabled: bool,
    /// The interface it was written against: `rust`, `c`, `lua`.
    pub api: String,
    /// What console commands call it: `ec_logger:main`, or `jlog` for a module without instances.
    pub name: String,
    /// What it does.
    pub description: String,
}

impl Shape for ModuleList {
    /// Modules are separated by an empty line.
    fn text(&self) -> String {
        self.modules.iter().map(ModuleRow::text).collect::<Vec<_>>().join("\n")
    }

    fn json(&self) -> Value {
        let module = |row: &ModuleRow| {
            json!({
                "module": row.module,
                "scope_name": row.scope_name,
                "instance_name": row.instance_name,
                "enabled": row.enabled,
                "api": row.api,
                "name": row.name,
                "description": row.description,
            })
        };
        json!({ "modules": self.modules.iter().map(module).collect::<Value>() })
    }
}

impl ModuleRow {
    fn text(&self) -> String {
        let mut text = String::new();
        line!(text, "Module: {}", self.module);
        line!(text, "Scope_Name: {}", self.scope_name);
        if let Some(instance) = &self.instance_name {
            line!(text, "Instance_Name: {instance}");
        }
        line!(text, "Enabled: {}", self.enabled);
        line!(text, "API: {}", self.api);
        line!(text, "Name: {}", self.name);
        line!(text, "Description: {}", self.description);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_a_block_of_lines() {
        let logger = ModuleRow {
            module: "ec_logger".into(),
            scope_name: "ec_logger".into(),
            instance_name: Some("main".into()),
            enabled: true,
            api: "rust".into(),
            name: "Logger".into(),
            description: "Writes the mainlog.".into(),
        };
        let single = ModuleRow { instance_name: None, enabled: false, ..logger.clone() };
        let golden = "\
Module: ec_logger
Scope_Name: ec_logger
Instance_Name: main
Enabled: true
API: rust
Name: Logger
Description: Writes the mainlog.

Module: ec_logger
Scope_Name: ec_logger
Enabled: false
API: rust
Name: Logger
Description: Writes the mainlog.
";
        let list = ModuleList { modules: vec![logger, single] };
        assert_eq!(list.text(), golden);
        assert_eq!(list.json()["modules"][1]["instance_name"], Value::Null);
    }
}
