//! A scope printed as configuration text, and as JSON.
//!
//! The text reads back as the same settings: values stand as the operator wrote them, names in their first spelling.
//! For a machine, references are resolved and secrets redacted.

use serde_json::{Value as Json, json};

use crate::generation::Generation;
use crate::stanza::{NodeId, ROOT, Setting};
use crate::tree::{Quote, Scalar, Value, ValueKind};

impl Generation {
    /// The text of a scope: its options, then its child scopes, in full when `recurse`.
    pub(crate) fn scope_text(&self, node: NodeId, recurse: bool) -> String {
        let mut out = String::new();
        match node {
            ROOT => self.print_body(node, recurse, 0, &mut out),
            _ => {
                out.push_str(&format!("{} {{\n", self.heading(node)));
                self.print_body(node, recurse, 1, &mut out);
                out.push_str("}\n");
            }
        }
        out
    }

    fn print_body(&self, id: NodeId, recurse: bool, depth: usize, out: &mut String) {
        let (node, indent) = (self.arena().node(id), "  ".repeat(depth));
        for setting in node.settings() {
            out.push_str(&format!("{indent}{}\n", self.setting_text(setting)));
        }
        for child in node.children() {
            let heading = self.heading(*child);
            let child_node = self.arena().node(*child);
            if !recurse {
                out.push_str(&format!("{indent}{heading} {{ ... }}\n"));
            } else if child_node.settings().is_empty() && child_node.children().is_empty() {
                out.push_str(&format!("{indent}{heading} {{ }}\n"));
            } else {
                out.push_str(&format!("{indent}{heading} {{\n"));
                self.print_body(*child, true, depth + 1, out);
                out.push_str(&format!("{indent}}}\n"));
            }
        }
    }

    /// `Listen ":25"`, or the word alone.
    pub(crate) fn heading(&self, id: NodeId) -> String {
        let node = self.arena().node(id);
        let word = self.arena().spelling(node.word);
        match &node.name {
            Some(name) => format!("{word} {}", quoted(name)),
            None => word.to_owned(),
        }
    }

    /// `Name = value`.
    pub(crate) fn setting_text(&self, setting: &Setting) -> String {
        format!("{} = {}", self.spelling(setting.name, &self.option_name(setting.name)), setting.value.source())
    }

    /// The name of an option in lower case.
    pub(crate) fn option_name(&self, id: u32) -> String {
        let extra = || {
            self.merged.extra_names.get((id as usize).checked_sub(self.registry.len())?).map(|name| name.to_string())
        };
        self.registry.info(id).map(|info| info.name.to_owned()).or_else(extra).unwrap_or_default()
    }

    /// A scope for a machine.
    pub(crate) fn scope_json(&self, id: NodeId, recurse: bool) -> Json {
        let node = self.arena().node(id);
        let options =
            node.settings().iter().map(|setting| (self.option_name(setting.name), value_json(&setting.value)));
        let scopes = node.children().iter().map(|child| match recurse {
            true => self.scope_json(*child, true),
            false => {
                let node = self.arena().node(*child);
                json!({ "scope": self.arena().word_text(node.word), "name": node.name_text() })
            }
        });
        json!({
            "scope": if id == ROOT { "" } else { self.arena().word_text(node.word) },
            "name": node.name_text(),
            "options": options.collect::<serde_json::Map<_, _>>(),
            "scopes": scopes.collect::<Vec<_>>(),
        })
    }
}

/// A name in quotes, as names of scopes are shown.
fn quoted(name: &Scalar) -> String {
    match name.quote() {
        Quote::Bare => format!("\"{}\"", name.text()),
        _ => name.source().into_owned(),
    }
}

/// A value for a machine: bare numbers and true/false typed, all else text.
pub(crate) fn value_json(value: &Value) -> Json {
    let text = |scalar: &Scalar| Json::from(scalar.shown_text().as_ref());
    match &value.kind {
        ValueKind::Scalar(scalar) => match (scalar.shown_text().parse::<i64>(), scalar.shown_text().as_ref()) {
            (Ok(number), digits) if number.to_string() == digits => Json::from(number),
            (_, "true") => Json::Bool(true),
            (_, "false") => Json::Bool(false),
            _ => text(scalar),
        },
        ValueKind::Array(_) => value.elements().unwrap_or_default().iter().map(text).collect(),
        ValueKind::Dict(pairs) => pairs
            .iter()
            .map(|(key, value)| (key.text().into_owned(), text(value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
    }
}
