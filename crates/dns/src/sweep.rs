//! The sweep of the cache every dns_expire_interval: what is over leaves it, and a domain that was used since it was looked
//! up is looked up anew at once, so that mail which comes steadily never waits for the DNS.
//!
//! Runs on the [`DnsRuntime`](crate::DnsRuntime) thread, for as long as somebody holds the resolver. Bounded: one sweep
//! renews at most as many domains as there may be questions under way, and forgets the others. Invariant: a plan that
//! nobody uses is renewed at most once.

use std::sync::{Arc, Weak};
use std::time::Instant;

use crate::plan;
use crate::resolver::Inner;

impl Inner {
    /// Has the cache swept from now on.
    pub(crate) fn sweep_regularly(self: &Arc<Self>) {
        let (resolver, interval) = (Arc::downgrade(self), self.settings.expire_interval);
        self.runtime.handle().spawn(async move {
            loop {
                tokio::time::sleep(interval).await;
                let Some(resolver) = Weak::upgrade(&resolver) else { return };
                resolver.sweep(resolver.clock.now());
            }
        });
    }

    /// Sweeps once.
    pub(crate) fn sweep(self: &Arc<Self>, now: Instant) {
        let mut table = self.lock();
        let mut renewed = 0;
        for (key, answer, used) in table.plans.take_expired(now) {
            self.meter.expired.add(1);
            let wanted =
                used && answer.is_ok() && renewed < self.settings.queries_max && !table.asking.contains_key(&key);
            if let Some(name) = plan::complete_name(&key).filter(|_| wanted) {
                renewed += 1;
                self.meter.renewed.add(1);
                // Whoever asks meanwhile joins; nobody else waits for it.
                drop(self.begin(&mut table, key, name, now));
            }
        }
    }
}
