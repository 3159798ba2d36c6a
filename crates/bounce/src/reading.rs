//! What a bounce that came as mail means: whose mail bounced, why, and with which class.
//!
//! Takes a [`Report`], which says what stands where, and gives one [`Bounced`] for each recipient that failed. A delivery status
//! (RFC 3464) is believed before the text for people, and that before the original that is returned. Pure but for the providers of
//! `core_bounce_error_classify`; linear in the text, which is bounded.
//!
//! Invariant: an address that the bounce came to, or of `bounce_suppress_list`, is never taken as the recipient; one of a mail
//! system, or of the bounce's sender, only where a field or angle brackets name it as one that failed.

use hooks::HookPoint;
use message::report::{Report, Reported};
use smtp::{AddressRules, Mailbox};

use crate::class::BounceClass;
use crate::classify::Classifier;
use crate::hook::{BounceErrorClassify, BounceText};
use crate::narrative::{LINES_MAX, Named, Narrative, addresses, strip_prefix};

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

impl Bounced {
    /// What is known of a bounce that cannot be read.
    pub(crate) fn unreadable() -> Self {
        Self { recipient: None, class: BounceClass::UNDETERMINED, reply: "the bounce could not be read".to_owned() }
    }
}

/// What reports are read with.
pub(crate) struct Reading<'a> {
    pub(crate) classifier: &'a Classifier,
    pub(crate) providers: &'a HookPoint<BounceErrorClassify>,
    /// Addresses that are never taken as the recipient, in lower case.
    pub(crate) suppressed: &'a [String],
    /// The addresses it came to.
    pub(crate) to: &'a [String],
}

impl Reading<'_> {
    /// Everyone whose mail bounced: nobody if the report tells of success only, or if it is a complaint.
    pub(crate) fn bounced(&self, report: &Report) -> Vec<Bounced> {
        if report.is_complaint {
            return Vec::new();
        }
        if !report.recipients.is_empty() {
            let failed = report.recipients.iter().filter(|reported| is_failed(reported));
            return failed.map(|reported| self.of_status(report, reported)).collect();
        }
        match self.of_request(report).or_else(|| self.of_answer(report)) {
            Some(answer) => vec![answer],
            None => self.of_text(report),
        }
    }

    fn of_status(&self, report: &Report, reported: &Reported) -> Bounced {
        let is_only = report.recipients.len() == 1;
        // The fields are there to say who: whoever they name is the recipient, a postmaster too.
        let named = [&reported.original, &reported.last].into_iter().flatten();
        let named = named.filter_map(|address| self.unless_suppressed(address)).next();
        // A status of one recipient that hides its address may still be told by the rest of the report.
        let recipient = named.or_else(|| if is_only { self.elsewhere(report) } else { None });
        let status = reported.status.map(|(class, subject, detail)| format!("{class}.{subject}.{detail}"));
        let (class, reply) = match (&reported.diagnostic, status) {
            (Some(diagnostic), status) => {
                let of_diagnostic = self.classified(&with_status(diagnostic, status.as_deref()));
                let of_status = || status.as_deref().map(|status| self.classifier.classify(&reply_of(status)));
                (of_diagnostic.or_else(of_status), diagnostic.clone())
            }
            (None, status) => {
                let (reason, line) = self.reason_in_text(report, reported, is_only);
                let of_status = status.as_deref().map(|status| self.classifier.classify(&reply_of(status)));
                let class = match of_status {
                    // Of a status that says nothing (RFC 3463 3.1) the text may say more.
                    Some(of_status) if says_why(reported) => of_status.or_else(|| Some(reason)),
                    of_status => reason.or_else(|| of_status),
                };
                let reply = status.map_or_else(|| line.clone(), |status| format!("{status} {line}"));
                (class.or_else(|| Some(BounceClass::GENERIC_BOUNCE)), reply)
            }
        };
        let class = if reported.action == "delayed" { BounceClass::TRANSIENT_FAILURE } else { class };
        Bounced { class: with_recipient(class, &recipient), recipient, reply: one_line(&reply) }
    }

    /// What the text for people says of this recipient; of all only where there is one.
    fn reason_in_text(&self, report: &Report, reported: &Reported, is_only: bool) -> (BounceClass, String) {
        let narrative = Narrative::of(&report.text);
        let addresses = [&reported.last, &reported.original].into_iter().flatten();
        let named = addresses.map(|address| Named { address, expanded_from: None, is_bracketed: true });
        let own = named.filter_map(|named| self.reason_for(&narrative, &named)).next();
        match own {
            Some(reason) => (reason.class, reason.line.to_owned()),
            None if is_only => Reason::of(self, narrative.text).or_generic(),
            None => (BounceClass::UNDETERMINED, String::new()),
        }
    }

    /// Why, where a text names a recipient: a place with a known reply, else one with known words.
    fn reason_for<'a>(&self, narrative: &Narrative<'a>, named: &Named<'a>) -> Option<Reason<'a>> {
        let mut reasons: Vec<Reason<'a>> = narrative.about(named).map(|block| Reason::of(self, block)).collect();
        let best = reasons.iter().position(|reason| reason.is_reply && reason.class.is_known());
        let best = best.or_else(|| reasons.iter().position(|reason| reason.class.is_known()));
        best.map(|best| reasons.swap_remove(best))
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
            class @ (BounceClass::AUTO_REPLY | BounceClass::CHALLENGE_RESPONSE) => class,
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

    /// Everyone the text names, each with what it says of him.
    fn of_text(&self, report: &Report) -> Vec<Bounced> {
        let narrative = Narrative::of(&report.text);
        let named: Vec<(Named<'_>, Mailbox)> = self
            .named(report, &narrative)
            .into_iter()
            .filter_map(|named| Some((named, self.failed(report, &named)?)))
            .collect();
        let whole = || match Reason::of(self, narrative.text) {
            reason if is_failure(report) || !named.is_empty() => reason.or_generic(),
            reason => (reason.class, reason.line.to_owned()),
        };
        if named.is_empty() {
            let recipient = self.elsewhere(report);
            let (class, reply) = whole();
            let class = if recipient.is_some() { class.or_else(|| Some(BounceClass::GENERIC_BOUNCE)) } else { class };
            return vec![Bounced { class: with_recipient(class, &recipient), recipient, reply: one_line(&reply) }];
        }
        let mut all: Vec<Bounced> = Vec::new();
        for (named, recipient) in &named {
            if all.iter().any(|bounced| bounced.recipient.as_ref() == Some(recipient)) {
                continue;
            }
            let (class, reply) = match self.reason_for(&narrative, named) {
                Some(reason) => (reason.class, reason.line.to_owned()),
                None => whole(),
            };
            all.push(Bounced { recipient: Some(recipient.clone()), class, reply: one_line(&reply) });
        }
        all
    }

    /// Those of X-Failed-Recipients, which says who failed and nothing else; else those of the text.
    fn named<'a>(&self, report: &'a Report, narrative: &Narrative<'a>) -> Vec<Named<'a>> {
        if report.failed_recipients.is_empty() {
            return narrative.named();
        }
        let of = |address: &'a String| Named { address, expanded_from: None, is_bracketed: true };
        report.failed_recipients.iter().map(of).collect()
    }

    /// The recipient as the sender knows him. Only brackets tell that a mail system's own address is meant.
    fn failed(&self, report: &Report, named: &Named<'_>) -> Option<Mailbox> {
        let usable = |address: &str| match named.is_bracketed {
            true => self.unless_suppressed(address),
            false => self.usable(address).filter(|_| !is_sender(report, address)),
        };
        named.expanded_from.and_then(usable).or_else(|| usable(named.address))
    }

    /// The recipient that sentences of the text, the original that is returned, or the address the bounce came to hint at.
    fn elsewhere(&self, report: &Report) -> Option<Mailbox> {
        let narrative = Narrative::of(&report.text);
        let in_original = narrative.original.lines().find_map(|line| strip_prefix(line, "to:")).unwrap_or("");
        let returned = report.original_to.iter().map(String::as_str);
        let mut candidates = narrative.mentioned().chain(returned).chain(addresses(in_original));
        let found = candidates.find_map(|address| self.usable(address).filter(|_| !is_sender(report, address)));
        found.or_else(|| {
            self.to.iter().find_map(|to| from_variable_envelope(to)).and_then(|address| self.usable(&address))
        })
    }

    /// The address, unless it is that of a mail system or one that is not to be taken.
    fn usable(&self, address: &str) -> Option<Mailbox> {
        let mailbox = self.unless_suppressed(address)?;
        let is_system = SYSTEMS.contains(&mailbox.local_part().to_ascii_lowercase().as_str());
        (!is_system).then_some(mailbox)
    }

    /// The address, unless it is one that is never to be taken, or none.
    fn unless_suppressed(&self, address: &str) -> Option<Mailbox> {
        let mailbox = Mailbox::parse_under(AddressRules::Relaxed, address).ok()?;
        let is_suppressed = self.suppressed.contains(&address.to_ascii_lowercase());
        (!is_suppressed && mailbox.domain().contains(['.', '['])).then_some(mailbox)
    }

    /// The class of a text, as the providers or the rules have it.
    fn classified(&self, text: &str) -> BounceClass {
        let mut args = BounceText { body: text, position: 0 };
        match self.providers.call_now(&mut args) {
            Some((class, _)) => class,
            None => self.classifier.classify(text),
        }
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
    /// It was found beside a code.
    is_reply: bool,
}

impl<'a> Reason<'a> {
    /// A line with a reply or status code goes before one without, and the first before a later one.
    fn of(reading: &Reading<'_>, text: &'a str) -> Self {
        let mut args = BounceText { body: text, position: 0 };
        if let Some((class, _)) = reading.providers.call_now(&mut args) {
            return Self { class, line: line_at(text, args.position), is_reply: true };
        }
        let classify = |statement: &str| reading.classifier.classify(statement);
        let mut unknown = "";
        for (_, statement) in statements(text) {
            let Some(reply) = reply_in(statement) else { continue };
            match classify(reply) {
                BounceClass::UNDETERMINED if unknown.is_empty() => unknown = line_of(statement, reply),
                BounceClass::UNDETERMINED => {}
                class => return Self { class, line: line_of(statement, reply), is_reply: true },
            }
        }
        let known =
            |(line, words): (&'a str, &str)| Some((line, classify(words))).filter(|(_, class)| class.is_known());
        let by_line = statements(text).find_map(|(line, _)| known((line, line)));
        match by_line.or_else(|| statements(text).find_map(known)) {
            Some((line, class)) => Self { class, line, is_reply: false },
            None => Self { class: BounceClass::UNDETERMINED, line: unknown, is_reply: false },
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

/// As much of a reply as stands on its line, and on those below that are set in deeper than the statement's first.
fn line_of<'a>(statement: &'a str, reply: &'a str) -> &'a str {
    let inset = |line: &str| line.len() - line.trim_start_matches([' ', '\t']).len();
    let begin = reply.as_ptr() as usize - statement.as_ptr() as usize;
    let mut end = 0;
    for (place, line) in statement.split_inclusive('\n').enumerate() {
        if 0 < place && inset(line) <= inset(statement) {
            break;
        }
        end += line.len();
    }
    statement[begin..end.max(begin)].trim_end()
}

fn line_at(text: &str, position: usize) -> &str {
    let position = text.floor_char_boundary(position);
    let begin = text[..position].rfind('\n').map_or(0, |at| at + 1);
    text[begin..].lines().next().unwrap_or("").trim()
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

/// It says of a recipient that the mail failed, or is late: whatever the Action, a 2.y.z is no failure.
fn is_failed(reported: &Reported) -> bool {
    let is_success = reported.status.is_some_and(|(class, ..)| class == 2);
    match reported.action.as_str() {
        "delivered" | "relayed" | "expanded" | "deliverable" => false,
        "failed" | "delayed" => !is_success,
        _ => !is_success && (reported.status.is_some() || reported.diagnostic.is_some()),
    }
}

fn says_why(reported: &Reported) -> bool {
    reported.status.is_some_and(|(_, subject, _)| subject != 0)
}

fn is_sender(report: &Report, address: &str) -> bool {
    report.from.iter().any(|from| from.eq_ignore_ascii_case(address))
}

/// A reply that has no codes of its own with the status that stands beside it.
fn with_status(diagnostic: &str, status: Option<&str>) -> String {
    match status {
        Some(status) if !is_reply(diagnostic) => format!("{} {diagnostic}", reply_of(status)),
        _ => diagnostic.to_owned(),
    }
}

/// `ann@shop.example` in `list-17-ann=shop.example@bounces.example` (variable envelope return path).
fn from_variable_envelope(to: &str) -> Option<String> {
    let (local, _) = to.rsplit_once('@')?;
    let (left, domain) = local.rsplit_once('=')?;
    let behind_tag =
        ["-bounces-", "-bounce-", "-return-"].iter().filter_map(|tag| left.rfind(tag).map(|at| at + tag.len())).max();
    let left = behind_tag.map_or(left, |at| &left[at - 1..]);
    let mut name = left.split_once('+').map_or(left, |(_, name)| name);
    while let Some((tag, rest)) = name.split_once('-') {
        let is_tag =
            tag.bytes().all(|octet| octet.is_ascii_digit()) || TAGS.contains(&tag.to_ascii_lowercase().as_str());
        if !is_tag && name.len() != left.len() {
            break;
        }
        name = rest;
    }
    (domain.contains('.') && !name.is_empty()).then(|| format!("{name}@{domain}"))
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

/// What stands in a return path before the recipient. Lower case.
const TAGS: &[&str] = &["bounce", "bounces", "return", "returns", "b", "owner", "errors"];

/// Octets of a reason.
const REPLY_OCTETS_MAX: usize = 512;

#[cfg(test)]
#[path = "reading_tests.rs"]
mod tests;
