//! The words of the language that are no options: its directives, and the stanzas that rooms of this build read.
//!
//! Told to operators beside the options; `include` and `kinds` carry them out. Pure data. A documented stanza that nobody
//! reads stands in `documented.tsv` instead, and its row leaves that file for one here when somebody does.

/// One word.
pub(crate) struct Word {
    /// In lower case.
    pub name: &'static str,
    /// `directive` or `scope`.
    pub kind: &'static str,
    /// Where it may stand.
    pub scopes: &'static [&'static str],
    /// Whether a reload follows it.
    pub tunable: bool,
    pub meaning: &'static str,
}

const fn directive(name: &'static str, meaning: &'static str) -> Word {
    Word { name, kind: "directive", scopes: &["any scope"], tunable: true, meaning }
}

const fn scope(name: &'static str, scopes: &'static [&'static str], meaning: &'static str) -> Word {
    Word { name, kind: "scope", scopes, tunable: true, meaning }
}

const fn at_start(word: Word) -> Word {
    Word { tunable: false, ..word }
}

const GLOBAL: &[&str] = &["global"];
const OUTBOUND: &[&str] = &["global", "binding_group", "binding"];

/// Every word, by name.
pub(crate) const WORDS: &[Word] = &[
    scope("binding", &["global", "binding_group"], "binding \"name\" { }: an outbound identity that mail leaves by."),
    scope("binding_group", GLOBAL, "binding_group \"name\" { }: bindings that share settings."),
    scope("control_listener", GLOBAL, "Where the console is listened for: its listen stanzas stand inside."),
    scope("debug_flags", GLOBAL, "Which subsystems write to the paniclog, for each level."),
    scope(
        "domain",
        OUTBOUND,
        "domain \"name\" { }: mail for one domain, an address literal, or what a /pattern/ matches.",
    ),
    scope("esmtp_listener", GLOBAL, "Where mail is listened for: its listen stanzas stand inside."),
    at_start(scope("eventloop", GLOBAL, "eventloop \"name\" { }: a pool of event loops.")),
    scope("host", OUTBOUND, "host \"name\" { }: limits for one remote host, or for those that a /pattern/ matches."),
    directive(
        "include",
        "include \"target\": the text of a file, of all files of a directory, or of a URL continues the scope it stands in.",
    ),
    scope(
        "listen",
        &["esmtp_listener", "control_listener"],
        "listen \"address:port\" { }: one socket of a listener; with a slash, the path of a Unix socket.",
    ),
    scope(
        "pathway",
        &["global", "pathway_group"],
        "pathway \"name\" { }: inbound options that a listen stanza takes by name.",
    ),
    scope("pathway_group", GLOBAL, "pathway_group \"name\" { }: pathways that share settings."),
    scope(
        "peer",
        &["esmtp_listener", "control_listener", "listen"],
        "peer \"address/bits\" { }: options for the clients of one network.",
    ),
    directive("readonly_include", "As include; changes made from the console are never written to what it names."),
    at_start(scope("security", GLOBAL, "The user, group and capabilities of the daemon after its start.")),
    scope("threadpool", GLOBAL, "threadpool \"name\" { }: a pool of threads for what blocks."),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::KINDS;

    #[test]
    fn a_stanza_of_the_core_may_stand_where_its_word_says() {
        let bit = |word: &&str| match *word {
            "global" => crate::scope::bits::GLOBAL,
            word => KINDS.iter().find(|kind| kind.word == word).expect("a stanza of the core").bit,
        };
        for word in WORDS.iter().filter(|word| word.kind == "scope") {
            let kind = KINDS.iter().find(|kind| kind.word == word.name).expect("a stanza of the core");
            assert_eq!(kind.parents, word.scopes.iter().map(bit).fold(0, |all, bit| all | bit), "{}", word.name);
        }
        assert!(WORDS.is_sorted_by_key(|word| word.name));
    }
}
