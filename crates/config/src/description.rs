//! What an operator can be told about every word of the configuration: its state, type, scopes, fallback and meaning.
//!
//! In: the registry. Out: one [`Description`] for each declaration and each documented row, which the console, the
//! manual and the machine description all read. Pure.

use std::fmt;

use serde_json::{Value as Json, json};

use crate::documented::{CORE, Class, Row, Unsupported};
use crate::fallback::{FallbackChain, chains};
use crate::generation::Generation;
use crate::ineffective::ACCEPT_INEFFECTIVE;
use crate::lookup::Lookup;
use crate::patterns::compile_pattern;
use crate::registry::{Awaited, Declaration, Place, Places, Registry};
use crate::scope::{ScopeId, bits};
use crate::tree::Value;
use crate::types::Shape;
use crate::words::{WORDS, Word};

/// Whether a word of the file has an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionState {
    /// Some room reads it.
    InEffect,
    /// Documented and accepted; the room that would read it does not exist yet.
    NotYet,
    /// Documented and accepted; will not come.
    NotSupported(Unsupported),
}

impl OptionState {
    /// The state in one or two words: what `config options` filters on.
    pub fn word(&self) -> &'static str {
        match self {
            OptionState::InEffect => "in effect",
            OptionState::NotYet => "not yet",
            OptionState::NotSupported(_) => "not supported",
        }
    }

    /// For a warning: what it is, and what to do about it.
    pub(crate) fn sentence(&self) -> (&'static str, String) {
        match self {
            OptionState::InEffect => ("in effect", String::new()),
            OptionState::NotYet => ("accepted, not yet in effect", String::new()),
            OptionState::NotSupported(reason) => ("not supported here", reason.to_string()),
        }
    }
}

/// What is known of a word that nothing carries out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ineffective {
    /// Whether a file that asks for it is loaded.
    pub class: Class,
    /// What happens instead: "mail leaves in the clear". Empty for what is harmless, and where its stanza says it.
    pub instead: &'static str,
    /// Values that ask for nothing, separated by commas, beside empty ones.
    pub asks_nothing: &'static str,
    /// Whether `accept_ineffective` of the generation that describes it names it.
    pub accepted: bool,
}

impl Ineffective {
    fn sentence(&self) -> String {
        let instead = if self.instead.is_empty() { String::new() } else { format!(": {}", self.instead) };
        match (self.class, self.accepted) {
            (Class::Harmless, _) => "harmless, a file that asks for it is loaded with a warning".to_owned(),
            (class, false) => format!("{}, a file that asks for it is refused{instead}", class.word()),
            (class, true) => format!("{}, accepted by accept_ineffective{instead}", class.word()),
        }
    }
}

/// One option, scope, module or directive in one set of scopes. A name with several meanings has several descriptions.
#[derive(Clone, Debug)]
pub struct Description {
    /// In lower case.
    pub name: &'static str,
    /// The module it belongs to, or `core`.
    pub owner: &'static str,
    /// Whether it has an effect.
    pub state: OptionState,
    /// `option`, `scope`, `module` or `directive`.
    pub kind: &'static str,
    /// What a value must be: "a number of seconds". Empty for a scope or module.
    pub value: String,
    /// The same for a machine.
    pub shape: Shape,
    /// The words it is one of; empty when other text is a value too, or nobody says.
    pub words: Vec<String>,
    /// As it would stand in the file; empty when unset.
    pub default: &'static str,
    /// The scopes it may stand in, in words.
    pub scopes: Vec<String>,
    /// Whether a reload changes it in a running daemon; `None` where nobody says.
    pub tunable: Option<bool>,
    /// One line.
    pub meaning: &'static str,
    /// What it means that nothing carries it out; none when it is in effect.
    pub ineffective: Option<Ineffective>,
    chains: Vec<FallbackChain>,
    /// As documented, where it does not follow from the scopes.
    documented_fallback: &'static str,
}

impl Description {
    fn declared(name: &'static str, declaration: &Declaration) -> Self {
        let option = declaration.option;
        let is_value = |word: &str| option.parse_any(&Value::from_text(word), ScopeId::default()).is_ok();
        let words = if option.shape() == Shape::Words { words_of(option.expected(), &is_value) } else { Vec::new() };
        let shape = if words.is_empty() && option.shape() == Shape::Words { Shape::Text } else { option.shape() };
        Description {
            name,
            owner: declaration.owner,
            state: OptionState::InEffect,
            kind: "option",
            value: option.expected().to_owned(),
            shape,
            words,
            default: option.default_text(),
            scopes: declaration.places.list(),
            tunable: Some(option.tunable()),
            meaning: option.doc(),
            ineffective: None,
            chains: chains(declaration.places.mask | option.extra_mask()),
            documented_fallback: "",
        }
    }

    /// A directive, or a stanza that some room reads.
    fn word(word: &Word) -> Self {
        Description {
            name: word.name,
            owner: CORE,
            state: OptionState::InEffect,
            kind: word.kind,
            value: String::new(),
            shape: Shape::Text,
            words: Vec::new(),
            default: "",
            scopes: word.scopes.iter().map(|scope| (*scope).to_owned()).collect(),
            tunable: Some(word.tunable),
            meaning: word.meaning,
            ineffective: None,
            chains: Vec::new(),
            documented_fallback: "",
        }
    }

    /// A row of the reference. If the name `is_declared` for listen stanzas, the row is about the listeners that do not exist:
    /// their listen and peer stanzas are told apart from those of the others.
    fn documented(row: &Row, places: &Places, is_declared: bool) -> Self {
        let (kind, value) = if row.is_option() { ("option", row.kind) } else { (row.kind, "") };
        let shape = match row.kind {
            "boolean" => Shape::Boolean,
            "integer" | "size (bytes)" => Shape::Integer,
            "integer (seconds)" => Shape::Seconds,
            "octal-perms" => Shape::Permissions,
            "throttle" => Shape::Rate,
            "regex" => Shape::Pattern,
            "sockaddr" => Shape::Address,
            "array" => Shape::Array,
            "dictionary" => Shape::Dictionary,
            "enum" => Shape::Words,
            _ => Shape::Text,
        };
        Description {
            name: row.name,
            owner: row.owner,
            state: row.state(),
            kind,
            value: value.to_owned(),
            shape,
            words: Vec::new(),
            default: row.default,
            scopes: if is_declared { places.list_by_listener() } else { places.list() },
            tunable: row.tunable,
            meaning: row.meaning,
            ineffective: Some(Ineffective {
                class: row.class,
                instead: row.instead,
                asks_nothing: row.asks_nothing,
                accepted: false,
            }),
            chains: if places.mask == u32::MAX { Vec::new() } else { chains(places.mask) },
            documented_fallback: row.fallback,
        }
    }

    /// Whether it is set by `name = value`.
    pub fn is_option(&self) -> bool {
        self.kind == "option"
    }

    /// When a change takes effect, in words.
    pub fn change(&self) -> &'static str {
        match self.tunable {
            Some(true) => "takes effect with a reload",
            Some(false) => "takes effect at the next start",
            None => "not documented",
        }
    }

    /// Each fallback chain as its steps in words, most specific first; see [`Description::fallback`].
    pub fn fallback_steps(&self) -> Vec<Vec<&'static str>> {
        let documented = !self.documented_fallback.is_empty();
        if documented { Vec::new() } else { self.chains.iter().map(FallbackChain::sentences).collect() }
    }

    /// The fallback chain, most specific first: `binding > domain > global`. Several are separated by `; `. An option of
    /// a stanza that stands alone has none.
    pub fn fallback(&self) -> String {
        match self.documented_fallback {
            "" => self.chains.iter().map(FallbackChain::short).collect::<Vec<_>>().join("; "),
            documented => documented.to_owned(),
        }
    }

    /// What a filter looks at: name, owner, state, and what it means to be without it.
    fn facets(&self) -> impl Iterator<Item = &'static str> {
        let class = self.ineffective.map(|own| own.class.word());
        let accepted = self.ineffective.filter(|own| own.accepted).map(|_| "accepted");
        [self.name, self.owner, self.state.word()].into_iter().chain(class).chain(accepted)
    }

    /// Whether a name, owner, state or class contains `filter`, without regard to case.
    pub fn contains(&self, filter: &str) -> bool {
        let filter = filter.to_ascii_lowercase();
        self.facets().any(|text| text.contains(&filter))
    }

    /// Those of which a name, owner, state or class is matched by a regular expression; the error says what is wrong with it.
    pub fn matching(all: Vec<Description>, pattern: &str) -> Result<Vec<Description>, String> {
        let (pattern, _) = compile_pattern(pattern, true)?;
        let matched = |one: &Description| one.facets().any(|text| pattern.is_match(text));
        Ok(all.into_iter().filter(matched).collect())
    }

    /// For a machine.
    pub fn to_json(&self) -> Json {
        let mut json = json!({
            "name": self.name,
            "owner": self.owner,
            "state": self.state.word(),
            "kind": self.kind,
            "type": if self.is_option() { self.shape.word() } else { self.kind },
            "value": self.value,
            "default": if self.default.is_empty() { Json::Null } else { self.default.into() },
            "scopes": self.scopes,
            "fallback": self.fallback(),
            "tunable": self.tunable,
            "meaning": self.meaning,
        });
        if let OptionState::NotSupported(reason) = self.state {
            json["served"] = reason.served.into();
            json["instead"] = reason.instead.into();
        }
        if let Some(ineffective) = self.ineffective {
            json["class"] = ineffective.class.word().into();
            json["without_it"] = ineffective.instead.into();
            json["accepted"] = ineffective.accepted.into();
        }
        if !self.words.is_empty() {
            json["values"] = self.words.clone().into();
        }
        json
    }

    /// Everything, for a person: several lines.
    pub fn text(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let owner = if self.owner == CORE { "the core".to_owned() } else { format!("module {}", self.owner) };
        writeln!(f, "{} ({} of {owner}): {}", self.name, self.kind, self.state.word())?;
        writeln!(f, "    {}", self.meaning)?;
        if let OptionState::NotSupported(reason) = self.state {
            writeln!(f, "  not supported: {reason}")?;
        }
        if let Some(ineffective) = self.ineffective {
            writeln!(f, "  without:  {}", ineffective.sentence())?;
        }
        if self.is_option() {
            writeln!(f, "  value:    {}", self.value)?;
            writeln!(f, "  default:  {}", if self.default.is_empty() { "unset" } else { self.default })?;
            writeln!(f, "  change:   {}", self.change())?;
        }
        writeln!(f, "  scopes:   {}", self.scopes.join(", "))?;
        for steps in self.fallback_steps() {
            writeln!(f, "  asked in this order, the first that sets it answers, else the default:")?;
            steps.iter().enumerate().try_for_each(|(at, step)| writeln!(f, "    {}. {step}", at + 1))?;
        }
        match self.documented_fallback {
            "" => Ok(()),
            documented => writeln!(f, "  fallback: {documented}"),
        }
    }
}

impl Registry {
    /// Everything that may stand in a file, in the order of names, then owners.
    pub fn describe(&self) -> Vec<Description> {
        let mut all: Vec<Description> = Vec::new();
        for info in self.infos() {
            all.extend(info.declared.iter().map(|declaration| Description::declared(info.name, declaration)));
            let is_declared = info.declared.iter().any(|declaration| declaration.places.mask & bits::LISTEN != 0);
            let documented = |Awaited { row, places }: &Awaited| Description::documented(row, places, is_declared);
            all.extend(info.documented.iter().map(documented));
        }
        let of_row = |row: &Row| Description::documented(row, &Places::documented(row.scopes), false);
        all.extend(self.awaited_stanzas().map(of_row));
        all.extend(WORDS.iter().map(Description::word));
        all.sort_by(|one, other| (one.name, one.owner, &one.scopes).cmp(&(other.name, other.owner, &other.scopes)));
        all
    }

    /// The state of an option at a place; `None` when it is not valid there.
    pub(crate) fn state_of(&self, name: &str, place: &Place<'_>) -> Option<OptionState> {
        let info = self.name_id(name).and_then(|id| self.info(id))?;
        match info.declaration_at(place) {
            Some(_) => Some(OptionState::InEffect),
            None => info.documented_at(place).map(|awaited| awaited.row.state()),
        }
    }
}

impl Generation {
    /// As [`Registry::describe`], and which of them this generation accepts without effect.
    pub fn describe(&self) -> Vec<Description> {
        let names: Vec<String> =
            self.get(&ACCEPT_INEFFECTIVE, &Lookup::Global).iter().map(|name| name.to_ascii_lowercase()).collect();
        let mut all = self.registry().describe();
        for one in &mut all {
            let is_named = names.iter().any(|name| name == one.name || one.owner != CORE && name == one.owner);
            if let Some(ineffective) = one.ineffective.as_mut().filter(|own| own.class != Class::Harmless) {
                ineffective.accepted = is_named;
            }
        }
        all
    }
}

impl Row {
    /// Whether it will come.
    pub(crate) fn state(&self) -> OptionState {
        self.unsupported().map_or(OptionState::NotYet, OptionState::NotSupported)
    }
}

/// The words that "a, b or c" names, if each of them is a value and nothing else is said; else none.
fn words_of(expected: &str, is_value: &dyn Fn(&str) -> bool) -> Vec<String> {
    let listed = expected.strip_prefix("one of ").unwrap_or(expected).replace(" or ", ", ");
    let words: Vec<String> = listed.split(", ").filter(|word| !word.is_empty()).map(str::to_owned).collect();
    let is_closed = words.iter().all(|word| !word.contains(' ') && is_value(word));
    if is_closed { words } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Opt, Seconds, scopes};

    static RETRY_INTERVAL: Opt<Seconds> =
        Opt::new("retry_interval", "1200", scopes::DOMAIN, "Seconds before the first retry.");

    fn described(name: &str) -> Vec<Description> {
        let mut registry = Registry::new();
        registry.add(&RETRY_INTERVAL);
        registry.describe().into_iter().filter(|one| one.name == name).collect()
    }

    #[test]
    fn a_declaration_is_in_effect_and_says_everything() {
        let own = described("retry_interval").into_iter().find(|one| one.state == OptionState::InEffect);
        let text = own.expect("declared").text();
        let expected = "retry_interval (option of the core): in effect\n    Seconds before the first retry.\n\
                        \x20 value:    a number of seconds\n  default:  1200\n  change:   takes effect with a reload\n\
                        \x20 scopes:   global, domain\n\
                        \x20 asked in this order, the first that sets it answers, else the default:\n\
                        \x20   1. the domain\n    2. the global scope\n";
        assert_eq!(text, expected);
    }

    static IDLE_TIME: Opt<Seconds> =
        Opt::new("idle_time", "300", scopes::LISTENER, "Seconds a client may say nothing.");

    #[test]
    fn directives_and_stanzas_that_are_read_are_in_effect() {
        for (name, kind, scope) in [
            ("include", "directive", "any scope"),
            ("readonly_include", "directive", "any scope"),
            ("binding", "scope", "binding_group"),
            ("listen", "scope", "esmtp_listener"),
        ] {
            let told = described(name);
            assert!(told.len() == 1 && told[0].state == OptionState::InEffect && told[0].kind == kind, "{told:?}");
            assert!(told[0].scopes.iter().any(|own| own == scope) && !told[0].is_option(), "{told:?}");
        }
    }

    #[test]
    fn sockets_of_listeners_that_do_not_exist_are_told_apart_from_those_that_do() {
        let mut registry = Registry::new();
        registry.add(&IDLE_TIME);
        let told: Vec<Description> = registry.describe().into_iter().filter(|one| one.name == "idle_time").collect();
        let find = |state| told.iter().find(|one| one.state == state).expect("one of the state");
        assert!(find(OptionState::InEffect).scopes.iter().any(|scope| scope == "listen"));
        let awaited = find(OptionState::NotYet);
        assert!(awaited.scopes.iter().any(|scope| scope == "listen in http_listener"), "{awaited}");
        assert!(!awaited.scopes.iter().any(|scope| scope == "listen"), "{awaited}");
    }

    #[test]
    fn what_will_not_come_says_what_to_use_instead() {
        let smpp = &described("smpp")[0];
        assert_eq!((smpp.state.word(), smpp.kind), ("not supported", "module"));
        assert!(smpp.text().contains("use instead: a gateway made for them"), "{smpp}");
        assert_eq!(smpp.to_json()["instead"], "a gateway made for them");
    }

    #[test]
    fn what_may_come_is_not_yet() {
        let banner = &described("conntrol")[0];
        assert_eq!(banner.state, OptionState::NotYet);
        assert!(banner.contains("NOT YET") && banner.contains("conn") && !banner.contains("core"));
    }

    #[test]
    fn words_are_listed_only_when_each_is_a_value_and_no_other_is_one() {
        let any = |word: &str| ["none", "auto"].contains(&word);
        assert_eq!(words_of("none or auto", &any), ["none", "auto"]);
        assert!(words_of("none, auto, or a number", &any).is_empty());
        assert!(words_of("none or some", &any).is_empty());
    }
}
