//! Lines at a limit, one rule at a time and with threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Wake, Waker};

use message::QueueName;
use scheduler::{Clock, Meters};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::*;

/// Ids of queues that live as long as the process.
fn queues(count: usize) -> Vec<QueueId> {
    let clock = Clock::system();
    let mut queues = queue::Queues::new(&Meters::new(), "test/0", queue::Moment::of(&clock, clock.now()));
    let name =
        |number| QueueName { binding_group: "g".into(), binding: "b".into(), domain: format!("d{number}.test").into() };
    (0..count).map(|number| queues.queue(&name(number))).collect()
}

fn cap(most: u64, reserve: u64) -> Cap {
    Cap::new(Arc::default(), most, reserve)
}

fn next(granted: &mut UnboundedReceiver<Grant>) -> Option<Grant> {
    granted.try_recv().ok()
}

#[derive(Default)]
struct Asked(AtomicUsize);

impl Wake for Asked {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn asked() -> (Arc<Asked>, Waker) {
    let asked = Arc::<Asked>::default();
    (asked.clone(), asked.into())
}

#[test]
fn those_who_wait_are_served_in_their_order_and_those_without_a_connection_first() {
    let (cap, ids) = (cap(1, 0), queues(4));
    let (door, mut granted) = unbounded_channel();
    let mut held = cap.take(Need::First);
    let _line = [
        cap.join(Need::More, ids[0], &door),
        cap.join(Need::First, ids[1], &door),
        cap.join(Need::First, ids[2], &door),
        cap.join(Need::More, ids[3], &door),
    ];
    for id in [1, 2, 0, 3] {
        assert!(next(&mut granted).is_none());
        drop(held.take());
        let grant = next(&mut granted).expect("one was free");
        assert_eq!(grant.queue, ids[id]);
        held = Some(grant.slot);
    }
}

#[test]
fn nobody_passes_those_who_wait_and_whoever_leaves_the_line_passes_its_slot_on() {
    let (cap, ids) = (cap(1, 0), queues(2));
    let (door, mut granted) = unbounded_channel();
    let held = cap.take(Need::First).unwrap();
    let first = cap.join(Need::First, ids[0], &door);
    let _second = cap.join(Need::First, ids[1], &door);
    drop(held);
    // Granted, and on its way; then not wanted any more.
    drop(first);
    assert!(cap.take(Need::First).is_none(), "it belongs to somebody");
    let grant = next(&mut granted).unwrap();
    assert_eq!(grant.queue, ids[0]);
    drop(grant);
    assert_eq!(next(&mut granted).unwrap().queue, ids[1]);
    assert!(cap.take(Need::First).is_some(), "free, and nobody waits");
}

#[test]
fn the_longest_idle_is_asked_and_as_many_as_wait() {
    let (cap, ids) = (cap(3, 0), queues(3));
    let (door, mut granted) = unbounded_channel();
    let mut slots: Vec<Slot> = (0..3).map(|_| cap.take(Need::First).unwrap()).collect();
    let ways: Vec<_> = (0..3).map(|_| asked()).collect();
    for place in [2, 0, 1] {
        assert!(slots[place].offer(&ways[place].1));
    }
    let _first = cap.join(Need::More, ids[0], &door);
    let times = || ways.iter().map(|(asked, _)| asked.0.load(Ordering::SeqCst)).collect::<Vec<_>>();
    assert_eq!(times(), [0, 0, 1]);
    let second = cap.join(Need::First, ids[1], &door);
    assert_eq!(times(), [1, 0, 1]);
    drop(second);
    assert!(slots[0].withdraw(), "nobody waits for it any more");
    assert!(!slots[2].withdraw());
    assert!(slots[1].withdraw(), "it was not asked");
    slots.remove(2);
    let grant = next(&mut granted).unwrap();
    assert_eq!(grant.queue, ids[0]);
    let _third = cap.join(Need::First, ids[2], &door);
    assert!(!slots[0].offer(&ways[0].1), "somebody waits already");
    assert!(slots[1].offer(&ways[1].1), "one is enough");
}

#[test]
fn whoever_is_busy_gives_way_after_its_turn_to_those_without_a_connection_only() {
    let (cap, ids) = (cap(2, 0), queues(2));
    let (door, mut granted) = unbounded_channel();
    let (mut one, mut other) = (cap.take(Need::First).unwrap(), cap.take(Need::First).unwrap());
    let _more = cap.join(Need::More, ids[0], &door);
    assert!(!one.claim());
    let _first = cap.join(Need::First, ids[1], &door);
    assert!(one.claim() && !other.claim(), "one for one");
    drop(one);
    assert_eq!(next(&mut granted).unwrap().queue, ids[1]);
}

#[test]
fn the_reserve_is_for_those_without_a_connection() {
    let (cap, ids) = (cap(1, 1), queues(2));
    let (door, mut granted) = unbounded_channel();
    let _held = cap.take(Need::More).unwrap();
    assert!(cap.take(Need::More).is_none());
    let _more = cap.join(Need::More, ids[0], &door);
    let reserved = cap.take(Need::First).unwrap();
    let _first = cap.join(Need::First, ids[1], &door);
    drop(reserved);
    assert_eq!(next(&mut granted).unwrap().queue, ids[1]);
}

#[test]
fn slots_are_made_to_fit_all_or_nothing() {
    let (wide, narrow, other) = (cap(2, 0), cap(1, 0), cap(1, 0));
    let mut slots = Vec::new();
    fit(&mut slots, &[&narrow, &wide], Need::First).unwrap();
    let taken = other.take(Need::First).unwrap();
    assert!(fit(&mut slots, &[&other, &wide], Need::First).is_err());
    assert_eq!((slots.len(), narrow.take(Need::First).is_none()), (2, true), "nothing has changed");
    drop(taken);
    fit(&mut slots, &[&other, &wide], Need::First).unwrap();
    assert!(narrow.take(Need::First).is_some() && wide.take(Need::First).is_some());
}

#[test]
fn threads_that_come_wait_and_go_never_hold_more_than_there_are_and_each_is_served() {
    const MOST: u64 = 3;
    let (cap, ids, open) = (cap(MOST, 0), queues(1), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for round in 0..500 {
                    let slot = cap.take(Need::First).unwrap_or_else(|| {
                        let (door, mut granted) = unbounded_channel();
                        let waiting = cap.join(Need::First, ids[0], &door);
                        if round % 7 == 0 {
                            drop(waiting);
                            let _again = cap.join(Need::First, ids[0], &door);
                            return granted.blocking_recv().unwrap().slot;
                        }
                        granted.blocking_recv().unwrap().slot
                    });
                    assert!(open.fetch_add(1, Ordering::SeqCst) < MOST);
                    std::thread::yield_now();
                    open.fetch_sub(1, Ordering::SeqCst);
                    drop(slot);
                }
            });
        }
    });
    assert_eq!((0..=MOST).map_while(|_| cap.take(Need::First)).collect::<Vec<_>>().len() as u64, MOST);
}
