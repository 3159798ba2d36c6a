//! Options that only a start follows: what the process runs with, whatever was written since.
//!
//! In: the settings of the first generation, then those of later ones. Out: which of these wait for the next start. Pure.

use std::collections::HashMap;

use crate::diagnostics::{Fault, Reports, Severity};
use crate::merge::Merged;
use crate::parser::parse_value;
use crate::registry::{NameId, Registry};
use crate::scope::ScopeId;
use crate::tree::Span;

/// The settings of start-only options, by scope and name.
#[derive(Debug, Default)]
pub(crate) struct FixedSettings(HashMap<(ScopeId, NameId), String>);

impl FixedSettings {
    pub fn of(merged: &Merged, registry: &Registry) -> Self {
        FixedSettings(settings(merged, registry).into_iter().map(|(key, (value, _))| (key, value)).collect())
    }

    /// Whether a value, none for no setting, is not what the process runs with.
    pub fn waits(&self, registry: &Registry, scope: ScopeId, option: NameId, value: Option<&str>) -> bool {
        match (self.0.get(&(scope, option)).map(String::as_str), value) {
            (None, None) => false,
            (Some(started), Some(value)) => started != value,
            // Written or not, a default is the same.
            (Some(only), None) | (None, Some(only)) => !is_default(registry, option, only),
        }
    }

    /// Warns of what waits for the next start.
    pub fn warn(&self, new: &Merged, registry: &Registry, reports: &mut Reports) {
        let name_of = |name: NameId| registry.info(name).map_or("", |info| info.name);
        let new = settings(new, registry);
        for (&(scope, option), (value, span)) in &new {
            if self.waits(registry, scope, option, Some(value)) {
                let was = self.0.get(&(scope, option)).map_or("unset", String::as_str);
                let message = format!("the change of `{}` (was {was}) takes effect at the next start", name_of(option));
                reports.push(Fault::warning(*span, message));
            }
        }
        let is_removed = |key: &&(ScopeId, NameId)| !new.contains_key(*key) && self.waits(registry, key.0, key.1, None);
        let mut removed: Vec<_> = self.0.keys().filter(is_removed).map(|(_, name)| name_of(*name)).collect();
        removed.sort_unstable();
        for name in removed {
            let message = format!("the removal of `{name}` takes effect at the next start");
            reports.push(Fault { severity: Severity::Warning, ..Fault::nowhere(message) });
        }
    }
}

fn settings(merged: &Merged, registry: &Registry) -> HashMap<(ScopeId, NameId), (String, Span)> {
    let is_fixed = |name| registry.info(name).is_some_and(|info| info.declared.iter().any(|own| !own.option.tunable()));
    let mut fixed = HashMap::new();
    for (_, node) in merged.stanzas.iter() {
        for setting in node.settings().iter().filter(|setting| setting.typed.is_some() && is_fixed(setting.name)) {
            fixed.insert((node.id, setting.name), (setting.value.resolved_source(), setting.span));
        }
    }
    fixed
}

fn is_default(registry: &Registry, option: NameId, value: &str) -> bool {
    let declared = registry.info(option).into_iter().flat_map(|info| &info.declared);
    let mut defaults = declared.filter_map(|own| parse_value(own.option.default_text()));
    defaults.any(|default| default.resolved_source() == value)
}
