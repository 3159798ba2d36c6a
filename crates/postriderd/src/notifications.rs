//! Lets delivery tell senders of failures, and reception read bounces, through `bounce`: the rooms stand side by side and do not
//! know each other.

use bounce::Bouncer;
use delivery::{FailedMessage, Local, NotStored};
use hooks::HookSet;
use logging::LogHooks;

/// The bouncer as delivery sees it.
pub struct Notifications(pub Bouncer);

impl delivery::Bouncer for Notifications {
    fn bounce<'a>(&'a self, failed: &'a FailedMessage, stored: &'a dyn Fn()) -> Local<'a, Result<(), NotStored>> {
        Box::pin(async move {
            let reply = failed.reply.to_string();
            let log = failed.generation.extension::<HookSet>().map(|set| LogHooks::of(&set)).unwrap_or_default();
            let told = bounce::FailedMessage {
                generation: &failed.generation,
                log: &log,
                envelope: &failed.envelope,
                body: failed.body.as_ref(),
                reply: &reply,
                remote_name: failed.remote.as_ref().map(|(name, _)| &**name),
                remote_address: failed.remote.as_ref().map(|(_, address)| *address),
                quiet: false,
            };
            self.0.bounce(&told, stored).await.map(drop).map_err(|error| NotStored(error.to_string()))
        })
    }
}

/// The reader of bounces as reception sees it.
pub struct IncomingBounces(pub bounce::BounceReader);

impl reception::BounceReader for IncomingBounces {
    fn read(&self, bounce: reception::IncomingBounce) -> reception::Reading<'_> {
        let reception::IncomingBounce { generation, body, to } = bounce;
        Box::pin(async move {
            let read = self.0.read(bounce::IncomingBounce { generation, body, to }).await;
            let bounced = read.map_err(|rejected| {
                tracing::error!(target: "BOUNCE", "a bounce could not be read, it was refused with 451: {rejected}");
                reception::TooBusy
            })?;
            let of = |bounced: bounce::Bounced| reception::BouncedRecipient {
                recipient: bounced.recipient,
                class: bounced.class.code(),
                reply: bounced.reply,
            };
            Ok(bounced.into_iter().map(of).collect())
        })
    }
}
