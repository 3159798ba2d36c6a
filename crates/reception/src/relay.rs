//! Relay control: who may send to whom (reference: extending.md section 1.3).
//!
//! A client may relay if `relay_hosts` holds its address, if `open_relay` is set, if policy set `can_relay`, or if it came
//! by a Unix socket, whose mode says who may. Anyone else reaches `relay_domains` only. Never grants anything but relaying.

use std::net::IpAddr;

use smtp::{Mailbox, ReversePath};

use crate::options::ListenerOptions;

/// Whether a client may relay, before policy has spoken.
pub(crate) fn client_may_relay(options: &ListenerOptions, peer: Option<IpAddr>) -> bool {
    options.open_relay || peer.is_none_or(|peer| options.relay_hosts.contains(peer))
}

/// Whether a client that may not relay may name this recipient all the same.
pub(crate) fn recipient_is_ours(options: &ListenerOptions, reverse_path: &ReversePath, recipient: &Mailbox) -> bool {
    // `<postmaster>` names nobody but this host's (RFC 5321 4.5.1).
    recipient.domain().is_empty()
        || options.relay_domains.matches(recipient.domain())
        || reverse_path.mailbox().is_some_and(|mailbox| options.relay_for_sending_domains.matches(mailbox.domain()))
}
