//! What one loop has made of one configuration generation: hooks looked up, options resolved, queue names found. Sessions
//! share it, and keep the one they began their transaction with.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use config::{Chain, Generation, Lookup};
use hooks::HookSet;
use logging::LogHooks;
use message::QueueName;
use queue::DefaultBinding;

use crate::bindings::BindingNames;
use crate::options::ListenerOptions;
use crate::phases::Phases;
use crate::throttle::Throttles;

/// The word of the stanza.
pub(crate) const WORD: &str = "esmtp_listener";
/// Different sets of options kept; more Peer stanzas than this are resolved again now and then.
const OPTION_SETS_MAX: usize = 256;
/// Queue names kept.
const QUEUE_NAMES_MAX: usize = 4096;

pub(crate) struct Epoch {
    pub(crate) generation: Arc<Generation>,
    pub(crate) phases: Phases,
    pub(crate) logs: LogHooks,
    pub(crate) default_binding: DefaultBinding,
    system_hostname: Arc<str>,
    throttles: Arc<Throttles>,
    options: RefCell<Vec<(Chain, Rc<ListenerOptions>)>>,
    queues: RefCell<HashMap<Box<str>, QueueName>>,
    default: Arc<str>,
    /// Known once policy asks.
    bindings: OnceCell<BindingNames>,
}

impl Epoch {
    pub(crate) fn new(generation: Arc<Generation>, system_hostname: Arc<str>, throttles: Arc<Throttles>) -> Self {
        let hooks = generation.extension::<HookSet>().unwrap_or_default();
        Self {
            phases: Phases::of(&hooks),
            logs: LogHooks::of(&hooks),
            default_binding: generation.get(&queue::DEFAULT_BINDING, &Lookup::Global),
            generation,
            system_hostname,
            throttles,
            options: RefCell::default(),
            queues: RefCell::default(),
            default: "default".into(),
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

    /// The queue of a recipient domain on the default binding.
    pub(crate) fn default_queue(&self, domain: &str) -> QueueName {
        let mut queues = self.queues.borrow_mut();
        if let Some(queue) = queues.get(domain) {
            return queue.clone();
        }
        if queues.len() == QUEUE_NAMES_MAX {
            queues.clear();
        }
        let queue = QueueName {
            binding_group: self.default.clone(),
            binding: self.default.clone(),
            domain: queue::routing_domain(&self.generation, &self.default, &self.default, domain),
        };
        queues.insert(domain.into(), queue.clone());
        queue
    }
}
