//! What the operator orders: mail is tried now, failed, delayed, or moved to another queue.
//!
//! An order names queues or single messages, and the answer counts what was really done. What is in an attempt is left to it:
//! its outcome is somebody else's word. Whatever has to be read from the spool is dealt with in turn, few messages at once.

use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use message::{MessageId, QueueName};
use queue::{QueueId, Whereabouts, routing_domain};
use smtp::Reply;
use tokio::task::JoinSet;

use crate::disposition::{Attempt, Failed};
use crate::engine::EngineHandle;
use crate::held::{InHand, Taken};
use crate::maintainer::Maintainer;
use crate::record::DomainRecord;
use crate::waiting::Wait;
use crate::{replies, route};

/// The queues an order or a listing is about: of a binding and a routing domain, or of all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Only this binding; none for all.
    pub binding: Option<String>,
    /// Only this routing domain; none for all. Case does not count.
    pub domain: Option<String>,
}

impl Selection {
    /// All queues of a routing domain.
    pub fn domain(domain: &str) -> Self {
        Self { binding: None, domain: Some(domain.to_owned()) }
    }

    /// Whether a queue is among them.
    pub fn holds(&self, queue: &QueueName) -> bool {
        self.binding.as_ref().is_none_or(|binding| **binding == *queue.binding)
            && self.domain.as_ref().is_none_or(|domain| queue.domain.eq_ignore_ascii_case(domain))
    }
}

/// The messages an order is about.
#[derive(Clone, Debug)]
pub enum Chosen {
    /// All that wait in some queues.
    Queues(Selection),
    /// These, wherever they wait.
    Messages(Arc<HashSet<MessageId>>),
}

/// Which of the chosen messages an order reaches.
enum Reach {
    /// All that wait.
    All,
    /// Those that are due.
    Due,
    /// All that do not wait under this domain, or its gateway, already.
    NotIn(Arc<str>),
}

/// What an order did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effect {
    /// Queues that are known and that it was about; of single messages none are counted.
    pub queues: usize,
    /// Messages it was carried out on.
    pub messages: usize,
    /// Of a flush: messages that were due already.
    pub due_already: usize,
    /// Of those, messages that were held back because their hosts or the DNS had failed, and are tried now.
    pub released: usize,
    /// Messages in an attempt, which it left alone.
    pub in_flight: usize,
    /// Of a delay: messages that are delayed already. Of a move: messages that are there already. They are left as they are.
    pub unchanged: usize,
    /// Of a flush: what still holds mail that is due, and how many messages each, the most first.
    pub held: Vec<(Wait, usize)>,
}

impl Effect {
    fn add(&mut self, other: Self) {
        self.queues += other.queues;
        self.messages += other.messages;
        self.due_already += other.due_already;
        self.released += other.released;
        self.in_flight += other.in_flight;
        self.unchanged += other.unchanged;
        other.held.into_iter().for_each(|(wait, messages)| add_held(&mut self.held, wait, messages));
    }
}

/// Mail that is held by the same kind of thing counts together, under the first of them.
fn add_held(held: &mut Vec<(Wait, usize)>, wait: Wait, messages: usize) {
    match held.iter_mut().find(|(known, _)| known.hold.word() == wait.hold.word()) {
        Some((_, count)) => *count += messages,
        None => held.push((wait, messages)),
    }
    held.sort_by_key(|(_, messages)| std::cmp::Reverse(*messages));
}

/// What became of an order about one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Single {
    /// No queue holds it.
    Unknown,
    /// It is in an attempt, as this says: nothing was done.
    InAttempt(Wait),
    /// It was done; the message was there.
    Done {
        /// Where it was before.
        was: Whereabouts,
        /// What still holds it.
        held: Option<Wait>,
    },
}

impl EngineHandle {
    /// Makes delayed mail of some queues due now, and forgets what held their connections back.
    pub async fn flush(&self, selection: &Selection) -> Effect {
        let selection = selection.clone();
        self.order(move |maintainer| maintainer.flush(&selection)).await
    }

    /// Fails mail that waits. `note` is what the log and the notifications say, which `quiet` withholds: with a 5yz code in
    /// front it is the whole reply, else its text. The messages fail from now on; their records follow.
    pub async fn fail(&self, chosen: &Chosen, quiet: bool, note: Option<&str>) -> Effect {
        let (chosen, reply) = (chosen.clone(), replies::purged(note));
        self.order(move |maintainer| maintainer.fail(&chosen, quiet, &reply)).await
    }

    /// Delays mail that is due, until so long from now. It is not charged with a failure.
    pub async fn delay(&self, chosen: &Chosen, pause: Duration) -> Effect {
        let chosen = chosen.clone();
        self.order(move |maintainer| maintainer.delay(&chosen, pause)).await
    }

    /// Moves mail that waits to the queues of another routing domain, where it is due at once. It stays there until the
    /// daemon starts again, or a reload changes a gateway or a binding.
    pub async fn reroute(&self, chosen: &Chosen, to: &str) -> Effect {
        let (chosen, to) = (chosen.clone(), to.to_owned());
        self.order(move |maintainer| maintainer.reroute(&chosen, &to)).await
    }

    /// The hosts of some queues are to be found anew before their next connection. The names that are to be asked for; each
    /// queue counts.
    pub async fn refresh_routes(&self, selection: &Selection) -> (usize, Vec<String>) {
        let selection = selection.clone();
        let of_loop = move |maintainer: &Rc<Maintainer>| {
            let records = maintainer.selected(&selection);
            for record in &records {
                record.routed_until.set(None);
            }
            let names = records.iter().flat_map(|record| {
                route::looked_up(&record.settings(), &record.name.domain)
                    .map(|name| name.to_string())
                    .collect::<Vec<_>>()
            });
            (records.len(), names.collect::<Vec<_>>())
        };
        let (mut queues, mut names) = (0, Vec::new());
        for (of_loop, asked) in self.each(of_loop).await {
            queues += of_loop;
            names.extend(asked);
        }
        names.sort();
        names.dedup();
        (queues, names)
    }

    /// Makes one message due now, and forgets what held its queue's connections back.
    pub async fn retry_message(&self, id: MessageId) -> Single {
        self.single(id, move |maintainer, record| {
            maintainer.queues.borrow_mut().flush_chosen(|_, other| other == id);
            maintainer.let_go(record);
        })
        .await
    }

    /// Fails one message.
    pub async fn fail_message(&self, id: MessageId, quiet: bool) -> Single {
        self.single(id, move |maintainer, _| {
            let chosen = Chosen::Messages(Arc::new([id].into()));
            maintainer.fail(&chosen, quiet, &replies::MANUALLY_FAILED);
        })
        .await
    }

    async fn single(
        &self,
        id: MessageId,
        order: impl Fn(&Rc<Maintainer>, &Rc<DomainRecord>) + Clone + Send + 'static,
    ) -> Single {
        let of_loop = move |maintainer: &Rc<Maintainer>| {
            let (name, was, before) = maintainer.place_of(id)?;
            let record = maintainer.record(&name);
            if was == Whereabouts::InFlight {
                return Some(Single::InAttempt(maintainer.message_wait(&record, id, was, before)));
            }
            order(maintainer, &record);
            let held = maintainer.place_of(id).map(|(_, at, before)| maintainer.message_wait(&record, id, at, before));
            Some(Single::Done { was, held: held.filter(Wait::is_held) })
        };
        self.each(of_loop).await.into_iter().flatten().next().unwrap_or(Single::Unknown)
    }

    async fn order(&self, order: impl Fn(&Rc<Maintainer>) -> Effect + Clone + Send + 'static) -> Effect {
        let mut whole = Effect::default();
        self.each(order).await.into_iter().for_each(|effect| whole.add(effect));
        whole
    }
}

impl Maintainer {
    fn place_of(&self, id: MessageId) -> Option<(QueueName, Whereabouts, usize)> {
        let queues = self.queues.borrow();
        queues.find(id).map(|found| (found.queue.clone(), found.whereabouts, found.before))
    }

    fn selected(&self, selection: &Selection) -> Vec<Rc<DomainRecord>> {
        let mut records = self.records();
        records.retain(|record| selection.holds(&record.name));
        records
    }

    fn flush(self: &Rc<Self>, selection: &Selection) -> Effect {
        let (records, now) = (self.selected(selection), self.deps.clock.now());
        let mut effect = Effect::default();
        for record in &records {
            let row = self.queues.borrow().row(record.queue);
            effect.queues += 1;
            effect.due_already += row.active;
            effect.in_flight += row.in_flight;
            effect.released += if record.is_held(now) { row.active } else { 0 };
        }
        effect.messages = self.queues.borrow_mut().flush(|name| selection.holds(name));
        for record in &records {
            self.let_go(record);
            let active = self.queues.borrow().active(record.queue);
            if let Some(wait) = self.queue_wait(record).filter(|wait| active != 0 && wait.is_held()) {
                add_held(&mut effect.held, wait, active);
            }
        }
        effect
    }

    /// What held the connections of a queue back is forgotten.
    fn let_go(self: &Rc<Self>, record: &Rc<DomainRecord>) {
        record.hold_until.set(None);
        route::looked_up(&record.settings(), &record.name.domain)
            .for_each(|name| self.deps.names.forget_failure(&name));
        for candidate in record.route.borrow().iter() {
            self.hosts.borrow_mut().forget(&record.peer(candidate.remote));
        }
        self.maintain(record, false);
    }

    fn fail(self: &Rc<Self>, chosen: &Chosen, quiet: bool, reply: &Reply) -> Effect {
        let selection = match chosen {
            Chosen::Queues(selection) => selection,
            Chosen::Messages(_) => return self.fail_chosen(chosen, quiet, reply),
        };
        let mut effect = Effect::default();
        for record in self.selected(selection) {
            effect.queues += 1;
            effect.in_flight += self.queues.borrow().row(record.queue).in_flight;
            effect.messages += self.purge(&record, reply, quiet);
        }
        effect
    }

    fn fail_chosen(self: &Rc<Self>, chosen: &Chosen, quiet: bool, reply: &Reply) -> Effect {
        let reply = reply.clone();
        self.with_each(chosen, Reach::All, move |maintainer, message| {
            let (maintainer, reply) = (maintainer.clone(), reply.clone());
            async move {
                let record = maintainer.record(&message.envelope().queue);
                let attempt = Attempt::unconnected(&record.settings());
                let failed = Failed { quiet, ..Failed::unconnected(reply) };
                if let Some(rest) = maintainer.attempt_failed(&attempt, message, failed) {
                    rest.await;
                }
            }
        })
    }

    fn delay(self: &Rc<Self>, chosen: &Chosen, pause: Duration) -> Effect {
        let now = self.moment();
        let due = now.seconds.saturating_add(pause.as_secs());
        self.with_each(chosen, Reach::Due, move |maintainer, message| {
            let maintainer = maintainer.clone();
            async move {
                let InHand { held, mut resident } = message;
                resident.envelope.delivery.next_attempt = now.unix_at(due);
                let settings = maintainer.record(&resident.envelope.queue).settings();
                if settings.writes_retries {
                    maintainer.rewrite(&resident.envelope);
                }
                let limits = maintainer.resident_limits(&settings);
                let mut queues = maintainer.queues.borrow_mut();
                let place = queues.delay_until(held.returned(), due);
                queues.keep(place, resident, &limits);
                drop(queues);
                maintainer.wake_at(maintainer.queues.borrow().next_due());
            }
        })
    }

    fn reroute(self: &Rc<Self>, chosen: &Chosen, to: &str) -> Effect {
        let to: Arc<str> = to.into();
        self.with_each(chosen, Reach::NotIn(to.clone()), move |maintainer, message| {
            let (maintainer, to) = (maintainer.clone(), to.clone());
            async move {
                let InHand { held, mut resident } = message;
                let Some(intake) = maintainer.shared.intake.upgrade() else { return };
                let QueueName { binding_group, binding, .. } = &resident.envelope.queue;
                let generation = maintainer.deps.configuration.current();
                resident.envelope.queue.domain = routing_domain(&generation, binding_group, binding, &to);
                resident.envelope.delivery.next_attempt = maintainer.deps.clock.unix();
                maintainer.meter.moved.add(1);
                maintainer.queues.borrow_mut().forgotten(held.returned());
                intake.give(resident.into()).await;
            }
        })
    }

    /// The queues that a move leads to: what is in them stays as it is.
    fn queues_reached(&self, reach: &Reach) -> HashSet<QueueId> {
        let Reach::NotIn(to) = reach else { return HashSet::new() };
        let generation = self.deps.configuration.current();
        let all = self.selected(&Selection::default());
        let is_there = |record: &&Rc<DomainRecord>| {
            let QueueName { binding_group, binding, domain } = &record.name;
            routing_domain(&generation, binding_group, binding, to) == *domain
        };
        all.iter().filter(is_there).map(|record| record.queue).collect()
    }

    /// Takes the chosen messages as far as the order reaches, and does the same to each, few at once.
    fn with_each<Done: Future<Output = ()> + 'static>(
        self: &Rc<Self>,
        chosen: &Chosen,
        reach: Reach,
        each: impl Fn(&Rc<Self>, InHand) -> Done + 'static,
    ) -> Effect {
        let mut effect = Effect::default();
        let queues: HashSet<QueueId> = match chosen {
            Chosen::Queues(selection) => self.selected(selection).iter().map(|record| record.queue).collect(),
            Chosen::Messages(_) => HashSet::new(),
        };
        effect.queues = queues.len();
        effect.in_flight = queues.iter().map(|queue| self.queues.borrow().row(*queue).in_flight).sum();
        let there = self.queues_reached(&reach);
        let is_chosen = |queue: QueueId, id: MessageId| match chosen {
            Chosen::Queues(_) => queues.contains(&queue),
            Chosen::Messages(ids) => ids.contains(&id),
        };
        effect.unchanged = match chosen {
            Chosen::Queues(_) => {
                let rows = queues.iter().map(|queue| self.queues.borrow().row(*queue));
                let unchanged = rows.map(|row| match &reach {
                    Reach::Due => row.delayed,
                    Reach::NotIn(_) if there.contains(&row.id) => row.active + row.delayed,
                    Reach::NotIn(_) | Reach::All => 0,
                });
                unchanged.sum()
            }
            Chosen::Messages(ids) => there
                .iter()
                .flat_map(|queue| self.queues.borrow().ids(|of| of == *queue).collect::<Vec<_>>())
                .filter(|id| ids.contains(id))
                .count(),
        };
        let wanted = |queue: QueueId, id: MessageId| is_chosen(queue, id) && !there.contains(&queue);
        if !matches!(reach, Reach::Due) {
            self.queues.borrow_mut().flush_chosen(wanted);
        }
        let taken = self.queues.borrow_mut().take_chosen(wanted);
        let taken: Vec<Taken> = taken.into_iter().map(|taken| self.taken(taken)).collect();
        effect.messages = taken.len();
        if !taken.is_empty() {
            let (maintainer, each) = (self.clone(), Rc::new(each));
            self.spawn_holding(async move {
                let mut doing = JoinSet::new();
                for taken in taken {
                    // In turn with all else that is emptied at once. It is never closed.
                    let turn = maintainer.drained.clone().acquire_owned().await.ok();
                    let (maintainer, each) = (maintainer.clone(), each.clone());
                    doing.spawn_local(async move {
                        if let Some(message) = maintainer.in_hand(taken).await {
                            each(&maintainer, message).await;
                        }
                        drop(turn);
                    });
                    while doing.try_join_next().is_some() {}
                }
                while doing.join_next().await.is_some() {}
            });
        }
        effect
    }
}
