//! One line of a log, understood as far as it can be. Pure.

/// Which log a line is of; their layouts differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// R, D, T and P.
    Mainlog,
    /// B and T.
    Bouncelog,
    /// Refusals.
    Rejectlog,
}

/// A line with its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Microseconds since 1970.
    pub at: u64,
    /// What it says.
    pub what: What,
    /// The line, for whoever wants it.
    pub line: String,
}

/// What a line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// R: `recipient`, `sender`, source address, octets, protocol, binding.
    Reception {
        ids: Ids,
        recipient: String,
        sender: String,
        source: String,
        octets: String,
        protocol: String,
        binding: String,
    },
    /// D.
    Delivery {
        ids: Ids,
        domain: String,
        octets: String,
        binding: String,
        retries: String,
        elapsed: String,
        remote: String,
    },
    /// T, or P if it is for good.
    Failure {
        ids: Ids,
        for_good: bool,
        domain: String,
        stage: u32,
        retries: String,
        elapsed: String,
        remote: String,
        reply: String,
    },
    /// B or T of the bouncelog.
    Bounce { ids: Ids, for_good: bool, recipient: String, class: u32, stage: u32, reply: String },
    /// A line of the rejectlog.
    Refusal { connection: String, remote: String, phase: String, text: String },
}

/// The ids of a line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ids {
    /// One recipient's message.
    pub message: String,
    /// All recipients of one transaction.
    pub batch: String,
    /// The session: inbound in R, outbound in D, T and P.
    pub connection: String,
}

impl What {
    /// Whether an id is one of this line's.
    pub fn has(&self, id: &str) -> bool {
        match self {
            Self::Reception { ids, .. }
            | Self::Delivery { ids, .. }
            | Self::Failure { ids, .. }
            | Self::Bounce { ids, .. } => {
                [&ids.message, &ids.batch, &ids.connection].iter().any(|own| own.eq_ignore_ascii_case(id))
            }
            Self::Refusal { connection, .. } => connection.eq_ignore_ascii_case(id),
        }
    }

    /// Whose it is, of a reception: message and inbound session.
    pub fn received(&self) -> Option<&Ids> {
        if let Self::Reception { ids, .. } = self { Some(ids) } else { None }
    }
}

impl Event {
    /// One word for what it is.
    pub fn what_word(&self) -> &'static str {
        match &self.what {
            What::Reception { .. } => "received",
            What::Delivery { .. } => "delivered",
            What::Failure { for_good: false, .. } => "later",
            What::Failure { .. } => "failed",
            What::Bounce { .. } => "bounced",
            What::Refusal { .. } => "refused",
        }
    }

    /// Understands a line; none if it is a heartbeat, cut short, or nothing of this log's.
    pub fn parse(line: &str, layout: Layout) -> Option<Self> {
        let (at, what) = match layout {
            Layout::Mainlog => mainlog(line)?,
            Layout::Bouncelog => bouncelog(line)?,
            Layout::Rejectlog => rejectlog(line)?,
        };
        Some(Self { at: micros(at)?, what, line: line.to_owned() })
    }
}

fn mainlog(line: &str) -> Option<(&str, What)> {
    let fields = fields(line, 14);
    let own = |at: usize| fields.get(at).cloned().unwrap_or_default();
    let (at, kind) = (line.split('@').next()?, fields.get(4)?.as_str());
    let enough = |count: usize| (count <= fields.len()).then_some(());
    let what = match kind {
        "R" => {
            enough(14)?;
            What::Reception {
                ids: ids(&fields),
                recipient: address(&fields[5], &fields[6]),
                sender: address(&fields[7], &fields[8]),
                source: own(9),
                octets: own(10),
                protocol: own(11),
                binding: own(13),
            }
        }
        "D" => {
            enough(12)?;
            What::Delivery {
                ids: ids(&fields),
                domain: own(5),
                octets: own(6),
                binding: own(8),
                retries: own(9),
                elapsed: own(10),
                remote: own(11),
            }
        }
        "T" | "P" => {
            enough(14)?;
            What::Failure {
                ids: ids(&fields),
                for_good: kind == "P",
                domain: own(5),
                stage: own(9).parse().ok()?,
                retries: own(10),
                elapsed: own(11),
                remote: own(12),
                reply: own(13),
            }
        }
        _ => return None,
    };
    Some((at, what))
}

fn bouncelog(line: &str) -> Option<(&str, What)> {
    let fields = fields(line, 16);
    if fields.len() < 16 || !["B", "T"].contains(&fields[4].as_str()) {
        return None;
    }
    let what = What::Bounce {
        ids: ids(&fields),
        for_good: fields[4] == "B",
        recipient: address(&fields[5], &fields[6]),
        stage: fields[11].parse().ok()?,
        class: fields[12].parse().ok()?,
        reply: fields[15].clone(),
    };
    Some((line.split('@').next()?, what))
}

fn rejectlog(line: &str) -> Option<(&str, What)> {
    let (at, rest) = line.split_once(": ")?;
    let quoted = |name: &str| {
        let key = format!("{name}=\"");
        let behind = rest.strip_prefix(&key).or_else(|| Some(rest.split_once(&format!(" {key}"))?.1))?;
        Some(behind.split('"').next()?.to_owned())
    };
    // The text follows the message's context, in whose brackets a quoted value may hold anything.
    let text = rest.split_once(" CTXMESS=[").map(|(_, behind)| behind_bracket(behind)).unwrap_or_default();
    let what =
        What::Refusal { connection: quoted("C")?, remote: quoted("R")?, phase: quoted("P")?, text: text.to_owned() };
    Some((at, what))
}

/// What follows the bracket that ends a context.
fn behind_bracket(text: &str) -> &str {
    let (mut quoted, mut escaped) = (false, false);
    for (at, octet) in text.bytes().enumerate() {
        match octet {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => quoted = !quoted,
            b']' if !quoted => return text[at + 1..].trim_start(),
            _ => {}
        }
    }
    ""
}

/// The fields of a line: a backslash before `@` or itself makes it one of a field's own. The last of `most` keeps the rest as it is.
fn fields(line: &str, most: usize) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut rest = line.chars();
    while let Some(next) = rest.next() {
        let last = fields.last_mut().expect("there is always one");
        match next {
            '\\' if rest.as_str().starts_with(['@', '\\']) => last.extend(rest.next()),
            '@' => {
                fields.push(String::new());
                if fields.len() == most {
                    fields.last_mut().expect("just made").push_str(rest.as_str());
                    break;
                }
            }
            other => last.push(other),
        }
    }
    fields
}

fn ids(fields: &[String]) -> Ids {
    Ids { message: fields[1].clone(), batch: fields[2].clone(), connection: fields[3].clone() }
}

fn address(local: &str, domain: &str) -> String {
    match (local, domain) {
        ("", "") => "<>".to_owned(),
        (local, "") => format!("<{local}>"),
        _ => format!("<{local}@{domain}>"),
    }
}

/// A stamp in seconds, or with `log_hires_timestamp` in microseconds.
fn micros(stamp: &str) -> Option<u64> {
    let number: u64 = stamp.trim().parse().ok()?;
    Some(if number < HIRES_FROM { number.checked_mul(1_000_000)? } else { number })
}

/// Seconds of the year 5138, and microseconds of 1973.
const HIRES_FROM: u64 = 100_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_understood_and_others_passed_over() {
        let id = "71/A0-03127-08B31BA6";
        let line = format!("1790000000@{id}@81/A0@30/00@R@a\\@b\\\\@shop.example@@@192.0.2.9@2011@esmtp@bulk@out1");
        let event = Event::parse(&line, Layout::Mainlog).unwrap();
        let What::Reception { recipient, sender, source, binding, .. } = &event.what else { panic!("{event:?}") };
        assert_eq!(
            (recipient.as_str(), sender.as_str(), source.as_str(), binding.as_str()),
            ("<a@b\\@shop.example>", "<>", "192.0.2.9", "out1")
        );
        assert!(event.what.has(id) && event.what.has("81/a0") && !event.what.has("a"));
        let line = format!(
            "1790000004123456@{id}@b@c@P@shop.example@64@bulk@out1@5@2@1.02@198.51.100.7@550 5.1.1 no\\@such @all"
        );
        let event = Event::parse(&line, Layout::Mainlog).unwrap();
        assert_eq!(event.at, 1_790_000_004_123_456);
        assert!(
            matches!(&event.what, What::Failure { for_good: true, stage: 5, reply, .. } if reply == "550 5.1.1 no\\@such @all")
        );
        let line = format!("1790000004@{id}@b@c@B@a@b.test@c@d@default@default@5@10@64@198.51.100.7@550 no @b");
        assert!(
            matches!(Event::parse(&line, Layout::Bouncelog).unwrap().what, What::Bounce { class: 10, reply, .. } if reply == "550 no @b")
        );
        let line = "1790000009: R=\"203.0.113.5:42601\" L=\"192.0.2.1:25\" C=\"18/00\" PATH=\"default\" PATH_GRP=\"default\" P=\"awaiting rcptto\" \
                    E=550 M=x CTXCONN=[a=b] CTXMESS=[mailfrom_string=\"MAIL FROM:<] \\\" >\",x=] relaying denied";
        let event = Event::parse(line, Layout::Rejectlog).unwrap();
        assert!(matches!(&event.what, What::Refusal { connection, phase, text, .. }
            if (connection.as_str(), phase.as_str(), text.as_str()) == ("18/00", "awaiting rcptto", "relaying denied")));
        for odd in [
            "",
            "@@@@M",
            "1790000000@@@@M1",
            "1@2",
            "x@a@b@c@R@d@e@f@g@h@i@j@k@l",
            "1@a@b@c@T@d",
            "\u{fffd}\u{fffd}",
            "1790000009: Marker 1",
        ] {
            for layout in [Layout::Mainlog, Layout::Bouncelog, Layout::Rejectlog] {
                assert_eq!(Event::parse(odd, layout), None, "{odd}");
            }
        }
    }
}
