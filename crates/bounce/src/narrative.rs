//! The text for people of a bounce: whom it names, and what it says of each.
//!
//! Programs write the address of each recipient that failed at the beginning of a line, and the reason on it and below. Pure, and
//! linear in the text but for what is said of a recipient in up to [`MENTIONS_MAX`] places.

use smtp::Mailbox;

/// A text, in front of the original that it returns.
#[derive(Clone, Copy)]
pub(crate) struct Narrative<'a> {
    /// What the mail system says.
    pub(crate) text: &'a str,
    /// What follows the line that announces the original; empty if there is none.
    pub(crate) original: &'a str,
}

/// A recipient that a text names as one that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Named<'a> {
    /// The address, as it stands there.
    pub(crate) address: &'a str,
    /// The address it was made from by an alias, which the sender knows.
    pub(crate) expanded_from: Option<&'a str>,
    /// It stands in angle brackets, so that it may be that of a mail system too.
    pub(crate) is_bracketed: bool,
}

impl<'a> Narrative<'a> {
    /// Parts a text from the original that some programs put behind it without MIME.
    pub(crate) fn of(text: &'a str) -> Self {
        let mut at = 0;
        for line in text.split_inclusive('\n') {
            let words = line.trim_matches(|c: char| !c.is_ascii_alphanumeric()).to_ascii_lowercase();
            let is_rule = line.trim_start().starts_with("--") || line.trim_start().starts_with("==");
            if is_rule && ORIGINAL_FOLLOWS.iter().any(|phrase| words.contains(phrase)) {
                let (text, original) = text.split_at(at);
                return Self { text, original };
            }
            at += line.len();
        }
        Self { text, original: "" }
    }

    /// Everyone at the beginning of a line of his own; else everyone a reply that is quoted begins with. Each once, in order.
    pub(crate) fn named(&self) -> Vec<Named<'a>> {
        let mut all: Vec<Named<'a>> = Vec::new();
        for of_line in [named_by, named_by_reply] {
            for named in self.lines().filter_map(of_line) {
                let is_new = !all.iter().any(|known| known.address.eq_ignore_ascii_case(named.address));
                if is_new && all.len() < RECIPIENTS_MAX {
                    all.push(named);
                }
            }
            if !all.is_empty() {
                break;
            }
        }
        all
    }

    /// What is said of a recipient: each place that names him, to the line that names the next one.
    pub(crate) fn about(&self, named: &Named<'a>) -> impl Iterator<Item = &'a str> {
        let text = self.text;
        let mentions = self.lines().filter(move |line| mentions(line, named.address)).take(MENTIONS_MAX);
        let address = named.address;
        mentions.map(move |line| {
            let begin = line.as_ptr() as usize - text.as_ptr() as usize;
            let rest = &text[begin..];
            let mut end = 0;
            for (place, line) in rest.split_inclusive('\n').enumerate() {
                let names_another = named_by(line).or_else(|| named_by_reply(line));
                let is_another = names_another.is_some_and(|other| !other.address.eq_ignore_ascii_case(address));
                if 0 < place && (BLOCK_LINES_MAX <= place || is_another) {
                    break;
                }
                end += line.len();
            }
            &rest[..end]
        })
    }

    /// Addresses in sentences, those beside a reply code first: but no name of a message, and nobody who is to be asked.
    pub(crate) fn mentioned(&self) -> impl Iterator<Item = &'a str> {
        let about_failure = |line: &&str| !is_about_something_else(line);
        let with_code = self.lines().filter(about_failure).filter(|line| has_code(line));
        let others = self.lines().filter(about_failure).filter(|line| !has_code(line));
        with_code.chain(others).flat_map(addresses).take(ADDRESSES_MAX)
    }

    fn lines(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.text.lines().filter(|line| !line.trim().is_empty()).take(LINES_MAX)
    }
}

/// `<ann@shop.example>: …`, `ann@shop.example`, `Recipient: <ann@shop.example>`, `RCPT To:<ann@shop.example>`.
fn named_by(line: &str) -> Option<Named<'_>> {
    let mut rest =
        line.trim_start_matches(|c: char| c.is_whitespace() || matches!(c, '*' | '>' | '-' | '•' | '\'' | '"' | '['));
    for label in LABELS {
        rest = strip_prefix(rest, label).map_or(rest, str::trim_start);
    }
    let is_bracketed = rest.starts_with('<');
    let rest = rest.trim_start_matches(['<', '\'', '"']);
    let end = rest.find(|c: char| !is_part(c)).unwrap_or(rest.len());
    let address = trimmed(&rest[..end]);
    if Mailbox::parse(address).is_err() || !address.contains('@') || is_about_something_else(line) {
        return None;
    }
    let rest = rest[address.len()..].trim_start_matches(['>', '\'', '"', ']']).trim_start();
    let told = rest.is_empty()
        || rest.starts_with([':', '(', '.', ',', ';', '-', '<', '[', '='])
        || strip_prefix(rest, "on ").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        || FAILS.iter().any(|word| strip_prefix(rest, word).is_some());
    told.then(|| Named { address, expanded_from: expanded_from(rest), is_bracketed })
}

/// `550 5.1.1 <ann@shop.example>... User unknown`, also behind `<<<`.
fn named_by_reply(line: &str) -> Option<Named<'_>> {
    let reply = line.trim_start().trim_start_matches("<<<").trim_start();
    if !has_code(reply) || !reply.starts_with(['4', '5']) {
        return None;
    }
    let word = reply.split_whitespace().skip(1).take(2).find(|word| word.contains('@'))?;
    let address = addresses(word).next()?;
    Mailbox::parse(address).is_ok().then_some(Named {
        address,
        expanded_from: None,
        is_bracketed: word.starts_with('<'),
    })
}

/// `(expanded from <ann@here.example>)` of Postfix, `(generated from ann@here.example)` of Exim, on the same line.
fn expanded_from(rest: &str) -> Option<&str> {
    let note = strip_prefix(rest, "(expanded from").or_else(|| strip_prefix(rest, "(generated from"))?;
    addresses(note.split(')').next()?).next()
}

/// The whole of an address, not the end of a longer one.
fn mentions(line: &str, address: &str) -> bool {
    addresses(line).any(|found| found.eq_ignore_ascii_case(address))
}

/// It names a message, a sender or somebody to ask.
fn is_about_something_else(line: &str) -> bool {
    let lower = line.to_ascii_lowercase();
    OTHERS.iter().any(|word| lower.contains(word)) && !has_code(line)
        || NO_ADDRESSES.iter().any(|word| lower.contains(word))
}

/// A reply code or an enhanced status code stands in it.
fn has_code(line: &str) -> bool {
    line.split(|c: char| !c.is_ascii_digit() && c != '.').any(|word| match word.len() {
        3 => word.starts_with(['4', '5']) && word.bytes().all(|octet| octet.is_ascii_digit()),
        length => 4 < length && smtp::reply::parse_enhanced(word.trim_end_matches('.')).is_some(),
    })
}

/// What looks like an address in a line.
pub(crate) fn addresses(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !is_part(c)).map(trimmed).filter(|word| 0 < word.find('@').unwrap_or(0))
}

/// Without what is glued to it: `ann@shop.example...User`.
fn trimmed(word: &str) -> &str {
    let word = word.trim_matches(|c: char| "'*=_`.-".contains(c));
    let at = word.find('@').unwrap_or(0);
    word[at..].find("..").map_or(word, |dots| &word[..at + dots])
}

fn is_part(c: char) -> bool {
    c.is_ascii_alphanumeric() || !c.is_ascii() || "!#$%&'*+-/=?^_`{|}~.@".contains(c)
}

pub(crate) fn strip_prefix<'a>(line: &'a str, prefix: &str) -> Option<&'a str> {
    line.get(..prefix.len()).filter(|begin| begin.eq_ignore_ascii_case(prefix)).map(|_| &line[prefix.len()..])
}

/// What stands before an address that failed. Lower case.
const LABELS: &[&str] = &[
    "failed recipient:",
    "failed recipients:",
    "recipient:",
    "recipients:",
    "recipient address:",
    "rcpt to:",
    "mailto:",
    "to:",
    "user ",
    "address:",
    "addressee:",
    "unknown user:",
    "could not deliver to:",
    "undeliverable to ",
];

/// What stands behind it, if it stands alone in no line. Lower case.
const FAILS: &[&str] = &[
    "is ", "was ", "does ", "could ", "cannot ", "not ", "has ", "user ", "unknown", "mailbox ", "no such", "said",
    "failed",
];

/// What a line is about that names a sender, or somebody who helps. Lower case.
const OTHERS: &[&str] = &[
    "contact",
    "assistance",
    "please send",
    "write to",
    "for help",
    "help desk",
    "helpdesk",
    "support",
    "questions",
    "further information",
    "administrator",
    "reply-to",
    "return-path",
    "envelope-from",
    "mail from:",
    "sender:",
    "from:",
    "sent by",
    "report this",
    "forward this",
    "abuse@",
    "mailto:abuse",
    "cc:",
    "x-mailer",
    "delivered-to",
    "on behalf of",
];

/// What looks like an address there is the name of a message. Lower case.
const NO_ADDRESSES: &[&str] =
    &["message-id", "message id", "in-reply-to", "references:", "content-id", "msgid", "msg-id"];

/// What a line of dashes says before an original that is no part of its own. Lower case.
const ORIGINAL_FOLLOWS: &[&str] = &[
    "copy of the message",
    "copy of your message",
    "original message",
    "message header",
    "unsent message",
    "returned message",
    "message follows",
];

/// Lines of a text that are looked at.
pub(crate) const LINES_MAX: usize = 1000;
/// Addresses of a text that are looked at.
const ADDRESSES_MAX: usize = 50;
/// Recipients that a text names.
const RECIPIENTS_MAX: usize = message::report::RECIPIENTS_MAX;
/// Places that are looked at for what is said of one recipient.
const MENTIONS_MAX: usize = 4;
/// Lines of such a place.
const BLOCK_LINES_MAX: usize = 14;
