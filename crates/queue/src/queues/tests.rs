//! The rules of the table, one by one and against a naive model.

use std::collections::BTreeMap;
use std::time::Duration;

use message::{Body, DeliveryState, Envelope, Origin, Protocol};
use proptest::prelude::*;
use smtp::{ForwardPath, Mailbox, ReversePath};

use super::*;
use crate::retry::{EXCEEDED_MAX_RETRIES, EXCEEDED_MAX_TIME, NOT_ATTEMPTED};

const START: u64 = 1_790_000_000;
const LONGEST_WAIT: u64 = 43_200;
const KEEP_ALL: ResidentLimits = ResidentLimits {
    active_queue: usize::MAX,
    total: usize::MAX,
    octets: u64::MAX,
    failures: u32::MAX,
    keep_envelopes: false,
    large: u64::MAX,
};

fn at(seconds: u64) -> Moment {
    Moment { seconds: Moment::ORIGIN + seconds, unix: Duration::from_secs(START + seconds) }
}

fn name(domain: &str) -> QueueName {
    QueueName { binding_group: "default".into(), binding: "default".into(), domain: domain.into() }
}

fn message(id: u64, domain: &str, created: u64) -> Arrival {
    let envelope = Envelope {
        id: MessageId::from_bits(id),
        batch: MessageId::from_bits(id),
        reverse_path: ReversePath::Null,
        forward_path: ForwardPath(Mailbox::parse(&format!("ann@{domain}")).unwrap()),
        created: Duration::from_secs(START + created),
        body_bytes: 10,
        eight_bit: false,
        origin: Origin { protocol: Protocol::Esmtp, peer: None, connection: MessageId::NULL },
        queue: name(domain),
        delivery: DeliveryState::default(),
        context: message::Context::default(),
        edits: None,
        particulars: None,
    };
    crate::ResidentOwners::default().resident(envelope, Some(Body::from_static(b"x\r\n.\r\n")))
}

fn table() -> Queues {
    Queues::new(&Meters::new(), "test/0", at(0))
}

fn enqueue(queues: &mut Queues, arrival: Arrival, now: u64) -> QueueId {
    let queue = queues.queue(&arrival.envelope.queue);
    queues.enqueue(queue, arrival, at(now), &KEEP_ALL, LONGEST_WAIT);
    queue
}

#[test]
fn the_memory_of_a_table_is_charged_and_given_back_when_all_mail_is_gone() {
    let meters = Meters::new();
    let (places, envelopes) = (meters.memory("queue:messages"), meters.memory("queue:envelopes"));
    let owners = crate::ResidentOwners::new(&meters);
    let mut queues = Queues::new(&meters, "test/0", at(0));
    let mut numbers = 0..;
    let mut fill = |queues: &mut Queues| {
        let mut queue = None;
        for number in numbers.by_ref().take(5000) {
            let Resident { envelope, body, .. } = *message(number, "x.test", 0);
            queue = Some(enqueue(queues, owners.resident(envelope, body), 0));
        }
        queue.unwrap()
    };
    let mut rests = Vec::new();
    for _ in 0..2 {
        let queue = fill(&mut queues);
        assert!(5000 * size_of::<Resident>() as u64 <= envelopes.octets());
        assert!(5000 * size_of::<Queued>() as u64 <= places.octets());
        while let Some(taken) = queues.take(queue) {
            queues.delivered(taken.ticket);
        }
        assert_eq!(envelopes.octets(), 0);
        rests.push(places.octets());
    }
    assert!(rests[0] < 300_000 && rests[0] == rests[1], "{rests:?}");
    drop(queues);
    assert_eq!(places.octets(), 0);
}

#[test]
fn a_message_that_fails_transiently_comes_back_when_its_interval_is_over() {
    let mut queues = table();
    let queue = enqueue(&mut queues, message(1, "x.test", 0), 0);
    for (failed_at, due) in [(0, 1200), (1200, 3600), (3600, 8400)] {
        let taken = queues.take(queue).unwrap();
        let reply = "450 4.2.1 mailbox busy";
        let outcome = queues.transient_failure(taken.ticket, reply, at(failed_at), &RetryOptions::default());
        let Transient::Delayed { state, .. } = outcome else { panic!("expired") };
        assert_eq!(state.next_attempt, Duration::from_secs(START + due));
        assert_eq!(state.last_reply.as_deref(), Some(reply));
        assert_eq!(queues.sweep(at(due - 1)), 0);
        assert!(queues.take(queue).is_none());
        assert!(queues.next_due().unwrap() <= Moment::ORIGIN + due);
        assert_eq!(queues.sweep(at(due)), 1);
    }
    let taken = queues.take(queue).unwrap();
    assert_eq!(taken.retries, 3);
    queues.delivered(taken.ticket);
    assert_eq!(queues.totals(), Totals::default());
    assert!(queues.release(queue));
}

#[test]
fn an_expired_message_fails_with_the_reason_of_its_last_failure() {
    let mut queues = table();
    let queue = enqueue(&mut queues, message(1, "x.test", 0), 0);
    let taken = queues.take(queue).unwrap();
    assert_eq!(queues.before_attempt(&taken.ticket, at(86_401), &RetryOptions::default()), None);
    let strict = RetryOptions { never_attempt_expired: true, ..RetryOptions::default() };
    assert_eq!(queues.before_attempt(&taken.ticket, at(86_401), &strict), Some(NOT_ATTEMPTED));
    let outcome = queues.transient_failure(taken.ticket, "450 busy", at(86_401), &RetryOptions::default());
    let Transient::Expired { ticket, reply } = outcome else { panic!("still delayed") };
    assert_eq!(reply, format!("{EXCEEDED_MAX_TIME} (450 busy)"));
    assert_eq!(queues.totals().in_flight, 1, "in flight until its notification is safe");
    queues.failed(ticket);
    assert_eq!(queues.row(queue).failed, 1);
}

#[test]
fn retries_run_out() {
    let options = RetryOptions { max_retries: Some(0), ..RetryOptions::default() };
    let mut queues = table();
    let queue = enqueue(&mut queues, message(1, "x.test", 0), 0);
    let taken = queues.take(queue).unwrap();
    let outcome = queues.transient_failure(taken.ticket, "451 x", at(1), &options);
    assert!(matches!(outcome, Transient::Expired { reply, .. } if reply.starts_with(EXCEEDED_MAX_RETRIES)));
}

#[test]
fn a_wall_clock_that_jumps_changes_neither_due_times_nor_ages() {
    let mut queues = table();
    let queue = enqueue(&mut queues, message(1, "x.test", 0), 0);
    let taken = queues.take(queue).unwrap();
    let year_ago = Moment { unix: Duration::from_secs(START - 31_536_000), ..at(10) };
    let options = RetryOptions::default();
    assert!(matches!(queues.transient_failure(taken.ticket, "450 x", year_ago, &options), Transient::Delayed { .. }));
    queues.sweep(Moment { unix: Duration::ZERO, ..at(1210) });
    let taken = queues.take(queue).unwrap();
    let far_ahead = Moment { unix: Duration::from_secs(START * 2), ..at(1210) };
    assert!(matches!(queues.transient_failure(taken.ticket, "450 x", far_ahead, &options), Transient::Delayed { .. }));
}

#[test]
fn restored_mail_waits_out_its_interval_and_keeps_its_age() {
    let mut queues = table();
    let mut restored = message(1, "x.test", 0);
    restored.body = None;
    restored.envelope.delivery =
        DeliveryState { retries: 2, next_attempt: Duration::from_secs(START + 500), ..DeliveryState::default() };
    restored.envelope.created = Duration::from_secs(START - 86_400);
    let queue = enqueue(&mut queues, restored, 0);
    assert_eq!((queues.active(queue), queues.totals().delayed), (0, 1));
    queues.sweep(at(500));
    let taken = queues.take(queue).unwrap();
    assert_eq!((taken.retries, taken.resident.is_none()), (2, true));
    let outcome = queues.transient_failure(taken.ticket, "450 x", at(500), &RetryOptions::default());
    assert!(matches!(outcome, Transient::Expired { .. }), "86900 seconds old");
}

#[test]
fn mail_that_is_not_to_be_attempted_is_in_flight_from_the_beginning() {
    let mut queues = table();
    let mut arrival = message(1, "x.test", 0);
    let queue = queues.queue(&arrival.envelope.queue);
    let ticket = queues.enqueue_in_flight(queue, &mut arrival, at(0));
    let row = queues.row(queue);
    assert_eq!((row.active, row.delayed, row.in_flight), (0, 0, 1));
    assert!(queues.take(queue).is_none() && queues.flush(|_| true) == 0 && !queues.release(queue));
    queues.failed(ticket);
    assert_eq!((queues.row(queue).in_flight, queues.row(queue).failed), (0, 1));
    assert!(queues.release(queue));
}

#[test]
fn mail_beyond_the_resident_limits_is_only_on_disk() {
    let mut queues = table();
    let limits = ResidentLimits { active_queue: 2, total: 3, ..KEEP_ALL };
    for (id, domain) in [(1, "x.test"), (2, "x.test"), (3, "x.test"), (4, "y.test"), (5, "y.test")] {
        let arrival = message(id, domain, 0);
        let queue = queues.queue(&arrival.envelope.queue);
        queues.enqueue(queue, arrival, at(0), &limits, LONGEST_WAIT);
    }
    let (x, y) = (queues.queue(&name("x.test")), queues.queue(&name("y.test")));
    let mut resident =
        |queue| std::iter::from_fn(|| queues.take(queue)).map(|taken| taken.resident.is_some()).collect::<Vec<_>>();
    assert_eq!((resident(x), resident(y)), (vec![true, true, false], vec![true, false]));
}

#[test]
fn bodies_beyond_the_octets_that_may_stay_are_only_on_disk_until_others_have_left() {
    let mut queues = table();
    let queue = queues.queue(&name("x.test"));
    let octets = message(1, "x.test", 0).body.map_or(0, |body| body.len() as u64);
    let limits = ResidentLimits { octets: 2 * octets, ..KEEP_ALL };
    for id in 1..=3 {
        queues.enqueue(queue, message(id, "x.test", 0), at(0), &limits, LONGEST_WAIT);
    }
    let first = queues.take(queue).unwrap();
    queues.enqueue(queue, message(4, "x.test", 0), at(0), &limits, LONGEST_WAIT);
    queues.put_back(first.ticket, first.resident);
    queues.enqueue(queue, message(5, "x.test", 0), at(0), &limits, LONGEST_WAIT);
    let resident: Vec<_> = std::iter::from_fn(|| queues.take(queue)).map(|taken| taken.resident.is_some()).collect();
    assert_eq!(resident, [true, true, false, true, false]);
    queues.enqueue(queue, message(6, "x.test", 0), at(0), &limits, LONGEST_WAIT);
    assert!(queues.take(queue).unwrap().resident.is_some(), "all that was counted has left");
}

#[test]
fn a_large_message_stays_in_memory_only_where_it_is_the_next_of_its_queue() {
    let octets = message(1, "x.test", 0).body.map_or(0, |body| body.len() as u64);
    for (large, stays) in [(octets, [true, true, true]), (octets - 1, [true, false, false])] {
        let mut queues = table();
        let queue = queues.queue(&name("x.test"));
        let limits = ResidentLimits { large, ..KEEP_ALL };
        for id in 1..=3 {
            queues.enqueue(queue, message(id, "x.test", 0), at(0), &limits, LONGEST_WAIT);
        }
        let resident: Vec<_> =
            std::iter::from_fn(|| queues.take(queue)).map(|taken| taken.resident.is_some()).collect();
        assert_eq!(resident, stays, "threshold {large}");

        // Delayed, it does not stay at all.
        let mut delayed = message(4, "x.test", 0);
        delayed.envelope.delivery =
            DeliveryState { retries: 1, next_attempt: Duration::from_secs(START + 600), ..DeliveryState::default() };
        queues.enqueue(queue, delayed, at(0), &limits, LONGEST_WAIT);
        assert_eq!(queues.totals_resident(), usize::from(stays[2]), "threshold {large}");
    }
}

#[test]
fn a_wall_clock_that_was_wrong_at_the_start_parks_no_mail() {
    let mut queues = table();
    let mut restored = message(1, "x.test", 10 * 365 * 86_400);
    restored.envelope.delivery = DeliveryState {
        retries: 1,
        next_attempt: Duration::from_secs(START + 10 * 365 * 86_400 + 600),
        ..DeliveryState::default()
    };
    let queue = enqueue(&mut queues, restored, 0);
    assert_eq!(queues.sweep(at(LONGEST_WAIT)), 1, "due after the longest interval there is");
    let taken = queues.take(queue).unwrap();
    let options = RetryOptions { never_attempt_expired: true, message_expiration: LONGEST_WAIT, ..Default::default() };
    assert_eq!(queues.before_attempt(&taken.ticket, at(LONGEST_WAIT), &options), None);
    assert!(queues.before_attempt(&taken.ticket, at(LONGEST_WAIT + 1), &options).is_some(), "and its age counts");
}

#[test]
fn only_queues_with_active_mail_are_listed() {
    let mut queues = table();
    let (x, y) = (enqueue(&mut queues, message(1, "x.test", 0), 0), enqueue(&mut queues, message(2, "y.test", 0), 0));
    queues.queue(&name("idle.test"));
    assert_eq!(queues.with_active(), [x, y]);
    let taken = queues.take(x).unwrap();
    assert_eq!(queues.with_active(), [y]);
    queues.put_back(taken.ticket, taken.resident);
    assert_eq!(queues.with_active(), [y, x]);
    for queue in [x, y] {
        let taken = queues.take(queue).unwrap();
        queues.delivered(taken.ticket);
        assert!(queues.release(queue));
    }
    assert!(queues.with_active().is_empty());
}

#[test]
fn put_back_keeps_the_order_and_the_head_tells_whether_it_is_a_sibling() {
    let mut queues = table();
    for id in 1..=3 {
        let mut arrival = message(id, "x.test", 0);
        arrival.envelope.batch = MessageId::from_bits(id.min(2));
        enqueue(&mut queues, arrival, 0);
    }
    let queue = queues.queue(&name("x.test"));
    let (first, second) = (queues.take(queue).unwrap(), queues.take(queue).unwrap());
    queues.put_back(second.ticket, second.resident);
    queues.put_back(first.ticket, first.resident);
    let first = queues.take(queue).unwrap();
    assert_eq!(first.id, MessageId::from_bits(1));
    assert_eq!(queues.head(queue).unwrap().envelope.batch, MessageId::from_bits(2));
    let second = queues.take(queue).unwrap();
    assert_eq!(queues.head(queue).unwrap().envelope.batch, second.id);
}

#[test]
fn flush_makes_a_domains_delayed_mail_due_and_leaves_the_counts_right() {
    let mut queues = table();
    for (id, domain) in [(1, "x.test"), (2, "x.test"), (3, "y.test")] {
        let mut arrival = message(id, domain, 0);
        arrival.envelope.delivery.next_attempt = Duration::from_secs(START + 5000);
        enqueue(&mut queues, arrival, 0);
    }
    assert_eq!(queues.flush(|name| *name.domain == *"x.test"), 2);
    assert_eq!((queues.totals().active, queues.totals().delayed), (2, 1));
    assert_eq!(queues.flush(|_| true), 1);
    assert_eq!(queues.sweep(at(6000)), 0, "nothing is left to ripen");
    assert_eq!((queues.totals().active, queues.totals().delayed), (3, 0));
}

#[test]
fn a_message_is_found_wherever_it_is() {
    let mut queues = table();
    let queue = enqueue(&mut queues, message(9, "x.test", 0), 0);
    let id = MessageId::from_bits(9);
    assert_eq!(queues.find(id).unwrap().whereabouts, Whereabouts::Active);
    assert!(queues.find(id).unwrap().envelope.is_some());
    let taken = queues.take(queue).unwrap();
    assert_eq!(queues.find(id).unwrap().whereabouts, Whereabouts::InFlight);
    let _ = queues.transient_failure(taken.ticket, "450 x", at(0), &RetryOptions::default());
    assert_eq!(queues.find(id).unwrap().whereabouts, Whereabouts::Delayed);
    assert!(queues.find(MessageId::from_bits(8)).is_none());
}

#[test]
fn a_message_that_is_not_resident_costs_40_bytes_in_the_arena() {
    assert_eq!(size_of::<Option<Queued>>(), 40);
}

/// What the table promises, written the slow way: each message and where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Active,
    Delayed(u64),
    InFlight,
}

#[derive(Clone, Debug)]
enum Step {
    Enqueue { domain: u8, delay: u64 },
    Take { domain: u8 },
    Settle { which: usize, how: u8 },
    Wait(u64),
    Flush { domain: Option<u8> },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3_u8, prop_oneof![3 => Just(0), 1 => 1..5000_u64]).prop_map(|(domain, delay)| Step::Enqueue { domain, delay }),
        4 => (0..3_u8).prop_map(|domain| Step::Take { domain }),
        4 => (any::<usize>(), 0..4_u8).prop_map(|(which, how)| Step::Settle { which, how }),
        2 => (0..4000_u64).prop_map(Step::Wait),
        1 => proptest::option::of(0..3_u8).prop_map(|domain| Step::Flush { domain }),
    ]
}

/// The table beside the model, and what is in flight.
struct Pair {
    queues: Queues,
    model: BTreeMap<u64, (u8, u32, Place)>,
    in_flight: Vec<Taken>,
    now: u64,
    next_id: u64,
}

impl Pair {
    fn step(&mut self, step: Step) {
        match step {
            Step::Enqueue { domain, delay } => {
                self.next_id += 1;
                let mut arrival = message(self.next_id, &format!("{domain}.test"), self.now);
                arrival.envelope.delivery.next_attempt = Duration::from_secs(START + self.now + delay);
                enqueue(&mut self.queues, arrival, self.now);
                let place = if delay == 0 { Place::Active } else { Place::Delayed(self.now + delay) };
                self.model.insert(self.next_id, (domain, 0, place));
            }
            Step::Take { domain } => {
                let queue = self.queues.queue(&name(&format!("{domain}.test")));
                let taken = self.queues.take(queue);
                let has_active = self.model.values().any(|&(of, _, place)| of == domain && place == Place::Active);
                assert_eq!(taken.is_some(), has_active);
                if let Some(taken) = taken {
                    let entry = self.model.get_mut(&taken.id.to_bits()).unwrap();
                    assert_eq!(*entry, (domain, taken.retries, Place::Active));
                    entry.2 = Place::InFlight;
                    self.in_flight.push(taken);
                }
            }
            Step::Settle { which, how } if !self.in_flight.is_empty() => {
                let taken = self.in_flight.swap_remove(which % self.in_flight.len());
                self.settle(taken, how);
            }
            Step::Settle { .. } => {}
            Step::Wait(seconds) => {
                self.now += seconds;
                self.queues.sweep(at(self.now));
                for (_, _, place) in self.model.values_mut() {
                    if matches!(place, Place::Delayed(due) if *due <= self.now) {
                        *place = Place::Active;
                    }
                }
            }
            Step::Flush { domain } => {
                let text = domain.map(|domain| format!("{domain}.test"));
                let flushed = self.queues.flush(|name| text.as_deref().is_none_or(|text| *name.domain == *text));
                let mut expected = 0;
                for (of, _, place) in self.model.values_mut() {
                    if domain.is_none_or(|domain| domain == *of) && matches!(place, Place::Delayed(_)) {
                        *place = Place::Active;
                        expected += 1;
                    }
                }
                assert_eq!(flushed, expected);
            }
        }
    }

    fn settle(&mut self, taken: Taken, how: u8) {
        let id = taken.id.to_bits();
        match how {
            0 => self.queues.delivered(taken.ticket),
            1 => self.queues.failed(taken.ticket),
            2 => {
                self.queues.put_back(taken.ticket, taken.resident);
                self.model.get_mut(&id).unwrap().2 = Place::Active;
                return;
            }
            _ => {
                let options =
                    RetryOptions { max_retries: Some(3), message_expiration: 20_000, ..RetryOptions::default() };
                let outcome = self.queues.transient_failure(taken.ticket, "450 x", at(self.now), &options);
                let entry = self.model.get_mut(&id).unwrap();
                entry.1 += 1;
                match outcome {
                    Transient::Delayed { .. } => {
                        entry.2 = Place::Delayed(self.now + options.delay(entry.1));
                        return;
                    }
                    Transient::Expired { ticket, .. } => self.queues.failed(ticket),
                }
            }
        }
        self.model.remove(&id);
    }

    fn check(&self) {
        let count = |wanted: fn(&Place) -> bool| self.model.values().filter(|(_, _, place)| wanted(place)).count();
        let totals = self.queues.totals();
        assert_eq!(totals.active, count(|place| *place == Place::Active));
        assert_eq!(totals.delayed, count(|place| matches!(place, Place::Delayed(_))));
        assert_eq!(totals.in_flight, count(|place| *place == Place::InFlight));
        assert_eq!(self.queues.messages.len(), self.model.len());
        assert_eq!(self.queues.wheel.len(), totals.delayed);
        let first = self.model.values().filter_map(|(_, _, place)| match place {
            Place::Delayed(due) => Some(*due),
            _ => None,
        });
        match (first.min(), self.queues.next_due()) {
            (Some(first), Some(next)) => assert!(next <= Moment::ORIGIN + first),
            (first, next) => assert_eq!((first, next), (None, None)),
        }
    }
}

proptest! {
    #[test]
    fn the_table_does_what_a_naive_model_does(steps in proptest::collection::vec(step(), 1..200)) {
        let mut pair =
            Pair { queues: table(), model: BTreeMap::new(), in_flight: Vec::new(), now: 0, next_id: 0 };
        for step in steps {
            pair.step(step);
            pair.check();
        }
    }
}

#[test]
fn a_listing_shows_a_window_of_one_queue_active_mail_first() {
    let mut queues = table();
    let queue = enqueue(&mut queues, message(1, "x.test", 0), 0);
    let taken = queues.take(queue).unwrap();
    let outcome = queues.transient_failure(taken.ticket, "450 busy", at(0), &RetryOptions::default());
    assert!(matches!(outcome, Transient::Delayed { .. }));
    enqueue(&mut queues, message(9, "other.test", 0), 0);
    for id in [2, 3] {
        enqueue(&mut queues, message(id, "x.test", 0), 0);
    }
    let listing = |offset, limit| {
        let listed = queues.listing(queue, offset, limit).into_iter();
        listed.map(|one| (one.id.to_bits(), one.whereabouts, one.envelope.is_some())).collect::<Vec<_>>()
    };
    let all = [(2, Whereabouts::Active, true), (3, Whereabouts::Active, true), (1, Whereabouts::Delayed, false)];
    assert_eq!(listing(0, 100), all);
    assert_eq!(listing(1, 1), all[1..2]);
    assert_eq!(listing(3, 100), []);
}

#[test]
fn the_counts_of_a_binding_outlive_its_queues() {
    let mut queues = table();
    let queue = enqueue(&mut queues, message(1, "x.test", 0), 0);
    let taken = queues.take(queue).unwrap();
    queues.delivered(taken.ticket);
    assert!(queues.release(queue));
    enqueue(&mut queues, message(2, "y.test", 0), 0);
    let bindings = queues.bindings();
    let [binding] = bindings.as_slice() else { panic!("{bindings:?}") };
    assert_eq!((&*binding.binding_group, &*binding.binding), ("default", "default"));
    assert_eq!((binding.received, binding.delivered, binding.active, binding.resident), (2, 1, 1, 1));
    assert_eq!(queues.room(), Room { peak: 1, allocated: 1024 });
}

#[test]
fn a_message_that_is_not_in_memory_costs_less_than_64_bytes() {
    const { assert!(QUEUED_BYTES <= 64) };
}

fn fail_once(queues: &mut Queues, queue: QueueId, now: u64, limits: &ResidentLimits) {
    let taken = queues.take(queue).unwrap();
    let outcome = queues.transient_failure(taken.ticket, "450 x", at(now), &RetryOptions::default());
    let (Transient::Delayed { place, .. }, Some(resident)) = (outcome, taken.resident) else { panic!("expired") };
    queues.keep(place, resident, limits);
}

#[test]
fn a_message_stays_in_memory_until_it_has_failed_too_often() {
    for (failures, kept) in [(3, [true, true, true, false]), (1, [true, false, false, false]), (0, [false; 4])] {
        let limits = ResidentLimits { failures, ..KEEP_ALL };
        let (mut queues, mut seen, mut now) = (table(), Vec::new(), 0);
        let queue = queues.queue(&name("x.test"));
        queues.enqueue(queue, message(1, "x.test", 0), at(0), &limits, LONGEST_WAIT);
        for _ in 0..4 {
            queues.sweep(at(now));
            seen.push(queues.totals().resident == 1);
            let taken = queues.take(queue).unwrap();
            assert_eq!(queues.totals().resident, 0);
            let patient = RetryOptions { message_expiration: u64::MAX, max_retries: None, ..RetryOptions::default() };
            let outcome = queues.transient_failure(taken.ticket, "450 x", at(now), &patient);
            let Transient::Delayed { place, .. } = outcome else { panic!("expired") };
            queues.keep(place, taken.resident.unwrap_or_else(|| message(1, "x.test", 0)), &limits);
            now += 43_200;
        }
        assert_eq!(seen, kept, "{failures}");
    }
}

#[test]
fn delayed_mail_stays_in_memory_only_where_active_mail_leaves_room() {
    let mut queues = table();
    let limits = ResidentLimits { total: 3, ..KEEP_ALL };
    let x = queues.queue(&name("x.test"));
    for id in 1..=2 {
        queues.enqueue(x, message(id, "x.test", 0), at(0), &limits, LONGEST_WAIT);
    }
    for _ in 0..2 {
        fail_once(&mut queues, x, 0, &limits);
    }
    assert_eq!(queues.totals().resident, 2);
    let y = queues.queue(&name("y.test"));
    for id in 3..=5 {
        queues.enqueue(y, message(id, "y.test", 0), at(0), &limits, LONGEST_WAIT);
    }
    assert_eq!(
        (queues.totals().resident, queues.listing(y, 0, 9).iter().filter(|one| one.envelope.is_some()).count()),
        (3, 3)
    );
    queues.sweep(at(1200));
    assert!(queues.take(x).unwrap().resident.is_none(), "it made room");
    while queues.take(y).is_some() {}
    assert_eq!((queues.totals().resident, queues.resident_octets()), (0, 0));
}

#[test]
fn envelopes_stay_in_memory_if_they_are_to() {
    for keep_envelopes in [true, false] {
        let mut queues = table();
        let limits = ResidentLimits { active_queue: 0, keep_envelopes, ..KEEP_ALL };
        let queue = queues.queue(&name("x.test"));
        queues.enqueue(queue, message(1, "x.test", 0), at(0), &limits, LONGEST_WAIT);
        assert_eq!(queues.find(MessageId::from_bits(1)).unwrap().envelope.is_some(), keep_envelopes);
        assert_eq!((queues.totals().resident, queues.resident_octets()), (0, 0), "no body is");
        let taken = queues.take(queue).unwrap();
        assert!(taken.resident.is_none_or(|resident| resident.body.is_none()));
    }
}

#[test]
fn memory_is_given_back_by_delayed_mail_first_and_then_by_the_queue_whose_turn_is_longest_ago() {
    let mut queues = table();
    let [delayed, cold, warm] = ["delayed.test", "cold.test", "warm.test"].map(|domain| queues.queue(&name(domain)));
    for (queue, domain, count) in [(delayed, "delayed.test", 1), (cold, "cold.test", 4), (warm, "warm.test", 4)] {
        for id in 0..count {
            queues.enqueue(queue, message(id, domain, 0), at(0), &KEEP_ALL, LONGEST_WAIT);
        }
    }
    fail_once(&mut queues, delayed, 0, &KEEP_ALL);
    for queue in [cold, warm] {
        let taken = queues.take(queue).unwrap();
        queues.delivered(taken.ticket);
    }
    let each = queues.resident_octets() / 7;
    let resident = |queues: &Queues, queue: QueueId| {
        queues.listing(queue, 0, 9).iter().map(|one| one.envelope.is_some()).collect::<Vec<_>>()
    };
    assert_eq!(queues.trim(6 * each), 1);
    assert_eq!((resident(&queues, delayed), resident(&queues, cold)), (vec![false], vec![true; 3]));
    assert_eq!(queues.trim(4 * each), 2);
    assert_eq!((resident(&queues, cold), resident(&queues, warm)), (vec![true, false, false], vec![true; 3]));
    assert_eq!((queues.trim(0), queues.resident_octets(), queues.totals().resident), (4, 0, 0));
    assert_eq!(queues.active(cold) + queues.active(warm), 6, "the mail itself stays");
}

#[test]
fn a_burst_of_queues_gives_back_what_it_took_though_one_of_them_stays() {
    let meters = Meters::new();
    let held = meters.memory("queue:messages");
    let mut queues = Queues::new(&meters, "test/0", at(0));
    let mut made = Vec::new();
    for number in 0..10_000 {
        made.push(enqueue(&mut queues, message(number, &format!("d{number}.test"), 0), 0));
    }
    let before = held.octets();
    for &queue in made.iter().filter(|&&queue| queue != made[7_000]) {
        let taken = queues.take(queue).unwrap();
        queues.delivered(taken.ticket);
        assert!(queues.release(queue));
    }
    assert!(held.octets() * 10 < before, "{} of {before}", held.octets());
    assert_eq!((queues.active(made[7_000]), queues.totals().active), (1, 1));
}
