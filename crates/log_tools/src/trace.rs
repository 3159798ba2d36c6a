//! Joins the lines that belong to an id: a message, all messages of a transaction, or a session.
//!
//! Reads every file once, or twice if the id turns out to be that of a message whose inbound session has refusals too. Keeps
//! the events found, at most [`EVENTS_MAX`], and nothing else.

use crate::event::{Event, What};
use crate::files::Source;

/// What was found of an id.
#[derive(Debug, Default)]
pub struct Trace {
    /// In the order of their times.
    pub events: Vec<Event>,
    /// Lines beyond what is kept.
    pub left_out: u64,
    /// Files that were read.
    pub files: usize,
    /// What could not be read.
    pub troubles: Vec<String>,
}

/// Looks for an id in all logs of a source.
pub fn trace(source: &Source, id: &str) -> Trace {
    let mut trace = Trace::default();
    gather(source, &mut trace, &|what| what.has(id));
    let sessions: Vec<String> =
        trace.events.iter().filter_map(|event| Some(event.what.received()?.connection.clone())).collect();
    // What the session that brought it refused, such as other recipients, stands in the rejectlog under the session alone.
    let of_session = |what: &What| matches!(what, What::Refusal { connection, .. } if sessions.contains(connection));
    if !sessions.is_empty() && !sessions.iter().any(|session| session.eq_ignore_ascii_case(id)) {
        let mut second = Trace { events: std::mem::take(&mut trace.events), ..Trace::default() };
        gather(source, &mut second, &of_session);
        trace.events = second.events;
        trace.left_out += second.left_out;
    }
    trace.events.sort_by_key(|event| (event.at, order(&event.what)));
    trace.events.dedup();
    trace
}

fn gather(source: &Source, trace: &mut Trace, wanted: &dyn Fn(&What) -> bool) {
    for log in &source.logs {
        let files = match source.files_of(log) {
            Ok(files) => files,
            Err(trouble) => {
                trace.troubles.push(trouble);
                continue;
            }
        };
        for file in files {
            trace.files += 1;
            let (events, left_out) = (&mut trace.events, &mut trace.left_out);
            let read = source.lines(&file, &mut |line| {
                let Some(event) = Event::parse(line, log.layout).filter(|event| wanted(&event.what)) else { return };
                if events.len() < EVENTS_MAX { events.push(event) } else { *left_out += 1 }
            });
            trace.troubles.extend(read.err());
        }
    }
}

/// What comes first of what has one time: the order in which things happen.
fn order(what: &What) -> u8 {
    match what {
        What::Refusal { .. } => 0,
        What::Reception { .. } => 1,
        What::Failure { for_good: false, .. } => 2,
        What::Delivery { .. } => 3,
        What::Failure { .. } => 4,
        What::Bounce { for_good: false, .. } => 2,
        What::Bounce { .. } => 5,
    }
}

/// More than a message has in years of retries; a session's id may have more.
const EVENTS_MAX: usize = 20_000;
