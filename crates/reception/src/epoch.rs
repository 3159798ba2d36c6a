//! What one loop has made of one configuration generation: hooks looked up, options resolved, queue names found. Sessions
//! share it, and keep the one they began their transaction with.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use config::{Chain, Generation, Lookup};
use hooks::HookSet;
use logging::LogHooks;
use message::QueueName;
use queue::{Assigned, BLACKHOLE, Blackhole, DefaultBinding};

use crate::bindings::BindingNames;
use crate::options::ListenerOptions;
use crate::phases::Phases;
use crate::session_hooks::SessionHooks;
use crate::throttle::Throttles;

/// The word of the stanza.
pub(crate) const WORD: &str = "esmtp_listener";
/// Different sets of options kept; more Peer stanzas than this are resolved again now and then.
const OPTION_SETS_MAX: usize = 256;
/// Queue names kept.
const QUEUE_NAMES_MAX: usize = 4096;

/// Queue names by recipient domain.
type OfBinding = HashMap<Box<str>, QueueName>;

pub(crate) struct Epoch {
    pub(crate) generation: Arc<Generation>,
    pub(crate) phases: Phases,
    pub(crate) hooks: SessionHooks,
    pub(crate) logs: LogHooks,
    pub(crate) default_binding: DefaultBinding,
    system_hostname: Arc<str>,
    throttles: Arc<Throttles>,
    options: RefCell<Vec<(Chain, Rc<ListenerOptions>)>>,
    /// By binding and recipient domain.
    queues: RefCell<HashMap<Arc<str>, OfBinding>>,
    /// Messages so far, whose turns the bindings of a group have.
    turns: Cell<usize>,
    /// Some recipients are refused as blackholed.
    has_blackholes: bool,
    /// Known once policy asks.
    bindings: OnceCell<BindingNames>,
}

impl Epoch {
    pub(crate) fn new(generation: Arc<Generation>, system_hostname: Arc<str>, throttles: Arc<Throttles>) -> Self {
        let hooks = generation.extension::<HookSet>().unwrap_or_default();
        let is_set = |word| generation.stanzas(word).any(|stanza| stanza.find(&BLACKHOLE) == Some(Blackhole::Inline));
        let of_all = generation.get(&BLACKHOLE, &Lookup::Global) == Blackhole::Inline;
        Self {
            has_blackholes: of_all || ["domain", "binding", "binding_group"].into_iter().any(is_set),
            phases: Phases::of(&hooks),
            hooks: SessionHooks::of(&hooks),
            logs: LogHooks::of(&hooks),
            default_binding: generation.get(&queue::DEFAULT_BINDING, &Lookup::Global),
            generation,
            system_hostname,
            throttles,
            options: RefCell::default(),
            queues: RefCell::default(),
            turns: Cell::default(),
            bindings: OnceCell::new(),
        }
    }

    /// The options of a client at a Listen stanza.
    pub(crate) fn options(&self, listen: &str, peer: Option<IpAddr>, now: Instant) -> Rc<ListenerOptions> {
        // The scopes that apply are the key: clients of no Peer stanza share one set.
        let chain = self.generation.chain(&Lookup::Listener { kind: WORD, listen, peer });
        let mut sets = self.options.borrow_mut();
        if let Some((_, options)) = sets.iter().find(|(known, _)| *known == chain) {
            return options.clone();
        }
        if sets.len() == OPTION_SETS_MAX {
            sets.clear();
        }
        let options = ListenerOptions::resolve(&self.generation, &chain, &self.system_hostname, &self.throttles, now);
        let options = Rc::new(options);
        sets.push((chain, options.clone()));
        options
    }

    /// The bindings there are.
    pub(crate) fn bindings(&self) -> &BindingNames {
        self.bindings.get_or_init(|| BindingNames::of(&self.generation))
    }

    /// The next message's binding, and its group.
    pub(crate) fn next_binding<'a>(&self, assigned: &'a Assigned) -> (&'a Arc<str>, &'a Arc<str>) {
        assigned.of_turn(self.turns.replace(self.turns.get().wrapping_add(1)))
    }

    /// The queue of a recipient domain on a binding.
    pub(crate) fn queue(&self, (binding_group, binding): (&Arc<str>, &Arc<str>), domain: &str) -> QueueName {
        let mut queues = self.queues.borrow_mut();
        if let Some(queue) = queues.get(binding).and_then(|of_binding| of_binding.get(domain)) {
            return queue.clone();
        }
        if QUEUE_NAMES_MAX <= queues.values().map(HashMap::len).sum() {
            queues.clear();
        }
        let queue = QueueName {
            binding_group: binding_group.clone(),
            binding: binding.clone(),
            domain: queue::routing_domain(&self.generation, binding_group, binding, domain),
        };
        queues.entry(binding.clone()).or_default().insert(domain.into(), queue.clone());
        queue
    }

    /// Whether recipients of a domain are refused because their mail would be swallowed: by what holds for the domain, or for
    /// the queue that it goes to.
    pub(crate) fn refuses_as_blackholed(&self, assigned: &Assigned, domain: &str) -> bool {
        // The bare postmaster is always taken (RFC 5321 4.5.1).
        if !self.has_blackholes || domain.is_empty() {
            return false;
        }
        let (binding_group, binding) = assigned.of_turn(0);
        let routing_domain = queue::routing_domain(&self.generation, binding_group, binding, domain);
        [domain, &routing_domain].into_iter().any(|domain| {
            self.generation.get(&BLACKHOLE, &Lookup::Queue { binding_group, binding, domain }) == Blackhole::Inline
        })
    }
}
