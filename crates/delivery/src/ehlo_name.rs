//! The name that is given in EHLO: one for all sessions of a queue, or that of the sender whose mail a session is opened for.
//!
//! Under `__message__` a session carries mail of one sender domain only, so that no message goes under another's name; mail
//! of another gets a session of its own. Without a domain, as with the null reverse-path, it is this machine's name.

use std::rc::Rc;
use std::sync::Arc;

use smtp::ReversePath;

use crate::maintainer::Maintainer;
use crate::options::QueueSettings;
use crate::record::DomainRecord;

/// What `ehlo_hostname` comes to. Closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EhloName {
    Fixed(Arc<str>),
    /// The sender's domain; else this name.
    OfSender(Arc<str>),
}

impl EhloName {
    pub(crate) fn new(text: &str, hostname: &Arc<str>) -> Self {
        match text {
            OF_SENDER => Self::OfSender(hostname.clone()),
            HOSTNAME | "" => Self::Fixed(hostname.clone()),
            name => Self::Fixed(name.into()),
        }
    }

    /// The name for mail of a reverse-path.
    pub(crate) fn of(&self, reverse_path: &ReversePath) -> Arc<str> {
        match self {
            Self::Fixed(name) => name.clone(),
            Self::OfSender(hostname) => {
                let domain = reverse_path.mailbox().map(|mailbox| mailbox.domain().to_ascii_lowercase());
                domain.filter(|domain| !domain.is_empty()).map_or_else(|| hostname.clone(), Arc::from)
            }
        }
    }

    /// Whether mail of a reverse-path may go in a session that was opened with that name.
    pub(crate) fn fits(&self, name: &str, reverse_path: &ReversePath) -> bool {
        match self {
            Self::Fixed(_) => true,
            Self::OfSender(_) => *self.of(reverse_path) == *name,
        }
    }
}

impl Maintainer {
    /// The name for the session that the head of a queue is to have.
    pub(crate) async fn ehlo_name(self: &Rc<Self>, record: &DomainRecord, settings: &QueueSettings) -> Arc<str> {
        let hostname = match &settings.ehlo_name {
            EhloName::Fixed(name) => return name.clone(),
            EhloName::OfSender(hostname) => hostname.clone(),
        };
        let (known, id) = {
            let queues = self.queues.borrow();
            let known = queues.head(record.queue).map(|head| settings.ehlo_name.of(&head.envelope.reverse_path));
            (known, queues.head_id(record.queue))
        };
        match (known, id) {
            (Some(known), _) => known,
            (None, Some(id)) => {
                let envelope = self.deps.spool.read_headers(id).await;
                // What cannot be read is dealt with when it is taken.
                envelope.map_or(hostname, |envelope| settings.ehlo_name.of(&envelope.reverse_path))
            }
            (None, None) => hostname,
        }
    }
}

/// What stands for this machine's name.
pub(crate) const HOSTNAME: &str = "__hostname__";
/// What stands for the domain of a message's sender.
pub(crate) const OF_SENDER: &str = "__message__";
