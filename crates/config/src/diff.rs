//! What differs between two configurations, by scope and option, each value with the place it is set at.
//!
//! Scopes are compared by their identity, so order and layout make no difference, and neither does the file a setting
//! stands in. Values are compared without their quotes.

use std::collections::HashMap;

use serde_json::{Value as Json, json};

use crate::generation::{Generation, Origin};
use crate::registry::NameId;
use crate::scope::ScopeId;
use crate::stanza::{NodeId, Setting};

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The scope as `config show` writes it, outermost first; empty for the global scope.
    pub scope: String,
    /// The option; `None` when the scope itself came or went.
    pub option: Option<String>,
    /// What was set before; `None` when nothing was.
    pub old: Option<Origin>,
    /// What is set then; `None` when nothing is.
    pub new: Option<Origin>,
    /// A running daemon does not follow this change: it waits for the next start.
    pub needs_restart: bool,
    /// Nobody in this build reads the option.
    pub not_in_effect: bool,
}

/// Everything that differs from `old` to `new`, in the order of `new`, what went away at the end.
pub fn differences(old: &Generation, new: &Generation) -> Vec<Difference> {
    let before: HashMap<ScopeId, NodeId> = old.arena().iter().map(|(id, node)| (node.id, id)).collect();
    let after: HashMap<ScopeId, NodeId> = new.arena().iter().map(|(id, node)| (node.id, id)).collect();
    let mut all = Vec::new();
    for (id, node) in new.arena().iter() {
        let was = before.get(&node.id);
        if was.is_none() {
            all.push(whole_scope(new, id, false));
        }
        for setting in node.settings() {
            let earlier = was.and_then(|was| find(old, *was, &new.option_name(setting.name)));
            if earlier.is_none_or(|earlier| !earlier.value.means_the_same(&setting.value)) {
                all.push(one(old, new, was.copied().zip(earlier), Some((id, setting))));
            }
        }
    }
    for (id, node) in old.arena().iter() {
        let is = after.get(&node.id);
        for setting in node.settings() {
            if is.is_none_or(|is| find(new, *is, &old.option_name(setting.name)).is_none()) {
                all.push(one(old, new, Some((id, setting)), None));
            }
        }
        if is.is_none() {
            all.push(whole_scope(old, id, true));
        }
    }
    all
}

fn find<'g>(generation: &'g Generation, node: NodeId, name: &str) -> Option<&'g Setting> {
    generation.arena().node(node).setting(generation.name_id(name)?)
}

fn whole_scope(generation: &Generation, node: NodeId, went: bool) -> Difference {
    let origin = Some(generation.origin_of_scope(node));
    let (old, new) = if went { (origin, None) } else { (None, origin) };
    let scope = generation.headings(node);
    Difference { scope, option: None, old, new, needs_restart: false, not_in_effect: false }
}

type At<'s> = Option<(NodeId, &'s Setting)>;

fn one(old: &Generation, new: &Generation, was: At<'_>, is: At<'_>) -> Difference {
    let described = |generation: &Generation, at: At<'_>| {
        let (node, setting) = at?;
        let name = generation.option_name(setting.name);
        Some((generation.headings(node), generation.spelling(setting.name, &name)))
    };
    let (scope, option) = described(new, is).or_else(|| described(old, was)).unwrap_or_default();
    let needs_restart = match (is, was) {
        (Some((node, setting)), _) => {
            let value = setting.value.resolved_source();
            new.is_fixed(setting) && new.waits_for_start(new.arena().node(node).id, setting.name, Some(&value))
        }
        (None, Some((node, setting))) => {
            old.is_fixed(setting) && new.waits_for_start(old.arena().node(node).id, setting.name, None)
        }
        (None, None) => false,
    };
    let origin = |generation: &Generation, at: At<'_>| at.map(|(node, setting)| generation.origin(node, setting));
    let not_in_effect = is.or(was).is_some_and(|(_, setting)| setting.typed.is_none());
    let (old, new) = (origin(old, was), origin(new, is));
    Difference { scope, option: Some(option), old, new, needs_restart, not_in_effect }
}

impl Generation {
    /// The options set somewhere that nobody in this build reads, by name, each once.
    pub fn not_in_effect(&self) -> Vec<String> {
        let settings = self.arena().iter().flat_map(|(_, node)| node.settings());
        let idle = settings.filter(|setting| setting.typed.is_none());
        let mut names: Vec<String> = idle.map(|setting| self.option_name(setting.name)).collect();
        names.sort();
        names.dedup();
        names
    }

    /// Whether a setting of a start-only option, or that there is none, is not what the process runs with.
    fn waits_for_start(&self, scope: ScopeId, option: NameId, value: Option<&str>) -> bool {
        self.started.waits(&self.registry, scope, option, value)
    }

    /// Whether a running daemon cannot change what a setting sets.
    fn is_fixed(&self, setting: &Setting) -> bool {
        let info = self.registry.info(setting.name as NameId);
        setting.typed.is_some() && info.is_some_and(|info| info.declared.iter().any(|own| !own.option.tunable()))
    }

    /// The headings from the outermost stanza to a node, separated by blanks.
    pub(crate) fn headings(&self, node: NodeId) -> String {
        self.arena().path(node).iter().map(|id| self.heading(*id)).collect::<Vec<_>>().join(" ")
    }

    fn origin_of_scope(&self, node: NodeId) -> Origin {
        let change = self.change_that_made(node);
        let (file, line, column) =
            if change.is_some() { Default::default() } else { self.sources.line_of(self.arena().node(node).span) };
        let is_gone = change.is_none() && self.sources.is_gone(self.arena().node(node).span);
        Origin { value: String::new(), scope: self.headings(node), file, line, column, change, is_gone }
    }
}

impl Difference {
    /// `scope option`, or the scope alone.
    fn title(&self) -> String {
        let option = self.option.as_deref().unwrap_or_default();
        format!("{} {option}", self.scope).trim().to_owned()
    }

    fn to_json(&self) -> Json {
        let side = |origin: &Option<Origin>| match origin {
            Some(origin) => json!({
                "value": self.option.as_ref().map(|_| &origin.value),
                "file": origin.file.display().to_string(),
                "line": origin.line,
                "console": origin.console_json(),
            }),
            None => Json::Null,
        };
        json!({
            "scope": self.scope, "option": self.option, "old": side(&self.old), "new": side(&self.new),
            "needs_restart": self.needs_restart, "not_in_effect": self.not_in_effect,
        })
    }

    fn print(&self, out: &mut String) {
        let notes = [(self.needs_restart, "  (at the next start)"), (self.not_in_effect, "  (not in effect)")];
        let notes: String = notes.iter().filter(|(holds, _)| *holds).map(|(_, note)| *note).collect();
        out.push_str(&format!("{}{notes}\n", self.title()));
        for (mark, origin) in [('-', &self.old), ('+', &self.new)] {
            if let Some(origin) = origin {
                let value = if self.option.is_some() { &origin.value } else { "{ ... }" };
                out.push_str(&format!("  {mark} {value}    {}\n", origin.place()));
            }
        }
    }
}

/// Differences for a person; empty when there are none.
pub fn differences_text(differences: &[Difference]) -> String {
    let mut out = String::new();
    differences.iter().for_each(|difference| difference.print(&mut out));
    out
}

/// Differences for a machine.
pub fn differences_json(differences: &[Difference]) -> Json {
    differences.iter().map(Difference::to_json).collect()
}
