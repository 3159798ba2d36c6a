//! Options that only a start follows: what the process runs with, whatever was written since.
//!
//! In: the settings of the first generation, then those of later ones. Out: which of these wait for the next start. Pure.

use std::collections::HashMap;
use std::ops::ControlFlow;

use crate::diagnostics::{Fault, Reports, Severity};
use crate::generation::Generation;
use crate::lookup::Lookup;
use crate::merge::{Merged, place_of};
use crate::parser::parse_value;
use crate::registry::{NameId, Registry};
use crate::scope::ScopeId;
use crate::stanza::NodeId;
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
            (Some(started), Some(value)) => !is_same(started, value),
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

impl Generation {
    /// The value that the process runs with, as source text, where a start-only option was set to something else since;
    /// empty for none. `exact` is the scope asked about, if it exists.
    pub(crate) fn value_until_start(
        &self,
        option: NameId,
        lookup: &Lookup<'_>,
        exact: Option<NodeId>,
    ) -> Option<String> {
        let info = self.registry.info(option)?;
        if info.declared.iter().all(|own| own.option.tunable()) {
            return None;
        }
        let started = |node: NodeId| self.started.0.get(&(self.arena().node(node).id, option));
        let mask = self.mask_of(option);
        let (mut before, mut now) = (None, None);
        self.walk(lookup, None, &mut |node, requires| {
            if mask & requires == requires {
                before = before.or_else(|| started(node));
                now = now.or_else(|| Some((node, self.arena().node(node).setting(option)?)));
            }
            ControlFlow::Continue(())
        });
        before = before.or_else(|| started(exact?));
        now = now.or_else(|| exact.and_then(|node| Some((node, self.arena().node(node).setting(option)?))));
        if before.is_none() && now.is_some_and(|(node, _)| !is_fixed_at(&self.merged, &self.registry, node, option)) {
            return None;
        }
        let default = || self.default_text(option, lookup).and_then(parse_value).map(|value| value.resolved_source());
        let before = before.cloned().or_else(default).unwrap_or_default();
        let now = now.map(|(_, setting)| setting.value.resolved_source()).or_else(default).unwrap_or_default();
        (!is_same(&before, &now)).then_some(before)
    }
}

/// Whether a running daemon cannot follow a change of an option in a scope.
fn is_fixed_at(merged: &Merged, registry: &Registry, node: NodeId, name: NameId) -> bool {
    let declared = registry.info(name).and_then(|info| info.declaration_at(&place_of(&merged.stanzas, node)));
    declared.is_some_and(|own| !own.option.tunable())
}

/// Whether two values stand for the same, however they are quoted.
fn is_same(one: &str, other: &str) -> bool {
    let parsed = || parse_value(one).zip(parse_value(other));
    one == other || parsed().is_some_and(|(one, other)| one.means_the_same(&other))
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
    defaults.any(|default| is_same(&default.resolved_source(), value))
}
