//! The order of the reference: what is in effect by owner, then what is not yet, then what is not supported.

use std::collections::BTreeMap;

use config::{Description, OptionState};

/// Everything the reference tells, sorted into its chapters.
pub(super) struct Chapters {
    /// Options in effect by owner, the core first, each group by name.
    pub in_effect: Vec<(&'static str, Vec<Description>)>,
    /// Documented words without effect so far.
    pub awaited: Vec<Description>,
    /// Documented words that will have none.
    pub unsupported: Vec<Description>,
}

impl Chapters {
    pub fn of(described: Vec<Description>) -> Self {
        let mut by_owner: BTreeMap<(bool, &'static str), Vec<Description>> = BTreeMap::new();
        let (mut awaited, mut unsupported) = (Vec::new(), Vec::new());
        for one in described {
            match one.state {
                OptionState::InEffect => by_owner.entry((one.owner != CORE, one.owner)).or_default().push(one),
                OptionState::NotYet => awaited.push(one),
                OptionState::NotSupported(_) => unsupported.push(one),
            }
        }
        let in_effect = by_owner.into_iter().map(|((_, owner), options)| (owner, options)).collect();
        Chapters { in_effect, awaited, unsupported }
    }

    /// Every description, in the order of the chapters.
    pub fn all(&self) -> impl Iterator<Item = &Description> {
        self.in_effect.iter().flat_map(|(_, options)| options).chain(&self.awaited).chain(&self.unsupported)
    }
}

/// What tells a description from those of the same name and owner: "In host: ", or nothing where it stands alone. Only the
/// first of them has a heading.
pub(super) fn apart(all: &[Description], one: &Description) -> Option<String> {
    let alone = all.iter().filter(|other| other.name == one.name).count() < 2;
    (!alone).then(|| match one.kind {
        "option" => format!("In {}: ", one.scopes.join(", ")),
        kind => format!("As a {kind}: "),
    })
}

/// Whether it is the first of its name, and so has the heading.
pub(super) fn is_first(all: &[Description], one: &Description) -> bool {
    all.iter().find(|other| other.name == one.name).is_some_and(|first| std::ptr::eq(first, one))
}

/// The title of an owner's options.
pub(super) fn title(owner: &str) -> String {
    if owner == CORE { "Options of the core".to_owned() } else { format!("Options of module {owner}") }
}

/// The facts of an option as pairs: what, and how it is.
pub(super) fn facts(one: &Description) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    if one.is_option() {
        facts.push(("Value", one.value.clone()));
        facts.push(("Default", if one.default.is_empty() { "unset".to_owned() } else { one.default.to_owned() }));
        facts.push(("Change", one.change().to_owned()));
    }
    facts.push(("Scopes", one.scopes.join(", ")));
    let fallback = one.fallback();
    if fallback.contains('>') {
        facts.push(("Fallback", fallback));
    }
    facts
}

/// What stands for the state of a chapter.
pub(super) const AWAITED: &str = "Accepted, not yet in effect";
pub(super) const AWAITED_TEXT: &str = "These words are documented and a file may hold them, but nothing in this build reads them: a load names each once.";
pub(super) const UNSUPPORTED: &str = "Not supported";
pub(super) const UNSUPPORTED_TEXT: &str = "These words belong to integrations that this product does not have. A file may \
                                           hold them; a load names each once and says what to use instead.";
pub(super) const INTRODUCTION: &str = "An option is set by name = value, in the global scope or inside the braces of a scope. The value in effect is the one \
     of the most specific scope that sets it, along the fallback chain of the option; where nothing sets it, its default. \
     Names are read without regard to case.";
const CORE: &str = "core";
