//! Reads bounces that come as mail, in the `CPU` pool: out-of-band intake asks, before it acknowledges the message.
//!
//! Takes a body in wire form; gives whose mail bounced and why. Never on a loop, and never more than one body of a session at a
//! time: who asks waits for the answer, and while the pool has no room, for that.

use std::sync::Arc;

use config::{Generation, Lookup};
use hooks::HookSet;
use message::{Body, report};
use scheduler::{Counter, Measure, Meters, Rejected, ThreadPools};

use crate::classify::Classifier;
use crate::options::BOUNCE_SUPPRESS_LIST;
use crate::reading::{Bounced, Reading};

/// Reads bounces. One for the process; cloning shares it.
#[derive(Clone)]
pub struct BounceReader {
    pools: ThreadPools,
    classifier: Arc<Classifier>,
    read: Counter,
    recipients: Counter,
    without_recipient: Counter,
    complaints: Counter,
}

/// A bounce that came as mail.
#[derive(Clone)]
pub struct IncomingBounce {
    /// The generation of the session it came in.
    pub generation: Arc<Generation>,
    /// Its body, in wire form.
    pub body: Body,
    /// The addresses it came to, which are not the recipients it tells of.
    pub to: Vec<String>,
}

impl BounceReader {
    /// A reader that counts in `meters`.
    pub fn new(pools: ThreadPools, meters: &Meters) -> Self {
        Self {
            pools,
            classifier: Arc::new(Classifier::new()),
            read: meters.counter("bounce.outofband.read"),
            recipients: meters.counter("bounce.outofband.recipients"),
            without_recipient: meters.counter("bounce.outofband.without_recipient"),
            complaints: meters.counter("bounce.outofband.complaints"),
        }
    }

    /// Whose mail bounced; nobody's if the report tells of success, or is a complaint (RFC 5965), which is counted.
    /// One that meets a defect of the reader says neither who nor why. An error if the pool takes no work.
    pub async fn read(&self, bounce: IncomingBounce) -> Result<Vec<Bounced>, Rejected> {
        let classifier = self.classifier.clone();
        let read = self.pools.get("CPU").run_contained(move || bounce.read(&classifier)).await;
        let (bounced, is_complaint) = match read {
            Err(Rejected::Panicked) => (vec![Bounced::unreadable()], false),
            read => read?,
        };
        self.read.add(1);
        self.complaints.add(u64::from(is_complaint));
        self.recipients.add(bounced.len() as u64);
        self.without_recipient.add(bounced.iter().filter(|bounced| bounced.recipient.is_none()).count() as u64);
        Ok(bounced)
    }
}

impl IncomingBounce {
    /// Whose mail bounced, and whether it is no bounce but a complaint.
    fn read(self, classifier: &Classifier) -> (Vec<Bounced>, bool) {
        let listed = self.generation.get(&BOUNCE_SUPPRESS_LIST, &Lookup::Global);
        let suppressed: Vec<String> = self.to.iter().chain(&listed).map(|text| text.to_ascii_lowercase()).collect();
        let providers = self.generation.extension::<HookSet>().map(|set| set.point()).unwrap_or_default();
        let reading = Reading { classifier, providers: &providers, suppressed: &suppressed, to: &self.to };
        let report = report::read(&self.body);
        (reading.bounced(&report), report.is_complaint)
    }
}

/// What is counted of notifications, and of bounces that come as mail.
pub const MEASURES: &[Measure] = &[
    Measure::counter(
        "bounce.notifications.generated",
        "notifications",
        "Notifications of failure that were stored and queued.",
    ),
    Measure::counter(
        "bounce.notifications.unanswerable",
        "failures",
        "Failures that nobody is told of, because the message has the null reverse-path.",
    ),
    Measure::counter(
        "bounce.notifications.unwanted",
        "failures",
        "Failures that nobody is told of, because the configuration says so.",
    ),
    Measure::counter("bounce.outofband.read", "messages", "Bounces that came as mail and were read."),
    Measure::counter("bounce.outofband.recipients", "recipients", "Recipients that these tell of."),
    Measure::counter("bounce.outofband.without_recipient", "messages", "Those of them that name nobody."),
    Measure::counter("bounce.outofband.complaints", "messages", "Complaints of readers (RFC 5965) among them."),
];
