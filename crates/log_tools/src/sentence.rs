//! What a person is told of an event.

use std::fmt;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use smtp::client::Stage;

use crate::event::{Event, What};

impl Event {
    /// The time and the sentence.
    pub fn told(&self, zone: &TimeZone) -> String {
        let at = i64::try_from(self.at).ok().and_then(|at| Timestamp::from_microsecond(at).ok());
        let at = at.unwrap_or(Timestamp::UNIX_EPOCH).to_zoned(zone.clone());
        format!("{}  {}", at.strftime("%Y-%m-%d %H:%M:%S %Z"), self.what)
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reception { ids, recipient, sender, source, octets, protocol, binding } => {
                write!(f, "received {} for {recipient} from {sender}, {octets} bytes, ", ids.message)?;
                match protocol.as_str() {
                    "internal" => f.write_str("made here: a notification")?,
                    _ => write!(f, "from {source} by {protocol} (session {})", ids.connection)?,
                }
                write!(f, "; binding {binding}")
            }
            Self::Delivery { ids, domain, octets, retries, elapsed, remote, .. } => {
                let whither = if remote.is_empty() { "into a mailbox".to_owned() } else { format!("to {remote}") };
                write!(
                    f,
                    "delivered {} for {domain} {whither}, {octets} bytes, {elapsed} s after its reception",
                    ids.message
                )?;
                write!(f, "{}", attempt(retries))
            }
            Self::Failure { ids, for_good, domain, stage, retries, elapsed, remote, reply } => {
                let how = if *for_good { "failed for good" } else { "failed for now" };
                write!(f, "{how}: {} for {domain}", ids.message)?;
                match (remote.as_str(), stage_name(*stage)) {
                    ("", "") => {}
                    ("", stage) => write!(f, ", {stage}")?,
                    (remote, "") => write!(f, ", at {remote}")?,
                    (remote, stage) => write!(f, ", at {remote}, {stage}")?,
                }
                write!(f, ", {elapsed} s after its reception{}: {reply}", attempt(retries))
            }
            Self::Bounce { ids, recipient, class, stage, reply, .. } => {
                let what = if *stage == OUT_OF_BAND { "a bounce that came as mail" } else { "logged in the bouncelog" };
                let class_name = class_name(*class);
                write!(f, "{what}: {} for {recipient}, class {class} ({class_name}): {reply}", ids.message)
            }
            Self::Refusal { connection, remote, phase, text } => {
                write!(f, "refused {remote} in session {connection}, {phase}: {text}")
            }
        }
    }
}

fn attempt(retries: &str) -> String {
    match retries.parse::<u32>() {
        Ok(0) => ", at the first attempt".to_owned(),
        Ok(1) => ", after one failed attempt".to_owned(),
        Ok(retries) => format!(", after {retries} failed attempts"),
        Err(_) => String::new(),
    }
}

/// What the number of a stage stands for, in the words of the console.
fn stage_name(stage: u32) -> &'static str {
    STAGES.iter().find(|own| u32::from(own.number()) == stage).map_or("", |own| own.as_str())
}

/// What the number of a class stands for.
fn class_name(class: u32) -> &'static str {
    CLASSES.iter().find(|(number, _)| *number == class).map_or("unknown", |(_, name)| name)
}

const OUT_OF_BAND: u32 = Stage::OutOfBandBounce as u32;

const STAGES: [Stage; 17] = [
    Stage::NotConnected,
    Stage::Idle,
    Stage::DuringMailFrom,
    Stage::AfterMailFrom,
    Stage::DuringRcptTo,
    Stage::AfterRcptTo,
    Stage::DuringData,
    Stage::AfterData,
    Stage::SendingBody,
    Stage::ReadingConfirmation,
    Stage::DuringEhlo,
    Stage::AfterEhlo,
    Stage::ReadingBanner,
    Stage::DuringRset,
    Stage::AfterRset,
    Stage::DuringStartTls,
    Stage::AfterStartTls,
];

const CLASSES: &[(u32, &str)] = &[
    (1, "undetermined"),
    (10, "invalid recipient"),
    (20, "soft bounce"),
    (21, "DNS failure"),
    (22, "mailbox full"),
    (23, "too large"),
    (24, "timeout"),
    (25, "admin failure"),
    (30, "no recipient named"),
    (40, "generic bounce"),
    (50, "mail block"),
    (51, "spam block"),
    (52, "spam content"),
    (53, "prohibited attachment"),
    (54, "relaying denied"),
    (60, "auto-reply"),
    (70, "transient failure"),
    (80, "subscribe"),
    (90, "unsubscribe"),
    (100, "challenge-response"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Layout;

    #[test]
    fn a_line_becomes_a_sentence_with_a_time() {
        let told = |line: &str, layout| Event::parse(line, layout).expect("a line").told(&TimeZone::UTC);
        assert_eq!(
            told(
                "1790000000@m@b@c@R@ann@shop.example@news@sender.example@192.0.2.9@2011@esmtp@bulk@out1",
                Layout::Mainlog
            ),
            "2026-09-21 14:13:20 UTC  received m for <ann@shop.example> from <news@sender.example>, 2011 bytes, from 192.0.2.9 by \
             esmtp (session c); binding out1"
        );
        assert_eq!(
            told(
                "1790000004@m@b@c@T@shop.example@64@bulk@out1@5@0@1.02@198.51.100.7@452 4.2.2 mailbox full",
                Layout::Mainlog
            ),
            "2026-09-21 14:13:24 UTC  failed for now: m for shop.example, at 198.51.100.7, after RCPT TO, 1.02 s after its reception, \
             at the first attempt: 452 4.2.2 mailbox full"
        );
        assert_eq!(
            told("1790000005@m@b@c@D@shop.example@2011@bulk@out1@1@5.5@198.51.100.7", Layout::Mainlog),
            "2026-09-21 14:13:25 UTC  delivered m for shop.example to 198.51.100.7, 2011 bytes, 5.5 s after its reception, after one \
             failed attempt"
        );
    }
}
