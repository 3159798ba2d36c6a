//! The settings of queues: resolved from the generation in effect, and shared by all queues whose options come from the same
//! places.

use std::rc::Rc;

use message::QueueName;
use queue::DomainGlobs;

use super::Maintainer;
use crate::barred::Barred;
use crate::options::{QueueSettings, SettingsKey, Surroundings, best_hosts_only, relay_domains};
use crate::record::DomainRecord;

/// What every queue needs of a generation.
#[derive(Default)]
pub(super) struct Whole {
    number: u64,
    has_hosts: bool,
    best_hosts_only: DomainGlobs,
    relay_domains: DomainGlobs,
    barred: Rc<Barred>,
}

impl Maintainer {
    pub(super) fn refreshed(&self, record: &DomainRecord) -> Rc<QueueSettings> {
        let settings = record.settings();
        if self.deps.configuration.current().number() == settings.generation.number() {
            return settings;
        }
        let settings = self.resolve(&record.name);
        record.use_settings(settings.clone(), self.deps.clock.now());
        settings
    }

    /// The settings of a queue, shared with every other queue whose options come from the same places.
    pub(super) fn resolve(&self, name: &QueueName) -> Rc<QueueSettings> {
        let generation = self.deps.configuration.current();
        if self.whole.borrow().number != generation.number() {
            self.resolved.borrow_mut().clear();
            *self.whole.borrow_mut() = Whole {
                number: generation.number(),
                has_hosts: generation.stanzas("host").next().is_some(),
                best_hosts_only: best_hosts_only(&generation),
                relay_domains: relay_domains(&generation),
                barred: Rc::new(Barred::of(&generation, &(self.deps.hostname)(&generation))),
            };
        }
        let whole = self.whole.borrow();
        let surroundings = Surroundings {
            loops: self.shared.loops,
            hostname: &(self.deps.hostname)(&generation),
            limits: &self.shared.limits,
            has_hosts: whole.has_hosts,
            best_hosts_only: &whole.best_hosts_only,
            relay_domains: &whole.relay_domains,
            barred: &whole.barred,
            descriptors: &self.deps.descriptors,
        };
        let key = SettingsKey::of(&generation, name, &surroundings);
        let mut resolved = self.resolved.borrow_mut();
        if let Some(known) = resolved.get(&key) {
            return known.clone();
        }
        if SETTINGS_KEPT <= resolved.len() {
            resolved.clear();
        }
        let settings = Rc::new(QueueSettings::resolve(&generation, name, &surroundings));
        resolved.insert(key, settings.clone());
        settings
    }
}

/// Settings kept for queues to share.
const SETTINGS_KEPT: usize = 1024;
