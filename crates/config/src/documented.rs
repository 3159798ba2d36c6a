//! What the reference documents and no room of this build declares: options, scopes and modules, from data files.
//!
//! In: `documented.tsv`, one row each, and `unsupported.tsv`, why some of them will not come. Out: [`Row`]s for the
//! registry, with the [`Class`] that says what it means to be without it, and the [`Unsupported`] reason of a row. Pure; the files are part of the program, and their tests hold them
//! to the declarations.

use crate::tree::{Value, ValueKind};
use crate::types::OptionType as _;

/// One row of `documented.tsv`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub name: &'static str,
    /// A module, or `core`.
    pub owner: &'static str,
    /// `boolean`, `integer (seconds)`, and for what is no option: `scope`, `directive`, `module`.
    pub kind: &'static str,
    /// As documented; empty when unset.
    pub default: &'static str,
    /// Words separated by commas; `parent::word` for a nested one, `module` for every module's stanza, `any`.
    pub scopes: &'static str,
    /// Only where it does not follow from the scopes.
    pub fallback: &'static str,
    /// `None` where the documentation is silent.
    pub tunable: Option<bool>,
    pub tier: &'static str,
    pub class: Class,
    /// Values that ask for nothing, separated by commas, beside empty ones.
    pub asks_nothing: &'static str,
    /// What happens without it: "mail leaves in the clear". Empty for what is harmless, and where its stanza says it.
    pub instead: &'static str,
    pub meaning: &'static str,
}

/// What it means that nothing carries out a documented word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Nothing is worse without it: a warning.
    Harmless,
    /// It restricts, verifies, signs, encrypts, authenticates, denies or caps: refused, unless the operator accepts it.
    Protective,
    /// It says where mail goes, or as whom: refused, unless the operator accepts it.
    Routing,
}

impl Class {
    /// In one word, as the data file has it.
    pub fn word(self) -> &'static str {
        match self {
            Class::Harmless => "harmless",
            Class::Protective => "protective",
            Class::Routing => "routing",
        }
    }

    fn of(word: &str) -> Option<Self> {
        [Class::Harmless, Class::Protective, Class::Routing].into_iter().find(|class| class.word() == word)
    }
}

/// Why something documented is not here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsupported {
    /// What it served: "clustering over a proprietary group-communication bus".
    pub served: &'static str,
    /// What to use; begins with "nothing: " when there is nothing to replace.
    pub instead: &'static str,
}

impl std::fmt::Display for Unsupported {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.instead.strip_prefix("nothing: ") {
            Some(why) => write!(f, "it served {}, and needs no replacement: {why}", self.served),
            None => write!(f, "it served {}; use instead: {}", self.served, self.instead),
        }
    }
}

impl Row {
    /// Whether it stands for a setting, and not for a stanza or a directive.
    pub fn is_option(&self) -> bool {
        !matches!(self.kind, "scope" | "directive" | "module")
    }

    /// Whether a value asks for something: one that is empty, or that says what happens anyway, is as good as no line.
    pub fn asks(&self, value: &Value) -> bool {
        let Some(elements) = value.elements() else {
            return !matches!(&value.kind, ValueKind::Dict(pairs) if pairs.is_empty());
        };
        let is_nothing = |text: &str| self.asks_nothing.split(',').any(|word| means_the_same(word, text));
        elements.iter().any(|one| !one.text().trim().is_empty() && !is_nothing(one.text().trim()))
    }

    /// Why it is not supported; `None` when it is only not built yet.
    pub fn unsupported(&self) -> Option<Unsupported> {
        let own = || reason_for(self.name).filter(|_| self.owner == CORE || self.name == self.owner);
        match self.tier {
            UNSUPPORTED_TIER => own().or_else(|| reason_for(self.owner)).or_else(|| self.in_unsupported_scopes()),
            _ => self.in_unsupported_scopes(),
        }
    }

    /// The reason of the stanzas that it could only stand in. A listen or peer stanza is no better than its listener.
    fn in_unsupported_scopes(&self) -> Option<Unsupported> {
        let scopes = self.scopes.split(',').map(|scope| scope.split("::").next().unwrap_or(scope));
        let mut reasons = scopes.filter(|scope| !["listen", "peer"].contains(scope)).map(reason_for);
        let first = reasons.next()??;
        reasons.all(|reason| reason.is_some()).then_some(first)
    }
}

/// Whether two words are the same value: without regard to case, and in any spelling of true and false.
fn means_the_same(word: &str, text: &str) -> bool {
    let truth = |text: &str| bool::parse(&Value::from_text(text)).ok();
    word.eq_ignore_ascii_case(text) || truth(word).is_some_and(|own| truth(text) == Some(own))
}

/// Every row.
pub(crate) fn rows() -> impl Iterator<Item = Row> {
    lines(DOCUMENTED).filter_map(|line| match fields(line)[..] {
        [name, owner, kind, default, scopes, fallback, tunable, tier, class, asks_nothing, instead, meaning] => {
            let class = Class::of(class)?;
            let tunable = match tunable {
                "yes" => Some(true),
                "no" => Some(false),
                _ => None,
            };
            Some(Row {
                name,
                owner,
                kind,
                default,
                scopes,
                fallback,
                tunable,
                tier,
                class,
                asks_nothing,
                instead,
                meaning,
            })
        }
        _ => None,
    })
}

fn reason_for(word: &str) -> Option<Unsupported> {
    lines(UNSUPPORTED).find_map(|line| match fields(line)[..] {
        [words, served, instead] if words.split(' ').any(|own| own == word) => Some(Unsupported { served, instead }),
        _ => None,
    })
}

fn lines(file: &'static str) -> impl Iterator<Item = &'static str> {
    file.lines().filter(|line| !line.starts_with('#'))
}

fn fields(line: &'static str) -> Vec<&'static str> {
    line.split('\t').collect()
}

/// The owner of what belongs to no module.
pub(crate) const CORE: &str = "core";

/// The tier of integrations that are not planned.
const UNSUPPORTED_TIER: &str = "C";

const DOCUMENTED: &str = include_str!("documented.tsv");
const UNSUPPORTED: &str = include_str!("unsupported.tsv");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_data_files_is_read() {
        assert_eq!(rows().count(), lines(DOCUMENTED).count());
        for line in lines(UNSUPPORTED) {
            assert!(fields(line).len() == 3 && fields(line).iter().all(|field| !field.is_empty()), "{line:?}");
        }
    }

    #[test]
    fn every_row_says_what_it_means() {
        for row in rows() {
            assert!(!row.meaning.is_empty() && !row.scopes.is_empty(), "{row:?}");
            assert!(["A", "B", "C"].contains(&row.tier), "{row:?}");
        }
    }

    #[test]
    fn what_is_not_supported_has_a_reason_and_what_is_planned_has_none() {
        let planned: Vec<&str> =
            rows().filter(|row| row.kind == "module" && row.tier != "C").map(|row| row.name).collect();
        for row in rows().filter(|row| row.tier == "C" && row.unsupported().is_none()) {
            let coming = planned.contains(&row.owner) || PARTS_OF_PLANNED_MODULES.contains(&row.name);
            assert!(coming, "{} of {} needs a line in unsupported.tsv", row.name, row.owner);
        }
    }

    /// Options of the core that belong to modules still to come, or to rooms that are.
    const PARTS_OF_PLANNED_MODULES: &[&str] = &[
        "_unsafe_spool",
        "always_allow",
        "always_deny",
        "antivirus",
        "bzip2io",
        "delivery_pool",
        "event_loop",
        "eventloop",
        "maintainer_pool",
        "response_transcode_pattern",
        "response_transcode_replace",
        "syscontact",
        "sysdescription",
        "syslocation",
        "watch_interval",
        "watch_variables",
    ];
}
