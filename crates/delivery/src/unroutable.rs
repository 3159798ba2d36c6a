//! What becomes of a queue for whose mail there is no way: verdicts that fail it at once, and lookups that gave no host.
//!
//! That a recipient's domain does not exist is a verdict, as a null MX is. A lookup that gets no answer, or finds a domain
//! without hosts, is repeated on a schedule of its own (`lookups`), until dns_failures_to_purge.

use std::rc::Rc;
use std::time::Instant;

use dns::DnsError;

use crate::lookups::Spell;
use crate::maintainer::Maintainer;
use crate::options::QueueSettings;
use crate::record::DomainRecord;
use crate::replies::{self, LACKING, LOOKUP_FAILED, LOOP, NO_HOST, NO_SUCH_DOMAIN, NULL_MX, PROHIBITED};
use crate::route::Unroutable;

impl Maintainer {
    /// Deals with a queue that has no route.
    pub(crate) async fn unroutable(
        self: &Rc<Self>,
        record: &Rc<DomainRecord>,
        settings: &Rc<QueueSettings>,
        unroutable: Unroutable,
    ) {
        record.lack.set(None);
        if let Some(sentence) = unroutable.verdict() {
            record.route.borrow_mut().clear();
            *record.no_route.borrow_mut() = Some(sentence);
        }
        match unroutable {
            Unroutable::NullMx => self.drain(record, settings, NULL_MX).await,
            Unroutable::NoSuchDomain(error) if settings.retries_nonexistent => {
                self.no_host(record, settings, error).await;
            }
            Unroutable::NoSuchDomain(_) => self.drain(record, settings, NO_SUCH_DOMAIN).await,
            Unroutable::Prohibited | Unroutable::PassedOver => {
                self.meter.prohibited.add(1);
                self.drain(record, settings, PROHIBITED).await;
            }
            Unroutable::Loop(host) => {
                self.meter.loops.add(1);
                tracing::warn!(target: "SMTP", "mail for {domain} loops back: its best host {host} is this server; deliver it \
                    here (delivery_method), name another next hop (gateway, routes), or have its records name another host",
                    domain = record.name.domain);
                self.drain(record, settings, LOOP).await;
            }
            Unroutable::NoHost(error) => self.no_host(record, settings, error).await,
            Unroutable::Lookup(error) => self.lookup_failed(record, settings, error).await,
            Unroutable::Lacking(lack) => {
                record.lack.set(Some(lack));
                let until = self.lacks(lack, &format_args!("a nameserver for {}", record.name.domain));
                self.not_reached(record, settings, until, false, LACKING).await;
            }
        }
    }

    /// The DNS knows no host: all active mail is delayed, until that has been so for too many lookups.
    async fn no_host(self: &Rc<Self>, record: &Rc<DomainRecord>, settings: &Rc<QueueSettings>, error: DnsError) {
        let now = self.deps.clock.now();
        let spell = self.count_lookup(record, settings, error, now);
        record.hold_until.set(Some(spell.next_at).filter(|next_at| now < *next_at));
        self.drain(record, settings, if is_purged(settings, &spell) { LOOKUP_FAILED } else { NO_HOST }).await;
    }

    /// The DNS could not tell: mail stays active until the next lookup, and is delayed or fails in the end.
    async fn lookup_failed(self: &Rc<Self>, record: &Rc<DomainRecord>, settings: &Rc<QueueSettings>, error: DnsError) {
        let reply = replies::lookup_failing(&error);
        let spell = self.count_lookup(record, settings, error, self.deps.clock.now());
        if is_purged(settings, &spell) {
            record.hold_until.set(Some(spell.next_at));
            return self.drain(record, settings, LOOKUP_FAILED).await;
        }
        self.not_reached(record, settings, spell.next_at, true, reply).await;
    }

    /// Counts a lookup that gave no host. The operator is told of the first of a spell.
    fn count_lookup(&self, record: &DomainRecord, settings: &QueueSettings, error: DnsError, now: Instant) -> Spell {
        let is_first = record.lookups.spell().is_none();
        let spell = record.lookups.failed(error, now, settings.dns_failure_retry.into(), &self.deps.random);
        let told = is_first.then(|| self.lookups_told.borrow_mut().tell(now)).flatten();
        let (domain, why, failures) = (&record.name.domain, &spell.why, spell.failures);
        let pause = spell.next_at.saturating_duration_since(now).as_secs();
        match told {
            Some(others) => {
                let others = match others {
                    0 => String::new(),
                    others => format!("; {others} other domains got no host either"),
                };
                tracing::warn!(target: "DNS", "no host for mail to {domain}: {why}; it is looked up again in {pause} s{others}");
            }
            None => tracing::info!(target: "DNS", "no host for mail to {domain} in {failures} lookups: {why}"),
        }
        spell
    }
}

fn is_purged(settings: &QueueSettings, spell: &Spell) -> bool {
    let purge = settings.dns_failures_to_purge;
    purge != 0 && purge <= spell.failures
}
