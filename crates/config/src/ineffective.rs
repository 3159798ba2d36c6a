//! What a configuration asks for and nothing carries out: the one question for a start, a reload, a change from the console
//! and the offline tools, since all of them merge.
//!
//! In: the checked stanzas, and the parts of values that their options told while they were read. Out: for each word that
//! has no effect one report, at the first place that asks for something. A harmless one is a warning. One that protects, or
//! says where mail goes, is an error, unless `accept_ineffective` names it: then it is a warning at every load, so that nobody
//! forgets it. Pure.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::description::OptionState;
use crate::diagnostics::{Fault, Reports};
use crate::documented::{CORE, Class, Row};
use crate::merge::{Merged, place_of, title_of};
use crate::options::{Declared, Opt};
use crate::registry::{NameId, Registry};
use crate::scope::scopes;
use crate::stanza::{Node, NodeId, ROOT, WordId};
use crate::suggest::hint;
use crate::tree::Span;
use crate::types::OptionType as _;

/// Names of options, stanzas and modules without effect that the operator does without.
pub const ACCEPT_INEFFECTIVE: Opt<Vec<String>> = Opt::new(
    "accept_ineffective",
    "()",
    scopes::GLOBAL,
    "Options, stanzas and modules that a file may ask for although this version does not have them: those that protect, and \
     those that say where mail goes, are refused otherwise. A module's name stands for its stanza and its options. Each start \
     and reload warns of what is accepted so, and says what happens instead.",
);

/// What of a valid value has no effect in this version; see [`Opt::idle`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idle {
    /// What it means to be without it.
    pub class: Class,
    /// The part and what happens instead, as a sentence without a full stop: "`STARTTLS` is not offered".
    pub told: String,
}

/// A part of a value that its option told, and where it stands.
pub(crate) struct IdlePart {
    pub option: &'static str,
    pub span: Span,
    pub idle: Idle,
}

/// Reports what has no effect.
pub(crate) fn report(merged: &Merged, registry: &Registry, parts: Vec<IdlePart>, reports: &mut Reports) {
    let accepted = Accepted::of(merged, registry, reports);
    let mut found = Found { merged, registry, rows: HashMap::new(), options: HashMap::new(), stanzas: HashMap::new() };
    for (id, node) in merged.stanzas.iter() {
        found.look_at(id, node);
    }
    let Found { options, stanzas, .. } = found;
    options.into_iter().for_each(|(name, tally)| {
        let spelling = merged.spellings.get(&name).map_or("", |name| name);
        tally.tell(&format!("option `{spelling}`"), "set", &accepted, reports);
    });
    stanzas.into_values().for_each(|(at, tally)| {
        let what = format!("the content of {}", title_of(&merged.stanzas, at));
        tally.tell(&what, "written", &accepted, reports);
    });
    for IdlePart { option, span, idle: Idle { class, told } } in parts {
        let message = format!("{option}: {told}");
        reports.push(match class {
            Class::Harmless => Fault::warning(span, message),
            _ if accepted.names(&[option]) => {
                Fault::warning(span, format!("{message}, as accept_ineffective accepts")).grave()
            }
            _ => Fault::error(span, message).label(refused_because(class)).help(way_on("the word", option)),
        });
    }
}

/// How often a word stands, and where first: where it asks for something, and where it does not.
struct Tally {
    row: Row,
    asking: Option<(Span, usize)>,
    quiet: Option<(Span, usize)>,
}

impl Tally {
    fn of(row: &Row) -> Self {
        Tally { row: *row, asking: None, quiet: None }
    }

    fn add(&mut self, row: &Row, asks: bool, span: Span) {
        if asks && self.asking.is_none() {
            self.row = *row;
        }
        let tally = if asks { &mut self.asking } else { &mut self.quiet };
        tally.get_or_insert((span, 0)).1 += 1;
    }

    /// One report: of what asks for something if anything does.
    fn tell(&self, what: &str, done: &str, accepted: &Accepted, reports: &mut Reports) {
        let Row { name, owner, class, instead, .. } = self.row;
        let state = self.row.state();
        let Some((span, count)) = self.asking.or(self.quiet) else { return };
        let times = if count > 1 { format!(" ({done} {count} times)") } else { String::new() };
        let (is, why) = state.sentence();
        if self.asking.is_none() {
            reports.push(Fault::warning(span, format!("{what} is {is}{times}")).help(why));
            return;
        }
        if accepted.names(&[name, if owner == CORE { name } else { owner }]) {
            let message = format!("{what} is not in effect, as accept_ineffective accepts{times}: {instead}");
            reports.push(Fault::warning(span, message).help(why).grave());
            return;
        }
        let is = if state == OptionState::NotYet { "not in effect yet" } else { is };
        let why = if why.is_empty() { why } else { format!("; {why}") };
        let fault = Fault::error(span, format!("{what} is {is}{times}: {instead}"));
        reports.push(fault.label(refused_because(class)).help(format!("{}{why}", way_on("it", name))));
    }
}

fn refused_because(class: Class) -> &'static str {
    match class {
        Class::Routing => "refused, because it says where mail goes, or as whom",
        _ => "refused, because it asks for protection",
    }
}

fn way_on(what: &str, name: &str) -> String {
    format!("take {what} out, or write accept_ineffective = ( \"{name}\" ) in the global scope to go on without it")
}

/// What stands in the file without effect, by name.
struct Found<'m> {
    merged: &'m Merged,
    registry: &'m Registry,
    /// The rows of the words that were looked at: there are few words, and there may be many stanzas.
    rows: HashMap<WordId, Option<&'m Row>>,
    options: HashMap<NameId, Tally>,
    /// By word; with the first that asks for something.
    stanzas: HashMap<WordId, (NodeId, Tally)>,
}

impl<'m> Found<'m> {
    fn look_at(&mut self, id: NodeId, node: &'m Node) {
        let stanzas = &self.merged.stanzas;
        // Content that nobody declares is told by the stanza around it.
        if id != ROOT && !stanzas.node(node.parent).free {
            self.stanza(id, node);
        }
        if node.free {
            return;
        }
        let mut is_heard = None;
        for setting in node.settings().iter().filter(|setting| setting.typed.is_none()) {
            let place = place_of(stanzas, id);
            let Some(info) = self.registry.info(setting.name) else { continue };
            let Some(awaited) = info.documented_at(&place).filter(|_| info.declaration_at(&place).is_none()) else {
                continue;
            };
            // Nobody is served by a listener that does not exist, whatever is to be asked of him.
            let is_heard = *is_heard.get_or_insert_with(|| self.is_heard(node));
            let asks = is_heard && awaited.row.class != Class::Harmless && awaited.row.asks(&setting.value);
            let tally = self.options.entry(setting.name).or_insert_with(|| Tally::of(&awaited.row));
            tally.add(&awaited.row, asks, setting.span);
        }
    }

    /// The row of a stanza word that nothing reads.
    fn row_of(&mut self, word: WordId) -> Option<&'m Row> {
        let (stanzas, registry) = (&self.merged.stanzas, self.registry);
        *self.rows.entry(word).or_insert_with(|| registry.awaited_stanza(stanzas.word_text(word)))
    }

    fn is_heard(&mut self, node: &Node) -> bool {
        node.listener.is_none_or(|word| self.row_of(word).is_none())
    }

    fn stanza(&mut self, id: NodeId, node: &'m Node) {
        let word = node.word;
        let Some(row) = self.row_of(word) else { return };
        let asks = row.class != Class::Harmless && !self.is_switched_off(node);
        match self.stanzas.entry(word) {
            Entry::Occupied(mut entry) => {
                let (first, tally) = entry.get_mut();
                if asks && tally.asking.is_none() {
                    *first = id;
                }
                tally.add(row, asks, node.span);
            }
            Entry::Vacant(entry) => {
                let mut tally = Tally::of(row);
                tally.add(row, asks, node.span);
                entry.insert((id, tally));
            }
        }
    }

    /// Whether a stanza says of itself that it shall do nothing.
    fn is_switched_off(&self, node: &Node) -> bool {
        let extra = |name: &str| self.merged.extra_names.iter().position(|own| **own == *name);
        let id = |name: &str| {
            let extra = || Some((self.registry.len() + extra(name)?) as NameId);
            self.registry.name_id(name).or_else(extra)
        };
        let set = |name: &&str| id(name).and_then(|name| node.setting(name));
        let mut said =
            SWITCHES.iter().filter_map(set).map(|setting| bool::parse(&setting.value) == Ok(false)).peekable();
        // One word that switches it on is enough to ask.
        said.peek().is_some() && said.all(|is_off| is_off)
    }
}

/// Options by which a module or a listener is switched off.
const SWITCHES: [&str; 2] = ["enabled", "enable"];

/// The names of `accept_ineffective`, in lower case.
struct Accepted(Vec<String>);

impl Accepted {
    /// Reads the list, and warns of names in it that accept nothing.
    fn of(merged: &Merged, registry: &Registry, reports: &mut Reports) -> Self {
        let root = merged.stanzas.node(ROOT);
        let setting = registry.name_id(ACCEPT_INEFFECTIVE.name()).and_then(|name| root.setting(name));
        let typed = setting.filter(|setting| setting.typed.is_some());
        let elements = typed.and_then(|setting| setting.value.elements()).unwrap_or_default();
        for element in elements.iter() {
            if let Some((message, help)) = accepts_nothing(registry, &element.text()) {
                reports.push(Fault::warning(element.span(), message).help(help));
            }
        }
        Accepted(elements.iter().map(|name| name.text().to_ascii_lowercase()).collect())
    }

    fn names(&self, any: &[&str]) -> bool {
        any.iter().any(|name| self.0.iter().any(|own| own == name))
    }
}

/// Why a name in the list accepts nothing, and what to do.
fn accepts_nothing(registry: &Registry, name: &str) -> Option<(String, String)> {
    let rows: Vec<&Row> = registry.documented_rows().collect();
    let is_own =
        |row: &&&Row| row.name.eq_ignore_ascii_case(name) || row.owner != CORE && row.owner.eq_ignore_ascii_case(name);
    let has_idle_parts = |option: &&dyn Declared| option.has_idle_parts();
    let declared = registry.declared();
    let of_name = declared.iter().filter(|option| option.name().eq_ignore_ascii_case(name));
    if of_name.clone().any(has_idle_parts) || rows.iter().filter(is_own).any(|row| row.class != Class::Harmless) {
        return None;
    }
    let list = ACCEPT_INEFFECTIVE.name();
    if rows.iter().any(|row| is_own(&row)) {
        let help = "take it out of the list: what is harmless without effect is never refused".to_owned();
        return Some((format!("{list}: `{name}` needs no acceptance"), help));
    }
    if of_name.count() > 0 || registry.kind(&name.to_ascii_lowercase()).is_some() {
        let help = "take it out of the list, which is for what has no effect".to_owned();
        return Some((format!("{list}: `{name}` is in effect"), help));
    }
    let refusable = rows.iter().filter(|row| row.class != Class::Harmless).map(|row| row.name);
    let help = format!("take it out of the list{}", hint(name, refusable));
    Some((format!("{list}: there is no option, stanza or module `{name}`"), help))
}
