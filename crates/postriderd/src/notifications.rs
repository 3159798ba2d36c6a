//! Lets delivery tell senders of failures through `bounce`: the two rooms stand side by side and do not know each other.

use bounce::Bouncer;
use delivery::{FailedMessage, Local, NotStored};
use hooks::HookSet;
use logging::LogHooks;

/// The bouncer as delivery sees it.
pub struct Notifications(pub Bouncer);

impl delivery::Bouncer for Notifications {
    fn bounce<'a>(&'a self, failed: &'a FailedMessage) -> Local<'a, Result<(), NotStored>> {
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
            self.0.bounce(&told).await.map(drop).map_err(|error| NotStored(error.to_string()))
        })
    }
}
