//! A message in memory: its envelope, its body unless that is only on disk, and the charge for the envelope.
//!
//! The body's memory is charged by whoever made the body, once for all who share it (`message::charged`); the envelope's and
//! its context's here, to the owners that [`ResidentOwners`] names. The charge ends with the message's place in memory.

use message::{Body, Envelope};
use scheduler::{MemoryCharge, MemoryOwner, Meters};

/// A message in memory.
#[derive(Debug)]
pub struct Resident {
    /// The envelope.
    pub envelope: Envelope,
    /// The body.
    pub body: Option<Body>,
    charge: MemoryCharge,
    /// Of the context, if that is not empty.
    context_charge: Option<MemoryCharge>,
}

/// A message on its way to its queue. Boxed once and handed on by the box until it leaves.
pub type Arrival = Box<Resident>;

/// What envelopes in memory are charged to. Cloning shares it; the default charges nobody.
#[derive(Clone, Debug, Default)]
pub struct ResidentOwners {
    envelopes: MemoryOwner,
    contexts: MemoryOwner,
}

impl ResidentOwners {
    /// The owners `queue:envelopes` and `queue:contexts`.
    pub fn new(meters: &Meters) -> Self {
        Self { envelopes: meters.memory("queue:envelopes"), contexts: meters.memory("queue:contexts") }
    }

    /// A message in memory.
    pub fn resident(&self, envelope: Envelope, body: Option<Body>) -> Arrival {
        let charge = self.envelopes.charge(size_of::<Resident>() + envelope.held());
        let context = envelope.context.held();
        let context_charge = (context != 0).then(|| self.contexts.charge(context));
        Box::new(Resident { envelope, body, charge, context_charge })
    }
}

impl Resident {
    /// The envelope has changed: it is charged for what it takes up now.
    pub(crate) fn recharge(&mut self) {
        self.charge.set(size_of::<Self>() + self.envelope.held());
        if let Some(charge) = &mut self.context_charge {
            charge.set(self.envelope.context.held());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::tests::envelope;

    #[test]
    fn an_envelope_and_its_context_are_charged_apart_while_they_are_in_memory() {
        let meters = Meters::new();
        let owners = ResidentOwners::new(&meters);
        let (envelopes, contexts) = (meters.memory("queue:envelopes"), meters.memory("queue:contexts"));
        let plain = owners.resident(envelope(1, "x.test"), None);
        let once = envelopes.octets();
        assert_eq!((once, contexts.octets()), ((size_of::<Resident>() + "ann@x.test".len()) as u64, 0));
        let mut rich = envelope(2, "x.test");
        rich.context.message.push(("key".into(), "value".into()));
        let mut rich = owners.resident(rich, Some(Body::new()));
        assert_eq!((envelopes.octets(), contexts.octets()), (2 * once, rich.envelope.context.held() as u64));
        rich.envelope.delivery.last_reply = Some("451 later".into());
        rich.recharge();
        assert_eq!(envelopes.octets(), 2 * once + 9);
        drop((plain, rich));
        assert_eq!((envelopes.octets(), contexts.octets()), (0, 0));
    }
}
