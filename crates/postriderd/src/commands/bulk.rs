//! `flush domain`, `fail domain`, `fail all`, `delay`, `reroute queue`, and the same of one binding: orders about many messages.
//!
//! A filter looks into each message that waits, one after the other, before anything is done; then the order is about those.

use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use console::arguments::{self, DelayArguments, FailArguments, Filter, RerouteArguments};
use console::shapes::{DelayReply, DryRun, DryRunRow, FailReply, FlushReply, RerouteReply, Scope, Shape as _, Waiting};
use console::{Command, CommandError, Reply};
use delivery::{Chosen, Effect, Selection};
use message::{Envelope, MessageId, wire};
use scheduler::MemoryCharge;
use spool::SpoolError;

use super::completion::{Place, completed};
use super::{command, known_binding, room_for, waiting};
use crate::house::House;

/// The family.
pub fn commands(house: &Rc<House>) -> Vec<Command> {
    let (mut all, fail) = (flushing(house), failing(house));
    all.extend(fail);
    let delay = command(
        house,
        "delay SECONDS [--dry-run] [--domain D] [--binding B] [FILTER]",
        "put mail that is due off, so long from now",
        |house, asked| async move { delay(&house, DelayArguments::parse(&asked.args)?).await },
    )
    .help(&format!(
        "At least one of --domain, --binding and a filter says which mail. It is not charged with a failure.\n{FILTERS}"
    ));
    let reroute = command(
        house,
        "reroute queue [--dry-run] [FILTER] SRC|all DST",
        "move waiting mail to the queues of another domain",
        |house, asked| async move { reroute(&house, RerouteArguments::parse(&asked.args)?).await },
    )
    .help(&format!(
        "It is due there at once, under its own binding. It stays until the daemon starts again or a reload changes a gateway or a\n\
         binding; config set domain SRC gateway DST moves it, and what comes later, for good.\n{FILTERS}"
    ));
    all.push(completed(house, delay, &[]));
    all.push(completed(house, reroute, &[Place::DomainOrAll, Place::Domain]));
    all
}

fn flushing(house: &Rc<House>) -> Vec<Command> {
    let help = "Does not reset the number of retries. What held the connections of the queues back is forgotten, so mail that was due\n\
                already is tried too; what still holds mail is told.";
    let domain = command(house, "flush domain NAME|all", "make waiting messages due now", |house, asked| async move {
        let domain = arguments::domain_or_all(&asked.args)?;
        flush(&house, Selection { binding: None, domain }).await
    });
    let binding = command(
        house,
        "binding flush domain BINDING NAME|all",
        "the same for one binding",
        |house, asked| async move {
            let (binding, domain) = arguments::binding_and_domain(&asked.args)?;
            known_binding(&house, &binding).await?;
            flush(&house, Selection { binding: Some(binding), domain }).await
        },
    );
    vec![
        completed(house, domain.help(help), &[Place::DomainOrAll]),
        completed(house, binding.help(help), &[Place::Binding, Place::DomainOrAll]),
    ]
}

fn failing(house: &Rc<House>) -> Vec<Command> {
    type Parse = fn(&[String]) -> Result<FailArguments, CommandError>;
    let help = format!(
        "NOTE is what the log and the notifications say: the whole reply if a 5yz code stands in front, else its text. What is in an\n\
         attempt is left to it, and counted apart.\n{FILTERS}"
    );
    let of = |usage: &str, summary: &str, parse: Parse, quiet: bool, places: &'static [Place]| {
        let fail = command(house, usage, summary, move |house, asked| async move {
            let mut arguments = parse(&asked.args)?;
            arguments.quiet |= quiet;
            fail(&house, arguments).await
        });
        completed(house, fail.help(&help), places)
    };
    let (domain, binding): (&[Place], &[Place]) = (&[Place::Domain], &[Place::Binding, Place::DomainOrAll]);
    vec![
        of(
            "fail domain [--dry-run] [FILTER] NAME [NOTE]",
            "fail a domain's messages for good",
            FailArguments::domain,
            false,
            domain,
        ),
        of(
            "fail domain quiet [--dry-run] [FILTER] NAME [NOTE]",
            "the same without notifications",
            FailArguments::domain,
            true,
            domain,
        ),
        of(
            "binding fail domain [--dry-run] [FILTER] BINDING NAME|all [NOTE]",
            "fail messages of one binding for good",
            FailArguments::binding,
            false,
            binding,
        ),
        of(
            "binding fail domain quiet [--dry-run] [FILTER] BINDING NAME|all [NOTE]",
            "the same without notifications",
            FailArguments::binding,
            true,
            binding,
        ),
        of(
            "fail all [--dry-run] FILTER [NOTE]",
            "fail the messages of every queue that a filter means",
            FailArguments::all,
            false,
            &[],
        ),
        of("fail all quiet [--dry-run] FILTER [NOTE]", "the same without notifications", FailArguments::all, true, &[]),
    ]
}

async fn flush(house: &House, selection: Selection) -> Result<Reply, CommandError> {
    let effect = house.engine.flush(&selection).await;
    let held: Vec<(Waiting, u64)> =
        effect.held.iter().map(|(wait, messages)| (waiting(house, wait), *messages as u64)).collect();
    Ok(FlushReply {
        scope: scope(house, selection, effect.queues),
        requeued: effect.messages as u64,
        due_already: effect.due_already as u64,
        released: effect.released as u64,
        in_flight: effect.in_flight as u64,
        held,
    }
    .reply())
}

async fn fail(house: &House, asked: FailArguments) -> Result<Reply, CommandError> {
    let FailArguments { binding, domain, quiet, dry_run, filter, note } = asked;
    let selection = Selection { binding, domain };
    let order = Order::of(house, selection, filter, dry_run).await?;
    if dry_run {
        return order.told(house, "failed", None).await;
    }
    let note = Some(note.as_str()).filter(|note| !note.is_empty());
    let effect = house.engine.fail(&order.chosen(), quiet, note).await;
    let (scope, effect) = order.done(house, effect).await;
    Ok(FailReply { scope, failed: effect.messages as u64, in_flight: effect.in_flight as u64 }.reply())
}

async fn delay(house: &House, asked: DelayArguments) -> Result<Reply, CommandError> {
    let DelayArguments { seconds, dry_run, binding, domain, filter } = asked;
    let order = Order::of(house, Selection { binding, domain }, filter, dry_run).await?;
    if dry_run {
        return order.told(house, "delayed", None).await;
    }
    let effect = house.engine.delay(&order.chosen(), Duration::from_secs(seconds)).await;
    let (scope, effect) = order.done(house, effect).await;
    Ok(DelayReply {
        scope,
        delayed: effect.messages as u64,
        delayed_already: effect.unchanged as u64,
        in_flight: effect.in_flight as u64,
    }
    .reply())
}

async fn reroute(house: &House, asked: RerouteArguments) -> Result<Reply, CommandError> {
    let RerouteArguments { dry_run, filter, from, to } = asked;
    let order = Order::of(house, Selection { binding: None, domain: from }, filter, dry_run).await?;
    if dry_run {
        return order.told(house, "moved", Some(to)).await;
    }
    let effect = house.engine.reroute(&order.chosen(), &to).await;
    let (scope, effect) = order.done(house, effect).await;
    Ok(RerouteReply {
        scope,
        to,
        moved: effect.messages as u64,
        there_already: effect.unchanged as u64,
        in_flight: effect.in_flight as u64,
    }
    .reply())
}

/// What an order is about, once a filter has looked.
struct Order {
    selection: Selection,
    /// Those that the filter means, or that a dry run counts.
    ids: Option<HashSet<MessageId>>,
    _charge: Option<MemoryCharge>,
}

impl Order {
    async fn of(
        house: &House,
        selection: Selection,
        filter: Option<Filter>,
        dry_run: bool,
    ) -> Result<Self, CommandError> {
        if let Some(binding) = &selection.binding {
            known_binding(house, binding).await?;
        }
        if filter.is_none() && !dry_run {
            return Ok(Self { selection, ids: None, _charge: None });
        }
        let counts = house.engine.counts().await;
        let charge = room_for(house, (counts.active + counts.delayed) * ID_OCTETS)?;
        let mut meant = HashSet::new();
        for id in house.engine.ids(&selection).await {
            let is_meant = match &filter {
                None => true,
                Some(filter) => matches(house, id, filter).await?,
            };
            if is_meant {
                meant.insert(id);
            }
        }
        Ok(Self { selection, ids: Some(meant), _charge: Some(charge) })
    }

    fn chosen(&self) -> Chosen {
        match &self.ids {
            Some(ids) => Chosen::Messages(Arc::new(ids.clone())),
            None => Chosen::Queues(self.selection.clone()),
        }
    }

    /// What it was about; of single messages the queues are counted here.
    async fn done(self, house: &House, effect: Effect) -> (Scope, Effect) {
        let queues = match self.ids {
            Some(_) => house.engine.listing(&self.selection, 0, 0).await.queues.max(effect.messages.min(1)),
            None => effect.queues,
        };
        (scope(house, self.selection, queues), effect)
    }

    async fn told(self, house: &House, done: &'static str, to: Option<String>) -> Result<Reply, CommandError> {
        let ids = self.ids.unwrap_or_default();
        let mut messages = Vec::new();
        for id in ids.iter().take(DRY_RUN_ROWS) {
            messages.extend(envelope(house, *id).await?.map(|envelope| DryRunRow {
                id: id.to_string(),
                domain: envelope.queue.domain.to_string(),
                reverse_path: envelope.reverse_path.as_str().to_owned(),
                forward_path: envelope.forward_path.as_str().to_owned(),
            }));
        }
        let queues = house.engine.listing(&self.selection, 0, 0).await.queues;
        let scope = scope(house, self.selection, queues);
        Ok(DryRun { scope, done, to, messages, total: ids.len() as u64 }.reply())
    }
}

fn scope(house: &House, selection: Selection, queues: usize) -> Scope {
    let Selection { binding, domain } = selection;
    let gateway = domain.as_ref().filter(|_| queues == 0).and_then(|domain| gateway(house, domain));
    Scope { binding, domain, is_known: queues != 0, gateway }
}

/// The gateway that mail of a domain waits for, if it has one.
pub(super) fn gateway(house: &House, domain: &str) -> Option<String> {
    let answer = house.configuration.current().eval_text(&["domain", domain, "gateway"]).ok()?;
    let gateway = answer.json["value"].as_str()?;
    Some(gateway.to_owned()).filter(|gateway| !gateway.is_empty() && gateway != domain)
}

/// Whether a filter means a message; one that has left meanwhile is not meant.
async fn matches(house: &House, id: MessageId, filter: &Filter) -> Result<bool, CommandError> {
    match filter {
        Filter::Meta { key, value } => {
            let Some(envelope) = envelope(house, id).await? else { return Ok(false) };
            let of = |dictionary: &message::Dictionary| {
                dictionary.iter().find(|(own, _)| **own == **key).map(|(_, value)| value.to_string())
            };
            let found = of(&envelope.context.message).or_else(|| of(&envelope.context.connection));
            Ok(found.as_deref() == Some(value))
        }
        Filter::Header { name, line } => match house.spool.read(id).await {
            Ok((_, body)) => Ok(has_line(&wire::to_plain(&body), name, line)),
            Err(error) => unread(id, error).map(|_: Option<()>| false),
        },
    }
}

async fn envelope(house: &House, id: MessageId) -> Result<Option<Envelope>, CommandError> {
    match house.spool.read_headers(id).await {
        Ok(envelope) => Ok(Some(envelope)),
        Err(error) => unread(id, error),
    }
}

fn unread<T>(id: MessageId, error: SpoolError) -> Result<Option<T>, CommandError> {
    match error {
        SpoolError::Missing { .. } => Ok(None),
        error => Err(CommandError::Failed(format!("message {id} cannot be looked at: {error}; nothing was done"))),
    }
}

/// Whether a header field of that name has one line of that text; folded lines are compared one by one, with their blanks.
fn has_line(plain: &[u8], name: &str, wanted: &str) -> bool {
    let mut in_field = false;
    for line in plain.split(|octet| *octet == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            return false;
        }
        let text = if line[0] == b' ' || line[0] == b'\t' {
            line
        } else {
            let Some(colon) = line.iter().position(|octet| *octet == b':') else { continue };
            in_field = line[..colon].trim_ascii_end().eq_ignore_ascii_case(name.as_bytes());
            let value = &line[colon + 1..];
            value.strip_prefix(b" ").unwrap_or(value)
        };
        if in_field && text == wanted.as_bytes() {
            return true;
        }
    }
    false
}

/// Of one message in the list that a filter goes through and in the set of those it means.
const ID_OCTETS: usize = 40;
/// Messages that a dry run lists.
const DRY_RUN_ROWS: usize = 25;
const FILTERS: &str = "FILTER is --meta KEY VALUE (the message's context, else its connection's) or --header NAME LINE (one line of that\n\
    field, exactly; folded lines one by one). With --dry-run nothing is done: the first 25 messages are listed, and all counted.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_line_is_compared_alone_and_as_it_stands() {
        let text = b"Subject: one\r\n two\r\nX-Job:7\r\nx-job : 8\r\nFrom: a\r\n\r\nX-Job: 9\r\n";
        for (name, line, found) in [
            ("subject", "one", true),
            ("Subject", " two", true),
            ("Subject", "two", false),
            ("Subject", "one two", false),
            ("X-Job", "7", true),
            ("X-Job", "8", true),
            ("X-Job", "9", false),
            ("From", " two", false),
        ] {
            assert_eq!(has_line(text, name, line), found, "{name} {line:?}");
        }
    }
}
