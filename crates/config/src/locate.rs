//! Finding scopes: `config locate`, and the words that may come next on a `config` line.

use serde_json::json;

use crate::console::Answer;
use crate::generation::Generation;
use crate::kinds::{KINDS, Naming};
use crate::patterns::compile_pattern;
use crate::stanza::{NodeId, ROOT};
use crate::types::Shape;

impl Generation {
    /// `config locate SCOPE [REGEX]`: every instance of a scope whose name the pattern matches, and its path.
    pub fn locate(&self, words: &[&str]) -> Result<Answer, String> {
        let (word, pattern) = match words {
            [word] => (word, ""),
            [word, pattern] => (word, *pattern),
            _ => return Err("name a scope, and a pattern if you want: config locate SCOPE [REGEX]".to_owned()),
        };
        let (pattern, _) = compile_pattern(pattern, true)?;
        let lower = word.to_ascii_lowercase();
        if self.registry.kind(&lower).is_none() && self.arena().word_id(&lower).is_none() {
            let hint = crate::suggest::hint(word, self.registry.all_stanzas());
            return Err(format!("'{word}' is not a scope{hint}"));
        }
        let (mut text, mut all) = (String::new(), Vec::new());
        for (id, node) in self.arena().iter().filter(|(id, _)| *id != ROOT) {
            if self.arena().word_text(node.word) != lower || !pattern.is_match(&node.name_text()) {
                continue;
            }
            let path = self.path_text(id);
            text.push_str(&format!("{}\n  is at {path}\n", self.heading(id)));
            all.push(json!({ "scope": lower, "name": node.name_text(), "path": path }));
        }
        match all.is_empty() {
            true => Err(format!("no {word} matches")),
            false => Ok(Answer { text: text.trim_end().to_owned(), json: json!({ "found": all }) }),
        }
    }

    /// `Esmtp_Listener::Listen:\:25:`.
    fn path_text(&self, id: NodeId) -> String {
        let part = |id: &NodeId| {
            let node = self.arena().node(*id);
            format!("{}:{}:", self.arena().spelling(node.word), node.name_text().replace(':', "\\:"))
        };
        self.arena().path(id).iter().map(part).collect()
    }

    /// The words that may follow `before` on a line that names a scope: names of instances after the word of a kind that
    /// has names, else scope words, and options where `options` says so.
    pub fn next_words(&self, before: &[&str], options: bool) -> Vec<String> {
        if let Some((word, outer)) = before.split_last()
            && let Ok(path) = self.scope_path(outer)
            && let Some(kind) =
                self.registry.kind(&word.to_ascii_lowercase()).filter(|kind| kind.naming != Naming::Anonymous)
        {
            let parent = self.node_at(&path);
            let word = self.arena().word_id(kind.word);
            let children = parent.into_iter().flat_map(|parent| self.arena().node(parent).children());
            let nodes = children.map(|child| self.arena().node(*child)).filter(|node| Some(node.word) == word);
            let mut names: Vec<String> = nodes.map(|node| node.name_text().into_owned()).collect();
            names.retain(|name| !name.is_empty());
            if kind.naming == Naming::Named || !names.is_empty() {
                return names;
            }
        }
        if options
            && let Some((option, scope)) = before.split_last()
            && self.scope_path(before).is_err()
            && self.scope_path(scope).is_ok()
        {
            return self.values_of(option);
        }
        let Some(node) = self.scope_path(before).ok().and_then(|path| self.node_at(&path)) else { return Vec::new() };
        let mut words: Vec<String> = match node {
            ROOT => KINDS.iter().map(|kind| kind.word.to_owned()).collect(),
            _ => Vec::new(),
        };
        let children = self.arena().node(node).children().iter();
        words.extend(children.map(|child| self.arena().word_text(self.arena().node(*child).word).to_owned()));
        if options {
            let place = crate::merge::place_of(self.arena(), node);
            words.extend(self.registry.names_at(place).map(str::to_owned));
        }
        words.sort();
        words.dedup();
        words
    }
    /// The words that an option may be set to, where there are few.
    fn values_of(&self, option: &str) -> Vec<String> {
        let described =
            self.describe().into_iter().find(|one| one.is_option() && one.name.eq_ignore_ascii_case(option));
        match described {
            Some(described) if described.shape == Shape::Boolean => ["true", "false"].map(str::to_owned).into(),
            Some(described) => described.words,
            None => Vec::new(),
        }
    }
}
