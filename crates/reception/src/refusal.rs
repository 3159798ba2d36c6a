//! What a client is told when its message cannot be kept: one match, in one place.

use std::net::{Ipv4Addr, SocketAddr};

use smtp::Reply;
use spool::SpoolError;

/// Policy deferred without saying how.
pub(crate) const DEFERRED: Reply = Reply::new(451, (4, 7, 1), "try again later");
/// Policy rejected without saying how.
pub(crate) const REJECTED: Reply = Reply::new(550, (5, 7, 1), "rejected by policy");
/// Policy removed every recipient.
pub(crate) const NO_RECIPIENTS: Reply = Reply::new(554, (5, 5, 1), "no valid recipients");
/// The recipient's domain is not ours and the client may not relay.
pub(crate) const RELAYING_DENIED: Reply = Reply::new(550, (5, 7, 1), "relaying denied");
/// `blackhole` holds for the recipient.
pub(crate) const BLACKHOLED: Reply = Reply::new(551, (5, 7, 1), "recipient blackholed");
/// No policy gave the message a binding, and default_binding is none.
pub(crate) const NO_BINDING: Reply = Reply::new(451, (4, 3, 5), "no binding for this message, try again later");

/// Policy did not answer in time.
pub(crate) const POLICY_TIMED_OUT: Reply = Reply::new(451, (4, 3, 0), "policy timed out");
/// `inbound_throttle_messages` is reached.
pub(crate) const TOO_MANY_MESSAGES_NOW: Reply =
    Reply::new(451, (4, 7, 1), "Service unavailable, message rate limit reached");

/// The spool has no room.
pub(crate) const STORAGE_FULL: Reply = Reply::new(452, (4, 3, 1), "insufficient system storage");
/// The work that a message needs cannot be taken on now.
pub(crate) const OVERLOADED: Reply = Reply::new(451, (4, 3, 2), "system too busy, try again later");
const FAILED: Reply = Reply::new(451, (4, 3, 0), "transaction failed");
const CLOSING: Reply = Reply::new(421, (4, 3, 2), "Service shutting down");

/// The reply to a message that could not be made safe: never a path, never an errno.
pub(crate) fn reply_to(error: &SpoolError) -> Reply {
    match error {
        SpoolError::Full { .. } => STORAGE_FULL,
        SpoolError::Overloaded { .. } => OVERLOADED,
        SpoolError::Closed => CLOSING,
        SpoolError::Io { .. }
        | SpoolError::Missing { .. }
        | SpoolError::Damaged { .. }
        | SpoolError::OfNewerRelease { .. } => FAILED,
    }
}

/// What records and trace fields show for the end of a Unix socket, which has no address.
pub(crate) fn shown(address: Option<SocketAddr>) -> SocketAddr {
    address.unwrap_or_else(|| (Ipv4Addr::UNSPECIFIED, 0).into())
}
