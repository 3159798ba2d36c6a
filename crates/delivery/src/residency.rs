//! Keeps what delivery holds in memory within its limits while memory is short: when it becomes so, and now and then for as long
//! as there is anything.
//!
//! Mail in memory is a copy of what the spool has. Above memory_goal, and while somebody waits for memory to read a body
//! into, half of what is held is let go at each look, above memory_hwm all of it, and little or nothing new is kept
//! meanwhile (`queue::ResidentLimits::under`). Runs in the sweep.

use std::rc::Rc;

use config::Lookup;
use queue::ResidentLimits;
use scheduler::Pressure;

use crate::maintainer::Maintainer;
use crate::options::{MAIL_QUEUE_CHECK_VM_INTERVAL, QueueSettings};

impl Maintainer {
    /// How much of a queue stays in memory, as things are.
    pub(crate) fn resident_limits(&self, settings: &QueueSettings) -> ResidentLimits {
        settings.resident.under(self.deps.pressure.get())
    }

    /// Looks at the memory at once.
    pub(crate) fn memory_became_short(self: &Rc<Self>) {
        self.memory_at.set(self.deps.clock.now());
        self.check_memory();
    }

    /// Looks at the memory if it is time to.
    pub(crate) fn check_memory(self: &Rc<Self>) {
        let now = self.deps.clock.now();
        if self.queues.borrow().totals_resident() == 0 {
            return;
        }
        if self.memory_at.get() <= now {
            let held = self.queues.borrow().resident_octets();
            let gone = match self.deps.pressure.get() {
                Pressure::None if self.owners.bodies.waiting() == 0 => 0,
                Pressure::None | Pressure::Goal => self.queues.borrow_mut().trim(held / 2),
                Pressure::HighWater => self.queues.borrow_mut().trim(0),
            };
            if gone != 0 {
                tracing::info!(target: "QUEUE", "memory is short: {gone} messages are on disk only now");
            }
            let every = self.deps.configuration.current().get(&MAIL_QUEUE_CHECK_VM_INTERVAL, &Lookup::Global);
            self.memory_at.set(now + every.into());
        }
        self.sweep_not_after(self.memory_at.get());
    }
}
