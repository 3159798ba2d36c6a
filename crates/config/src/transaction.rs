//! A transaction: changes that nobody sees but who makes them, until they are committed as a whole.
//!
//! Begun from the running generation, it holds a private copy of that generation's texts. A `set` is checked by itself
//! and kept; what was kept is put into the texts together, and these are parsed and merged by the one way there is, when
//! somebody asks. So ten thousand settings cost two parses and not ten thousand. The first transaction to commit wins: one
//! begun from an older generation is refused and must be rolled back.
//!
//! Owned by one console session and used by one command at a time; building a candidate may take as long as a reload.

use std::ops::Range;
use std::sync::Arc;

use serde_json::json;

use crate::assignment::Assigned;
use crate::changes::{self, Author, ConsoleChange, LOCAL_CHANGES_FILE, LOCAL_CHANGES_ONLY};
use crate::configuration::{Configuration, Reading};
use crate::console::{Answer, ScopePath};
use crate::diagnostics::{Diagnostics, Reports};
use crate::edit::{self, Addition};
use crate::generation::Generation;
use crate::include;
use crate::kinds::{Naming, core_kind};
use crate::merge::merge;
use crate::names::text_key;
use crate::pending::{Made, Pending};
use crate::placing::Placing;
use crate::registry::NameId;
use crate::show::value_json;
use crate::stanza::{NodeId, ROOT};
use crate::texts::Texts;
use crate::tree::{Scalar, Span};

/// Changes in the making.
pub struct Transaction {
    configuration: Configuration,
    base: Arc<Generation>,
    from_scratch: bool,
    texts: Texts,
    /// The command lines that repeat it.
    lines: Vec<String>,
    /// What the console changed, before it and in it.
    changes: Vec<ConsoleChange>,
    /// Settings that are not in the texts yet.
    pending: Pending,
    /// The texts as a generation, since they last changed.
    candidate: Option<Arc<Generation>>,
    /// Generations made so far, so that a test can tell few from many.
    #[cfg(test)]
    built: usize,
}

impl std::fmt::Debug for Transaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Transaction(from generation {}, {} changes)", self.base.number(), self.lines.len())
    }
}

impl Transaction {
    pub(crate) fn begin(configuration: &Configuration, from_scratch: bool) -> Self {
        let base = configuration.current();
        let mut texts = match from_scratch {
            true => Texts::from_scratch(&base.sources),
            false => Texts::of(&base.sources),
        };
        texts.written(&configuration.written());
        let candidate = (!from_scratch).then(|| base.clone());
        let changes = if from_scratch { Vec::new() } else { base.console_changes() };
        Transaction {
            configuration: configuration.clone(),
            base,
            from_scratch,
            texts,
            lines: Vec::new(),
            changes,
            pending: Pending::default(),
            candidate,
            #[cfg(test)]
            built: 0,
        }
    }

    /// The generation it was begun from.
    pub fn base(&self) -> &Arc<Generation> {
        &self.base
    }

    /// Whether it began with an empty configuration.
    pub fn is_from_scratch(&self) -> bool {
        self.from_scratch
    }

    /// Whether it would change anything.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty() && !self.from_scratch
    }

    /// The command lines that repeat it, in order.
    pub fn replay(&self) -> &[String] {
        &self.lines
    }

    /// The configuration as this transaction would leave it.
    pub fn generation(&mut self) -> Result<Arc<Generation>, Diagnostics> {
        self.settle()?;
        self.of_texts()
    }

    /// The candidate for a commit, owned; the transaction can build it again.
    pub(crate) fn build(&mut self) -> Result<Generation, Diagnostics> {
        self.settle()?;
        if let Some(Ok(candidate)) = self.candidate.take().map(Arc::try_unwrap) {
            return Ok(candidate);
        }
        self.parsed()
    }

    fn parsed(&mut self) -> Result<Generation, Diagnostics> {
        #[cfg(test)]
        {
            self.built += 1;
        }
        let registry = self.configuration.registry();
        let main = self.configuration.path();
        let reading = Reading::of_texts(&main, &self.texts, self.configuration.environment());
        let mut generation = reading.generation(registry, self.base.number() + 1, Some(&self.base))?;
        generation.changes = self.changes.clone().into();
        Ok(generation)
    }

    /// What the console changed, these changes by `author`.
    pub(crate) fn changes_by(&self, author: Option<&Author>) -> Vec<ConsoleChange> {
        let mut changes = self.changes.clone();
        let own = changes.iter_mut().filter(|change| change.author.is_none());
        own.for_each(|change| change.author = Some(author.cloned().unwrap_or_default()));
        changes
    }

    /// Notes a change of an option, or of a scope, and what the file has instead.
    fn note(&mut self, generation: &Generation, path: &ScopePath, option: Option<&str>, value: Option<String>) {
        let node = generation.node_at(path);
        let id = option.and_then(|option| generation.name_id(option));
        let setting = node.zip(id).and_then(|(node, id)| Some((node, generation.arena().node(node).setting(id)?)));
        let origin = setting.map(|(node, setting)| generation.origin(node, setting));
        let on_disk = origin.filter(|origin| origin.change.is_none() && origin.line != 0);
        let change = ConsoleChange {
            path: path.clone(),
            scope: spoken(path).trim_end().to_owned(),
            option: option.map(str::to_owned),
            value,
            instead_of: on_disk.map(|origin| format!("{} ({})", origin.value, origin.place())),
            author: None,
        };
        changes::note(&mut self.changes, change);
    }

    /// The texts as they are, without what is pending.
    fn of_texts(&mut self) -> Result<Arc<Generation>, Diagnostics> {
        if let Some(candidate) = &self.candidate {
            return Ok(candidate.clone());
        }
        let candidate = Arc::new(self.parsed()?);
        self.candidate = Some(candidate.clone());
        Ok(candidate)
    }

    /// Puts what is pending into the texts: in as many rounds as scopes are made one inside the other.
    fn settle(&mut self) -> Result<(), Diagnostics> {
        while !self.pending.is_empty() {
            let generation = self.of_texts()?;
            for (file, text) in self.pending.settle(&generation) {
                match file.filter(|file| generation.sources.homeless != Some(*file)) {
                    Some(file) => {
                        if let Some(source) = generation.sources.file(file) {
                            self.texts.set(source.identity(), text);
                        }
                    }
                    None => self.texts.homeless = text,
                }
            }
            self.candidate = None;
        }
        Ok(())
    }

    /// What a line asks for. Most lines can be read without what is pending; where that might tell a name from an option,
    /// or has brought the scope that a line names, it is settled first.
    fn asked(&mut self, line: &str) -> Result<(Arc<Generation>, Assigned), String> {
        let told = |refused: Diagnostics| refused.render(false);
        if !self.pending.is_empty() {
            let generation = self.of_texts().map_err(told)?;
            let is_free = |word: &str| {
                let kind = generation.registry.kind(&word.to_ascii_lowercase());
                kind.is_none_or(|kind| kind.naming == Naming::Free)
            };
            let read = generation.assignment(line).ok();
            // A binding may be on its way into a group.
            let is_binding = |word: &str| word.eq_ignore_ascii_case("binding") && self.pending.has("binding_group");
            let is_plain = |read: &Assigned| !read.path.pairs.iter().any(|(word, _)| is_free(word) || is_binding(word));
            let plain = read.filter(is_plain);
            if let Some(read) = plain {
                return Ok((generation, read));
            }
        }
        let generation = self.generation().map_err(told)?;
        let read = generation.assignment(line)?;
        Ok((generation, read))
    }

    /// `config set [SCOPE...] OPTION [=] VALUE`: `line` is what follows `set`, as typed.
    pub fn set(&mut self, line: &str) -> Result<Answer, String> {
        let (generation, Assigned { path, option, value }) = self.asked(line)?;
        let (_, name) = generation.option_named(&option)?;
        if let Some(problem) = generation.binding_elsewhere(&path) {
            return Err(problem);
        }
        let setting = format!("{name} = {}", value.source());
        let headings: Vec<String> = path.pairs.iter().map(heading).collect();
        let alone = check_alone(&generation, &headings, &setting);
        let before = alone.is_err().then(|| (self.texts.clone(), self.pending.clone(), self.changes.clone()));
        let line = format!("config set {}{setting}", spoken(&path));
        let json = json!({ "option": name, "scope": path.to_string(), "value": value_json(&value) });
        let text = setting.clone();
        self.note(&generation, &path, Some(&name), Some(value.source()));
        self.pending.push(Made { path, option: option.clone(), headings, setting, value: value.source() });
        // What is wrong by itself may be right in its place, such as what accept_ineffective names.
        if let (Err(told), Some((texts, pending, changes))) = (alone, before)
            && self.generation().is_err()
        {
            (self.texts, self.pending, self.changes, self.candidate) = (texts, pending, changes, None);
            return Err(told);
        }
        self.lines.push(line);
        // From here on changes may belong elsewhere.
        if [LOCAL_CHANGES_FILE.name(), LOCAL_CHANGES_ONLY.name()].iter().any(|own| option.eq_ignore_ascii_case(own)) {
            self.settle().map_err(|refused| refused.render(false))?;
        }
        Ok(Answer { text, json })
    }

    /// `config unset [SCOPE...] [OPTION]`.
    pub fn unset(&mut self, words: &[&str]) -> Result<Answer, String> {
        let generation = self.generation().map_err(|refused| refused.render(false))?;
        if words.is_empty() {
            return Err("the global scope cannot be unset; name an option or a scope".to_owned());
        }
        match generation.scope_path(words) {
            // A word may be both, as pathway is: then what stands there decides.
            Ok(path) if generation.node_at(&path).is_some() || generation.option_and_path(words).is_err() => {
                self.unset_scope(&generation, &path)
            }
            // A scope that lacks its name is no unknown option.
            Err(problem) if words.last().is_some_and(|last| generation.is_scope_word(last)) => Err(problem),
            _ => {
                let (id, name, path) = generation.option_and_path(words)?;
                self.unset_option(&generation, id, &name, &path)
            }
        }
    }

    fn unset_scope(&mut self, generation: &Arc<Generation>, path: &ScopePath) -> Result<Answer, String> {
        let node = generation.node_at(path).ok_or_else(|| format!("Scope '{path}' does not exist."))?;
        let placing = Placing::new(generation);
        self.remove(generation, &placing, placing.stanzas(node), &format!("scope '{path}'"))?;
        self.note(generation, path, None, None);
        self.lines.push(format!("config unset {}", spoken(path).trim_end()));
        let text = format!("\"{path}\" has been unset.");
        Ok(Answer { text, json: json!({ "scope": path.to_string(), "unset": true }) })
    }

    fn unset_option(
        &mut self,
        generation: &Arc<Generation>,
        id: NameId,
        name: &str,
        path: &ScopePath,
    ) -> Result<Answer, String> {
        let placing = Placing::new(generation);
        let definitions = generation.node_at(path).map_or_else(Vec::new, |node| placing.definitions(node, id));
        if definitions.is_empty() {
            return Err(format!("Option '{name}' is not set in scope '{path}'."));
        }
        self.remove(generation, &placing, definitions, &format!("'{name}'"))?;
        self.remove_emptied(path)?;
        self.note(generation, path, Some(name), None);
        self.lines.push(format!("config unset {}{name}", spoken(path)));
        let after = self.generation().map_err(|refused| refused.render(false))?;
        let effective = after.eval_at(id, name, path);
        let text = format!("\"{name}\" has been unset. Effective value is now:\n  {}", effective.text);
        let json = json!({ "option": name, "scope": path.to_string(), "effective": effective.json["value"] });
        Ok(Answer { text, json })
    }

    /// Takes out the scopes along a path that the console made and that hold nothing any more, innermost first.
    fn remove_emptied(&mut self, path: &ScopePath) -> Result<(), String> {
        for length in (1..=path.pairs.len()).rev() {
            let generation = self.generation().map_err(|refused| refused.render(false))?;
            let outer = ScopePath { pairs: path.pairs[..length].to_vec() };
            let Some(node) = generation.node_at(&outer) else { continue };
            let own = generation.arena().node(node);
            let is_empty = own.settings().is_empty() && own.children().is_empty();
            if !is_empty || !generation.is_of_console(node) {
                break;
            }
            let placing = Placing::new(&generation);
            self.remove(&generation, &placing, placing.stanzas(node), &format!("scope '{outer}'"))?;
        }
        Ok(())
    }

    /// Takes spans out of their files, or nothing at all when one of the files is closed.
    fn remove(
        &mut self,
        generation: &Generation,
        placing: &Placing<'_>,
        mut spans: Vec<Span>,
        what: &str,
    ) -> Result<(), String> {
        if let Some(closed) = spans.iter().find(|span| !placing.is_open(span.file)) {
            let (file, line, _) = generation.sources.line_of(*closed);
            return Err(format!(
                "{what} cannot be unset: it is set in {}:{line}, which is closed to changes from the console; set another value instead, or change the file and reload",
                file.display()
            ));
        }
        // From the last to the first, so that places before them stay true.
        spans.sort_by_key(|span| std::cmp::Reverse((span.file, span.start)));
        for span in spans {
            self.edit(generation, span.file, |text| edit::removed(text, bytes(span)));
        }
        self.candidate = None;
        Ok(())
    }

    /// Changes the text of one file of the candidate.
    fn edit(&mut self, generation: &Generation, file: u32, change: impl FnOnce(&str) -> String) {
        let Some(source) = generation.sources.file(file) else { return };
        if generation.sources.homeless == Some(file) {
            self.texts.homeless = change(&self.texts.homeless);
        } else {
            let text = self.texts.get(source.identity()).map_or("", |found| &found.text);
            let text = change(text);
            self.texts.set(source.identity(), text);
        }
    }
}

/// Checks one setting by itself, so that what is wrong with it is said in the words a file would get.
fn check_alone(generation: &Generation, headings: &[String], setting: &str) -> Result<(), String> {
    let addition = Addition { headings: headings.to_vec(), setting: setting.to_owned() };
    let mut reports = Reports::default();
    let mut loaded = include::load_fragment(&addition.line(), &mut reports);
    merge(&mut loaded, &generation.registry, &mut reports);
    match reports.has_errors() {
        true => Err(reports.finish(&loaded.sources).render(false).trim_end().to_owned()),
        false => Ok(()),
    }
}

fn bytes(span: Span) -> Range<usize> {
    span.start as usize..span.end as usize
}

/// `word "name"` as it stands in a file; a pattern keeps its backslashes.
fn heading((word, name): &(String, String)) -> String {
    let is_pattern = name.len() > 1 && name.starts_with('/') && name.ends_with('/');
    match (name.is_empty(), is_pattern) {
        (true, _) => word.clone(),
        (false, true) => format!("{word} \"{}\"", name.replace('"', "\\\"")),
        (false, false) => match Scalar::from_text(name).source() {
            bare if !bare.starts_with('"') => format!("{word} \"{bare}\""),
            quoted => format!("{word} {quoted}"),
        },
    }
}

/// A scope as a command line names it, with a blank behind it.
fn spoken(path: &ScopePath) -> String {
    path.pairs.iter().map(|pair| heading(pair) + " ").collect()
}

impl Generation {
    /// The scopes a path leads through as far as they exist, the global one first.
    pub(crate) fn nodes_along(&self, path: &ScopePath) -> Vec<NodeId> {
        let mut nodes = vec![ROOT];
        for (word, name) in &path.pairs {
            let parent = nodes.last().copied().unwrap_or(ROOT);
            match self.child_named(parent, word, name) {
                Some(node) => nodes.push(node),
                None => break,
            }
        }
        nodes
    }

    /// The instance `word name` directly inside a scope.
    pub(crate) fn child_named(&self, parent: NodeId, word: &str, name: &str) -> Option<NodeId> {
        let lower = word.to_ascii_lowercase();
        let word = self.arena().word_id(&lower)?;
        let key = core_kind(&lower).map_or(name.into(), |kind| text_key(kind.names, name));
        // A pattern is kept as it was written.
        self.arena().child(parent, word, &key).or_else(|| self.arena().child(parent, word, name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Opt, Registry, Seconds, scopes};

    static RETRY_INTERVAL: Opt<Seconds> = Opt::new("retry_interval", "1200", scopes::QUEUE, "");
    static HOSTNAME: Opt<String> = Opt::new("hostname", "", scopes::GLOBAL, "");

    #[test]
    fn ten_thousand_settings_are_parsed_together() {
        let mut registry = Registry::new();
        registry.add(&RETRY_INTERVAL);
        registry.add(&HOSTNAME);
        let text: String = (0..500).map(|n| format!("domain d{n} {{ retry_interval = 5 }}\n")).collect();
        let configuration = Configuration::of_text(registry, &text).expect("valid");
        let mut transaction = configuration.begin(false);
        for n in 0..10_000 {
            transaction.set(&format!("domain d{} retry_interval {n}", n % 1_000)).expect("valid");
        }
        for n in 0..10 {
            transaction.set(&format!("binding b domain e{} retry_interval {n}", n % 3)).expect("valid");
        }
        assert_eq!(transaction.built, 0, "a line is read and checked by itself");
        let generation = transaction.generation().expect("valid");
        assert_eq!(transaction.built, 3, "domains in the binding wait until it is there, then nothing does");
        let said = generation.get_text(&["domain", "d999", "retry_interval"]).expect("set");
        assert_eq!(said.text, "retry_interval = 9999");
        let said = generation.get_text(&["binding", "b", "domain", "e2", "retry_interval"]).expect("set");
        assert_eq!(said.text, "retry_interval = 8");
        assert_eq!(transaction.replay().len(), 10_010);
    }
}
