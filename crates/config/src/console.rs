//! The reading half of the console's `config` family, on plain words.
//!
//! `config get|eval|show [SCOPE [NAME]...] [OPTION]`: a scope is its word, followed by the instance name where the kind
//! has one. The path form `Esmtp_Listener::Listen:\:25:` is understood as well.

use serde_json::{Value as Json, json};

use crate::description::OptionState;
use crate::gateways::{Gateway, is_of_addresses};
use crate::generation::Generation;
use crate::kinds::{Naming, core_kind};
use crate::lookup::{DEFAULT_GROUP, Lookup};
use crate::merge::place_of;
use crate::names::{peer_ip, text_key};
use crate::parser::parse_value;
use crate::registry::NameId;
use crate::scope::bits;
use crate::show::value_json;
use crate::stanza::{NodeId, ROOT};
use crate::suggest::hint;
use crate::tree::Value;

/// What a command prints, for people and for machines.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Text in the documented shape, without a final newline.
    pub text: String,
    /// The same for `--json`.
    pub json: Json,
}

/// A scope as a command names it; the instance need not exist.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScopePath {
    /// Word and name of each scope, outermost first; an empty name for a scope that has none.
    pub pairs: Vec<(String, String)>,
}

impl std::fmt::Display for ScopePath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.pairs.iter().try_for_each(|(word, name)| write!(f, "{word}:{}:", name.replace(':', "\\:")))
    }
}

impl ScopePath {
    /// The name given for a scope word; empty when it does not occur.
    fn name_of(&self, word: &str) -> &str {
        self.pairs.iter().find(|(own, _)| own.eq_ignore_ascii_case(word)).map_or("", |(_, name)| name)
    }

    /// The scope however it is spelled: each word and name in the form they are compared in.
    pub(crate) fn key(&self) -> Vec<(String, String)> {
        let pair = |(word, name): &(String, String)| {
            let lower = word.to_ascii_lowercase();
            let name = core_kind(&lower).map_or(name.into(), |kind| text_key(kind.names, name));
            (lower, name.into_owned())
        };
        self.pairs.iter().map(pair).collect()
    }

    /// The path form: pairs joined by colons, colons in names escaped.
    fn from_path_text(text: &str) -> Self {
        let mut parts = vec![String::new()];
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            match (c, parts.last_mut()) {
                ('\\', Some(part)) => part.extend(chars.next()),
                (':', _) => parts.push(String::new()),
                (other, Some(part)) => part.push(other),
                (_, None) => {}
            }
        }
        let pairs = parts.chunks(2).filter(|pair| !pair[0].is_empty());
        ScopePath { pairs: pairs.map(|pair| (pair[0].clone(), pair.get(1).cloned().unwrap_or_default())).collect() }
    }

    /// The lookup a value is evaluated by: everything the path names, with fallback.
    fn lookup(&self) -> Lookup<'_> {
        let bit = |word: &str| core_kind(&word.to_ascii_lowercase()).map_or(bits::STANZA, |kind| kind.bit);
        let all = self.pairs.iter().fold(0, |all, (word, _)| all | bit(word));
        let (binding_group, binding, domain) =
            (self.name_of("binding_group"), self.name_of("binding"), self.name_of("domain"));
        match self.pairs.first() {
            None => Lookup::Global,
            Some(_) if all & bits::HOST != 0 => {
                Lookup::Host { binding_group, binding, domain, host: self.name_of("host") }
            }
            Some(_) if all & (bits::BINDING_GROUP | bits::BINDING | bits::DOMAIN) != 0 => {
                Lookup::Queue { binding_group, binding, domain }
            }
            Some((kind, _)) if all & bits::LISTENER != 0 => Lookup::Listener {
                kind: kind.as_str(),
                listen: self.name_of("listen"),
                peer: peer_ip(self.name_of("peer")),
            },
            Some(_) if all & bits::PATHWAY != 0 => Lookup::Pathway { pathway: self.name_of("pathway") },
            Some((word, name)) => Lookup::Stanza { word, name },
        }
    }
}

impl Generation {
    /// Reads scope words into a path.
    pub fn scope_path(&self, words: &[&str]) -> Result<ScopePath, String> {
        if let [path] = words
            && path.contains(':')
        {
            return Ok(self.of_the_binding_there_is(ScopePath::from_path_text(path)));
        }
        let mut path = ScopePath::default();
        let mut rest = words.iter().copied();
        while let Some(word) = rest.next() {
            let lower = word.to_ascii_lowercase();
            let known = self.registry.kind(&lower);
            if known.is_none() && self.arena().word_id(&lower).is_none() {
                return Err(format!("'{word}' is not a scope{}", hint(word, self.registry.all_stanzas())));
            }
            let name = match known.map_or(Naming::Free, |kind| kind.naming) {
                Naming::Anonymous => None,
                Naming::Named => {
                    Some(rest.next().ok_or_else(|| format!("scope '{word}' needs the name of an instance"))?)
                }
                Naming::Free => {
                    // What is no scope by itself can only be a name.
                    let names = |name: &&str| {
                        self.has_instance(&path, &lower, name)
                            || self.registry.kind(&name.to_ascii_lowercase()).is_none()
                    };
                    rest.clone().next().filter(names).inspect(|_| {
                        rest.next();
                    })
                }
            };
            path.pairs.push((word.to_owned(), name.unwrap_or_default().to_owned()));
        }
        Ok(self.of_the_binding_there_is(path))
    }

    /// A binding is named once: one named without its group is the one in its group, unless it stands outside every group.
    fn of_the_binding_there_is(&self, mut path: ScopePath) -> ScopePath {
        if let Some((word, name)) = path.pairs.first()
            && word.eq_ignore_ascii_case("binding")
            && self.child_named(ROOT, word, name).is_none()
            && let Some(group) = self.home_of(name)
        {
            path.pairs.insert(0, ("binding_group".to_owned(), group));
        }
        path
    }

    /// Why a scope may not be made: its binding is there already, elsewhere.
    pub(crate) fn binding_elsewhere(&self, path: &ScopePath) -> Option<String> {
        let [(outer, group), (word, name), ..] = &path.pairs[..] else { return None };
        let is_grouped = outer.eq_ignore_ascii_case("binding_group") && word.eq_ignore_ascii_case("binding");
        let is_there = self.nodes_along(path).len() > 2;
        if !is_grouped || is_there || name == DEFAULT_GROUP {
            return None;
        }
        let (place, write) = match self.home_of(name) {
            Some(home) => (format!("in binding_group \"{home}\""), format!("binding_group {home} binding {name}")),
            None if self.child_named(ROOT, word, name).is_some() => {
                ("outside every binding_group".to_owned(), format!("binding {name}"))
            }
            None => return None,
        };
        Some(format!(
            "binding \"{name}\" stands {place}, and not in \"{group}\": a binding is named once; write config set {write} ..., \
             or move its stanza in the file and reload"
        ))
    }

    /// The group that a binding stands in.
    fn home_of(&self, binding: &str) -> Option<String> {
        let home = self.arena().word_id("binding").and_then(|word| self.arena().home(word, binding))?;
        Some(self.arena().node(home).name_text().into_owned())
    }

    fn has_instance(&self, parent: &ScopePath, word: &str, name: &str) -> bool {
        let node = self.node_at(parent);
        node.zip(self.arena().word_id(word)).is_some_and(|(node, word)| self.arena().child(node, word, name).is_some())
    }

    /// The instance a path leads to.
    pub(crate) fn node_at(&self, path: &ScopePath) -> Option<NodeId> {
        path.pairs.iter().try_fold(ROOT, |parent, (word, name)| self.child_named(parent, word, name))
    }

    /// Whether a word is the name of a scope and of no option.
    pub(crate) fn is_scope_word(&self, word: &str) -> bool {
        self.registry.kind(&word.to_ascii_lowercase()).is_some() && self.name_id(word).is_none()
    }

    /// An option by its name, and how it is spelled.
    pub(crate) fn option_named(&self, option: &str) -> Result<(NameId, String), String> {
        let id = self
            .name_id(option)
            .ok_or_else(|| format!("Unknown option '{option}'{}", hint(option, self.registry.all_names())))?;
        Ok((id, self.spelling(id, option)))
    }

    pub(crate) fn option_and_path(&self, words: &[&str]) -> Result<(NameId, String, ScopePath), String> {
        let (option, scope) = words.split_last().ok_or("name an option")?;
        let path = self.scope_path(scope)?;
        let (id, name) = self.option_named(option)?;
        Ok((id, name, path))
    }

    /// `config get [SCOPE...] OPTION`: the value set in exactly this scope.
    pub fn get_text(&self, words: &[&str]) -> Result<Answer, String> {
        let (id, name, path) = self.option_and_path(words)?;
        let setting = self.node_at(&path).and_then(|node| self.arena().node(node).setting(id));
        let answer =
            |text, value| Answer { text, json: json!({ "option": name, "scope": path.to_string(), "value": value }) };
        Ok(match setting {
            Some(setting) => answer(self.setting_text(setting), value_json(&setting.value)),
            None => answer(format!("Option '{name}' is not set in scope '{path}'."), Json::Null),
        })
    }

    /// `config eval [SCOPE...] OPTION`: the effective value, with fallback and default.
    pub fn eval_text(&self, words: &[&str]) -> Result<Answer, String> {
        let (id, name, path) = self.option_and_path(words)?;
        Ok(self.eval_at(id, &name, &path))
    }

    /// The effective value of an option for a scope.
    pub(crate) fn eval_at(&self, id: NameId, name: &str, path: &ScopePath) -> Answer {
        let (written, gateway) = (path.lookup(), self.gateway_for(name, path));
        let lookup = in_queue_of(gateway.as_ref(), written);
        let exact = || self.node_at(path).and_then(|node| Some((node, self.arena().node(node).setting(id)?)));
        let found = self.find_setting(id, self.mask_of(id), &lookup);
        let found = if gateway.is_some() { found } else { found.or_else(exact) };
        let idle = self.idle_default(id, path);
        let value = match (found, &idle) {
            (Some((_, setting)), _) => Some(setting.value.clone()),
            (None, Some((documented, _))) => Some(*documented).filter(|text| !text.is_empty()).map(|text| {
                // Some are documented as plain words that a file would want quotes for.
                parse_value(text).unwrap_or_else(|| Value::from_text(text))
            }),
            (None, None) => self.default_text(id, &lookup).and_then(parse_value),
        };
        // What is written waits where only a start follows it: in effect is what the process runs with.
        let until_start = self.value_until_start(id, &lookup, self.node_at(path));
        let written = value.as_ref().map_or("\"\"".to_owned(), |value| value.resolved_source());
        let next = until_start.as_ref().map(|_| (written.clone(), value.as_ref().map_or(Json::Null, value_json)));
        let value = match &until_start {
            Some(running) => parse_value(running),
            None => value,
        };
        let source = value.as_ref().map_or("\"\"".to_owned(), |value| value.resolved_source());
        let json = value.as_ref().map_or(Json::Null, value_json);
        let in_effect = self.registry.info(id).is_some_and(|info| !info.declared.is_empty());
        let mark = idle.as_ref().map_or(String::new(), |(_, state)| format!("\n  {state}"));
        let mut json = json!({ "option": name, "scope": path.to_string(), "value": json, "in_effect": in_effect });
        let mut note = gateway.as_ref().map_or(String::new(), |gateway| told(gateway, path, &mut json));
        if let Some((written, value)) = next {
            note.push_str(&format!("\n  {name} = {written} takes effect at the next start"));
            json["at_next_start"] = value;
        }
        Answer { text: format!("{name} = {source}{note}{mark}"), json }
    }

    /// The gateway in whose queue an option is to be looked up, if the path is about a domain that has one.
    fn gateway_for(&self, option: &str, path: &ScopePath) -> Option<Gateway> {
        let info = self.name_id(option).and_then(|id| self.registry.info(id));
        let is_in_effect = info.is_some_and(|info| !info.declared.is_empty());
        let is_asked = is_in_effect && !is_of_addresses(option) && !path.name_of("domain").is_empty();
        if is_asked { self.gateway(&path.lookup()) } else { None }
    }

    /// The documented default of an option that nothing in this build reads, and why nothing does.
    fn idle_default(&self, id: NameId, path: &ScopePath) -> Option<(&'static str, String)> {
        let info = self.registry.info(id).filter(|info| info.declared.is_empty())?;
        let place = place_of(self.arena(), self.node_at(path).unwrap_or(ROOT));
        let awaited = info.documented_at(&place).or(info.documented.first())?;
        let (state, reason) = self.registry.state_of(info.name, &place).unwrap_or(OptionState::NotYet).sentence();
        let reason = if reason.is_empty() { reason } else { format!(": {reason}") };
        // A note of the reference stands behind some values.
        let default = awaited.row.default.split(" (").next().unwrap_or_default();
        Some((default, format!("{state}{reason}")))
    }

    /// `config eval --why [SCOPE...] OPTION`: where the value comes from, and which settings it beat.
    pub fn why_text(&self, words: &[&str]) -> Result<Answer, String> {
        let (id, name, path) = self.option_and_path(words)?;
        let gateway = self.gateway_for(&name, &path);
        let lookup = in_queue_of(gateway.as_ref(), path.lookup());
        let origins = self.eval_why(words.last().unwrap_or(&""), &lookup);
        let line = |origin: &crate::Origin| match (&origin.change, origin.line) {
            (Some(_), _) => format!("{}, set {}", origin.scope, origin.place()),
            (None, 0) => "compiled-in default".to_owned(),
            (None, _) => format!("{}, {}", origin.scope, origin.place()),
        };
        let mut text = match origins.first() {
            Some(winner) => format!("{name} = {}\n  from {}", winner.value, line(winner)),
            None => format!("{name} = \"\"\n  not set, and without a default"),
        };
        if let Some(instead) = origins.first().and_then(|winner| winner.change.as_ref()?.instead_of.as_ref()) {
            text.push_str(&format!("\n  in place of {instead}, until config reload; config writeback keeps it"));
        }
        for beaten in origins.iter().skip(1) {
            text.push_str(&format!("\n  beats {} ({})", beaten.value, line(beaten)));
        }
        let all = origins.iter().map(|origin| {
            json!({
                "value": origin.value, "scope": origin.scope, "file": origin.file.display().to_string(),
                "line": origin.line, "column": origin.column, "console": origin.console_json(),
            })
        });
        let mut json = json!({ "option": name, "scope": path.to_string(), "origins": all.collect::<Vec<_>>() });
        if let Some(running) = self.value_until_start(id, &lookup, self.node_at(&path)) {
            let shown = if running.is_empty() { "\"\"" } else { &running };
            text.push_str(&format!("\n  takes effect at the next start: until then the process runs with {shown}"));
            json["until_next_start"] = parse_value(&running).as_ref().map_or(Json::Null, value_json);
        }
        if let Some(gateway) = &gateway {
            text.push_str(&told(gateway, &path, &mut json));
        }
        Ok(Answer { text, json })
    }

    /// `config show [SCOPE...] [OPTION]`, or `showrecurse` when `recurse`.
    pub fn show(&self, words: &[&str], recurse: bool) -> Result<Answer, String> {
        let path = match self.scope_path(words) {
            Ok(path) => path,
            Err(_) if self.option_and_path(words).is_ok() => return self.get_text(words),
            Err(problem) => return Err(problem),
        };
        match self.node_at(&path) {
            Some(node) => {
                let text = self.scope_text(node, recurse).trim_end().to_owned();
                Ok(Answer { text, json: self.scope_json(node, recurse) })
            }
            None if self.option_and_path(words).is_ok() => self.get_text(words),
            None => Err(format!("Scope '{path}' does not exist.")),
        }
    }
}

/// The same lookup in the queue that a gateway names.
fn in_queue_of<'a>(gateway: Option<&'a Gateway>, lookup: Lookup<'a>) -> Lookup<'a> {
    let Some(Gateway { name, .. }) = gateway else { return lookup };
    match lookup {
        Lookup::Queue { binding_group, binding, .. } => Lookup::Queue { binding_group, binding, domain: name },
        Lookup::Host { binding_group, binding, host, .. } => {
            Lookup::Host { binding_group, binding, domain: name, host }
        }
        other => other,
    }
}

/// That a value is that of a gateway's queue.
fn told(gateway: &Gateway, path: &ScopePath, json: &mut Json) -> String {
    json["queue"] = gateway.name.clone().into();
    let (domain, Gateway { name, place }) = (path.name_of("domain"), gateway);
    format!("\n  of domain \"{name}\": the mail of {domain} goes under its gateway ({place})")
}
