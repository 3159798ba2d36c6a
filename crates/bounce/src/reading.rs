//! What a bounce that came as mail means: whose mail bounced, why, and with which class.
//!
//! Takes a [`Report`], which says what stands where, and gives one [`Bounced`] for each recipient that failed. A delivery status
//! (RFC 3464) is believed before the text for people, and that before the original that is returned. Pure but for the providers of
//! `core_bounce_error_classify`; linear in the text, which is bounded.
//!
//! Invariant: an address of the message itself, of its sender, or of `bounce_suppress_list` is never taken as the recipient.

use hooks::HookPoint;
use message::report::{Report, Reported};
use smtp::{AddressRules, Mailbox};

use crate::class::BounceClass;
use crate::classify::Classifier;
use crate::hook::{BounceErrorClassify, BounceText};

/// A recipient whose mail bounced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounced {
    /// Who; none if the bounce does not say.
    pub recipient: Option<Mailbox>,
    /// Why.
    pub class: BounceClass,
    /// Why, in the words of the bounce, on one line.
    pub reply: String,
}

/// What reports are read with.
pub(crate) struct Reading<'a> {
    pub(crate) classifier: &'a Classifier,
    pub(crate) providers: &'a HookPoint<BounceErrorClassify>,
    /// Addresses that are never taken as the recipient, in lower case.
    pub(crate) suppressed: &'a [String],
}

impl Reading<'_> {
    /// Everyone whose mail bounced: nobody if the report tells of success only.
    pub(crate) fn bounced(&self, report: &Report) -> Vec<Bounced> {
        if !report.recipients.is_empty() {
            let failed = report.recipients.iter().filter(|reported| !is_success(&reported.action));
            return failed.map(|reported| self.of_status(report, reported)).collect();
        }
        vec![self.of_request(report).or_else(|| self.of_answer(report)).unwrap_or_else(|| self.of_text(report))]
    }

    fn of_status(&self, report: &Report, reported: &Reported) -> Bounced {
        let named = [&reported.original, &reported.last].into_iter().flatten().map(String::as_str);
        // A status of one recipient that hides its address may still be told by the rest of the report.
        let elsewhere = if report.recipients.len() == 1 { self.mentioned(report, "") } else { None };
        let recipient = self.first_usable(report, named).or(elsewhere);
        let status = reported.status.map(|(class, subject, detail)| format!("{class}.{subject}.{detail}"));
        let (class, reply) = match (&reported.diagnostic, status) {
            (Some(diagnostic), status) => {
                let class = self.classified(diagnostic).map_or(BounceClass::UNDETERMINED, |(class, _)| class);
                (
                    class.or_else(|| status.map(|status| self.classifier.classify(&reply_of(&status)))),
                    diagnostic.clone(),
                )
            }
            (None, Some(status)) => {
                let reason = Reason::of(self, &report.text);
                let class = self.classifier.classify(&reply_of(&status));
                (
                    class.or_else(|| Some(reason.class)).or_else(|| Some(BounceClass::GENERIC_BOUNCE)),
                    format!("{status} {}", reason.line),
                )
            }
            (None, None) => Reason::of(self, &report.text).or_generic(),
        };
        let class = if reported.action == "delayed" { BounceClass::TRANSIENT_FAILURE } else { class };
        Bounced { class: with_recipient(class, &recipient), recipient, reply: one_line(&reply) }
    }

    /// Somebody asks to be, or not to be, on a list.
    fn of_request(&self, report: &Report) -> Option<Bounced> {
        let class = match report.subject.trim().to_ascii_lowercase().as_str() {
            "unsubscribe" | "remove" => BounceClass::UNSUBSCRIBE,
            "subscribe" => BounceClass::SUBSCRIBE,
            _ => return None,
        };
        Some(self.of_sender(report, class))
    }

    /// A program answers for somebody who got the mail.
    fn of_answer(&self, report: &Report) -> Option<Bounced> {
        if is_failure(report) {
            return None;
        }
        let class = match self.classified(&report.subject) {
            Some((class @ (BounceClass::AUTO_REPLY | BounceClass::CHALLENGE_RESPONSE), _)) => class,
            _ if report.is_automatic => match Reason::of(self, &report.text).class {
                BounceClass::CHALLENGE_RESPONSE => BounceClass::CHALLENGE_RESPONSE,
                _ => BounceClass::AUTO_REPLY,
            },
            _ => return None,
        };
        Some(self.of_sender(report, class))
    }

    fn of_sender(&self, report: &Report, class: BounceClass) -> Bounced {
        let recipient = report.from.iter().find_map(|address| self.usable(address));
        Bounced { recipient, class, reply: one_line(&report.subject) }
    }

    fn of_text(&self, report: &Report) -> Bounced {
        let (text, original) = split_at_original(&report.text);
        let recipient = self.mentioned(report, original);
        let (class, reply) = match Reason::of(self, text) {
            reason if is_failure(report) || recipient.is_some() => reason.or_generic(),
            reason => (reason.class, reason.line.to_owned()),
        };
        Bounced { class: with_recipient(class, &recipient), recipient, reply: one_line(&reply) }
    }

    /// The recipient that the header, the text or the original names.
    fn mentioned(&self, report: &Report, original: &str) -> Option<Mailbox> {
        let text = split_at_original(&report.text).0;
        let in_original = original.lines().find_map(|line| strip_prefix(line, "to:")).unwrap_or("");
        let failed = report.failed_recipients.iter().map(String::as_str);
        let returned = report.original_to.iter().map(String::as_str);
        self.first_usable(report, failed.chain(addresses(text)).chain(returned).chain(addresses(in_original)))
    }

    fn first_usable<'a>(&self, report: &Report, mut candidates: impl Iterator<Item = &'a str>) -> Option<Mailbox> {
        let is_sender = |address: &str| report.from.iter().any(|from| from.eq_ignore_ascii_case(address));
        candidates.find_map(|address| self.usable(address).filter(|_| !is_sender(address)))
    }

    /// The address, unless it is that of a mail system or one that is not to be taken.
    fn usable(&self, address: &str) -> Option<Mailbox> {
        let mailbox = Mailbox::parse_under(AddressRules::Relaxed, address).ok()?;
        let lower = address.to_ascii_lowercase();
        let is_system = SYSTEMS.contains(&mailbox.local_part().to_ascii_lowercase().as_str());
        (!is_system && !self.suppressed.contains(&lower) && mailbox.domain().contains(['.', '['])).then_some(mailbox)
    }

    /// The class of a text, and where its reason stands, as the providers or the rules have it; none if nobody knows.
    fn classified(&self, text: &str) -> Option<(BounceClass, usize)> {
        let mut args = BounceText { body: text, position: 0 };
        if let Some((class, _)) = self.providers.call_now(&mut args) {
            return Some((class, args.position));
        }
        let class = self.classifier.classify(text);
        class.is_known().then_some((class, 0))
    }
}

impl BounceClass {
    fn is_known(self) -> bool {
        self != Self::UNDETERMINED
    }

    /// Another class for what is undetermined.
    fn or_else(self, other: impl FnOnce() -> Option<Self>) -> Self {
        if self.is_known() { self } else { other().unwrap_or(self) }
    }
}

/// Why, as a text for people has it.
struct Reason<'a> {
    class: BounceClass,
    line: &'a str,
}

impl<'a> Reason<'a> {
    /// A line with a reply or status code goes before one without, and the first before a later one.
    fn of(reading: &Reading<'_>, text: &'a str) -> Self {
        let mut args = BounceText { body: text, position: 0 };
        if let Some((class, _)) = reading.providers.call_now(&mut args) {
            return Self { class, line: line_at(text, args.position) };
        }
        let classify = |statement: &str| reading.classifier.classify(statement);
        let mut unknown = "";
        for (line, statement) in statements(text) {
            let Some(reply) = reply_in(statement) else { continue };
            match classify(reply) {
                BounceClass::UNDETERMINED if unknown.is_empty() => unknown = line_of(reply, line),
                BounceClass::UNDETERMINED => {}
                class => return Self { class, line: line_of(reply, line) },
            }
        }
        let known =
            |(line, words): (&'a str, &str)| Some((line, classify(words))).filter(|(_, class)| class.is_known());
        let by_line = statements(text).find_map(|(line, _)| known((line, line)));
        match by_line.or_else(|| statements(text).find_map(known)) {
            Some((line, class)) => Self { class, line },
            None => Self { class: BounceClass::UNDETERMINED, line: unknown },
        }
    }

    /// A failure without any reason given is a bounce all the same.
    fn or_generic(self) -> (BounceClass, String) {
        let generic = !self.class.is_known() && self.line.is_empty();
        (if generic { BounceClass::GENERIC_BOUNCE } else { self.class }, self.line.to_owned())
    }
}

/// Each line that is not empty, and the text from it to the end of the second line after it: reasons are broken over lines.
fn statements(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let begin_of = move |line: &str| line.as_ptr() as usize - text.as_ptr() as usize;
    let lines = text.lines().filter(|line| !line.trim().is_empty()).take(LINES_MAX);
    lines.map(move |line| {
        let rest = &text[begin_of(line)..];
        let end = rest.match_indices('\n').nth(2).map_or(rest.len(), |(at, _)| at);
        let end = rest[..end].find("\n\n").or_else(|| rest[..end].find("\n\r\n")).unwrap_or(end);
        (line.trim(), &rest[..end])
    })
}

/// The reply in the first line of a statement, to the statement's end: from a reply code on, or from an enhanced status code.
fn reply_in(statement: &str) -> Option<&str> {
    let first = statement.lines().next()?;
    let starts = first.char_indices().filter(|&(at, c)| {
        let before = first[..at].chars().next_back();
        matches!(c, '4' | '5') && before.is_none_or(|before| !before.is_ascii_alphanumeric() && before != '.')
    });
    starts.map(|(at, _)| &statement[at..]).find(|rest| is_reply(rest.lines().next().unwrap_or("")))
}

/// `550 …`, `550-…` or `5.1.1 …`.
fn is_reply(text: &str) -> bool {
    let word: String = text.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    let after = text[word.len()..].chars().next();
    let ends = after.is_none_or(|after| !after.is_ascii_alphanumeric());
    let is_code =
        word.len() == 3 && word.bytes().all(|octet| octet.is_ascii_digit()) && matches!(after, Some(' ' | '-'));
    is_code || (ends && smtp::reply::parse_enhanced(&word).is_some())
}

/// As much of a reply as stands on its line.
fn line_of<'a>(reply: &'a str, line: &'a str) -> &'a str {
    reply.lines().next().map_or(line, str::trim_end)
}

fn line_at(text: &str, position: usize) -> &str {
    let position = text.floor_char_boundary(position);
    let begin = text[..position].rfind('\n').map_or(0, |at| at + 1);
    text[begin..].lines().next().unwrap_or("").trim()
}

/// The text of the report, and the original that some programs put behind it without MIME.
fn split_at_original(text: &str) -> (&str, &str) {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let words = line.trim_matches(|c: char| !c.is_ascii_alphanumeric()).to_ascii_lowercase();
        let is_rule = line.trim_start().starts_with("--") || line.trim_start().starts_with("==");
        if is_rule && ORIGINAL_FOLLOWS.iter().any(|phrase| words.contains(phrase)) {
            return text.split_at(at);
        }
        at += line.len();
    }
    (text, "")
}

/// What looks like an address in a text.
fn addresses(text: &str) -> impl Iterator<Item = &str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || !c.is_ascii() || "!#$%&'*+-/=?^_`{|}~.@".contains(c);
    let words = text.split(move |c: char| !is_part(c)).filter(|word| word.contains('@'));
    words.map(|word| word.trim_matches(|c: char| "'*=_`.-".contains(c))).take(ADDRESSES_MAX)
}

fn strip_prefix<'a>(line: &'a str, prefix: &str) -> Option<&'a str> {
    line.get(..prefix.len()).filter(|begin| begin.eq_ignore_ascii_case(prefix)).map(|_| &line[prefix.len()..])
}

/// It is the word of a mail system, which tells of failure.
fn is_failure(report: &Report) -> bool {
    let local_part = |address: &String| address.split('@').next().unwrap_or("").to_ascii_lowercase();
    let subject = report.subject.to_ascii_lowercase();
    report.has_status
        || !report.failed_recipients.is_empty()
        || report.from.iter().any(|from| SYSTEMS.contains(&local_part(from).as_str()))
        || FAILURE_SUBJECTS.iter().any(|phrase| subject.contains(phrase))
}

fn is_success(action: &str) -> bool {
    matches!(action, "delivered" | "relayed" | "expanded")
}

/// Whose bounce it is counts more than why, when nobody knows whose.
fn with_recipient(class: BounceClass, recipient: &Option<Mailbox>) -> BounceClass {
    let says_no_failure = [BounceClass::AUTO_REPLY, BounceClass::CHALLENGE_RESPONSE, BounceClass::TRANSIENT_FAILURE];
    match recipient {
        None if class.is_known() && !says_no_failure.contains(&class) => BounceClass::GENERIC_BOUNCE_NO_RCPT,
        _ => class,
    }
}

/// A status as the reply that would have borne it.
fn reply_of(status: &str) -> String {
    format!("{}50 {status}", &status[..1])
}

/// One line of at most so many octets, with single blanks.
fn one_line(text: &str) -> String {
    let mut line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.truncate(line.floor_char_boundary(REPLY_OCTETS_MAX));
    line
}

/// Local parts that no mail is sent to, and bounces come from.
const SYSTEMS: &[&str] = &["mailer-daemon", "mailerdaemon", "postmaster", "mail-daemon", "mdaemon", "abuse"];

const FAILURE_SUBJECTS: &[&str] =
    &["undeliver", "failure", "returned mail", "delivery status", "delivery notification", "not delivered", "rejected"];

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
const LINES_MAX: usize = 300;
/// Addresses of a text that are looked at.
const ADDRESSES_MAX: usize = 50;
/// Octets of a reason.
const REPLY_OCTETS_MAX: usize = 512;

#[cfg(test)]
#[path = "reading_tests.rs"]
mod tests;
