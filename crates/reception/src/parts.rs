//! The messages of a transaction by the body they have: one part, unless policy has changed the content for some recipients.

use message::{Body, Envelope};

/// What is stored in one commit; never empty of messages but for a transaction that has none.
pub(crate) struct Parts(pub(crate) Vec<Part>);

/// A body with the messages that have it.
pub(crate) struct Part {
    pub(crate) body: Body,
    pub(crate) envelopes: Vec<Envelope>,
    /// Which of them are bounces.
    pub(crate) bounces: Vec<bool>,
}

impl Parts {
    /// Sorts messages by their bodies, `bodies` where policy gave one of its own, else `common`. Each body is stored under the id
    /// of the first message that has it.
    pub(crate) fn of(envelopes: Vec<Envelope>, bodies: Vec<Option<Body>>, common: Body, bounces: Vec<usize>) -> Self {
        let mut parts = Vec::<Part>::new();
        let own = bodies.into_iter().chain(std::iter::repeat(None));
        for ((place, mut envelope), own) in envelopes.into_iter().enumerate().zip(own) {
            let body = own.unwrap_or_else(|| common.clone());
            let is_bounce = bounces.binary_search(&place).is_ok();
            let known = parts.iter_mut().find(|part| is_same(&part.body, &body));
            let id = known.as_ref().and_then(|part| part.envelopes.first()).map_or(envelope.id, Envelope::body_id);
            if id != envelope.batch {
                envelope.particulars_mut().body = Some(id);
            }
            match known {
                Some(part) => {
                    part.envelopes.push(envelope);
                    part.bounces.push(is_bounce);
                }
                None => parts.push(Part { body, envelopes: vec![envelope], bounces: vec![is_bounce] }),
            }
        }
        Self(parts)
    }

    pub(crate) fn borrowed(&self) -> Vec<spool::Part<'_>> {
        self.0.iter().map(|part| (&part.body, &part.envelopes[..])).collect()
    }
}

/// The same memory, or the same octets: policy that makes the same of every message makes one body.
fn is_same(one: &Body, other: &Body) -> bool {
    std::ptr::eq(&**one, &**other) || one == other
}
