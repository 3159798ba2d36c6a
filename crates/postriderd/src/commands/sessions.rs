//! `show inbound`, `show outbound`, `count`: the open sessions.

use std::net::IpAddr;
use std::rc::Rc;

use console::shapes::{InboundSession, InboundSessions, OutboundSession, OutboundSessions, SessionCount, Shape as _};
use console::{Command, CommandError, Invocation, Reply};

use super::completion::{Place, completed};
use super::{command, known_binding, room_for};
use crate::house::House;

/// The family.
pub fn commands(house: &Rc<House>) -> Vec<Command> {
    let inbound = command(house, "show inbound", "sessions of clients", |house, asked| async move {
        asked.no_args()?;
        inbound(&house)
    });
    let outbound = command(house, "show outbound", "open delivery connections", |house, asked| async move {
        asked.no_args()?;
        outbound(&house).await
    });
    let count = command(
        house,
        "count SMTP|outbound|outbound/BINDING ADDRESS|PREFIX|MASK|MASK-MASK",
        "sessions by address",
        |house, asked| async move { count(&house, &asked).await },
    )
    .help(
        "SMTP counts sessions of clients, outbound those of deliveries. An address or a prefix (192.0.2.0/24) counts the sessions\n\
         in it. A mask (32) or a range of masks (16-32) counts each network of that size, and what is inside it.",
    );
    vec![inbound, outbound, completed(house, count, &[Place::Words(&["SMTP", "outbound", "outbound/"])])]
}

fn inbound(house: &House) -> Result<Reply, CommandError> {
    let _room = room_for(house, house.inbound.count() * SESSION_OCTETS)?;
    let now = house.clock.now();
    let session = |session: reception::SessionReport| InboundSession {
        fd: session.descriptor,
        class: "esmtp_listener".to_owned(),
        listen: session.listen.to_string(),
        peer: session.peer,
        state: session.state.as_str().to_owned(),
        in_state: now.saturating_duration_since(session.since),
        age: now.saturating_duration_since(session.begun),
    };
    Ok(InboundSessions { sessions: house.inbound.list().into_iter().map(session).collect() }.reply())
}

async fn outbound(house: &House) -> Result<Reply, CommandError> {
    let counts = house.engine.counts().await;
    let _room = room_for(house, counts.outbound_concurrency * SESSION_OCTETS)?;
    let session = |connection: delivery::ConnectionReport| {
        let (host, peer) = connection.remote?;
        let fd = connection.descriptor.unwrap_or(-1);
        Some(OutboundSession { fd, class: "smtp_client".to_owned(), host: host.to_string(), peer })
    };
    Ok(OutboundSessions { sessions: house.engine.connections().await.into_iter().filter_map(session).collect() }
        .reply())
}

async fn count(house: &House, asked: &Invocation) -> Result<Reply, CommandError> {
    let (what, networks) = match asked.args.as_slice() {
        [what, networks] => (what.as_str(), networks.as_str()),
        [] | [_] => return Err(CommandError::Usage("a type of sessions and a network or mask belong here".to_owned())),
        [_, _, surplus, ..] => return Err(CommandError::Usage(format!("'{surplus}' is one argument too many"))),
    };
    let (within, masks) = networks_of(networks).ok_or_else(|| {
        CommandError::Usage(format!(
            "'{networks}' is no address (192.0.2.9), prefix (192.0.2.0/24), mask (32) or range of masks (16-32)"
        ))
    })?;
    let binding = match what {
        "outbound" => None,
        inbound if inbound.eq_ignore_ascii_case("SMTP") => {
            let addresses = house.inbound.list().into_iter().filter_map(|session| session.peer).map(|peer| peer.ip());
            let inbound = Some(inbound.to_owned());
            return Ok(SessionCount { inbound, within, masks, addresses: addresses.collect() }.reply());
        }
        other => Some(other.strip_prefix("outbound/").ok_or_else(|| {
            CommandError::Usage(format!("'{other}' is no type of sessions: SMTP, outbound or outbound/BINDING"))
        })?),
    };
    if let Some(binding) = binding {
        known_binding(house, binding).await?;
    }
    let connections = house.engine.connections().await.into_iter();
    let of_binding = connections.filter(|one| binding.is_none_or(|binding| *one.queue.binding == *binding));
    let addresses = of_binding.filter_map(|one| one.remote).map(|(_, remote)| remote.ip()).collect();
    Ok(SessionCount { inbound: None, within, masks, addresses }.reply())
}

/// An address, and how many bits of it a network has.
type Network = (IpAddr, u8);

/// One network to count in, or the shortest and the longest mask to count by.
fn networks_of(text: &str) -> Option<(Option<Network>, (u8, u8))> {
    let mask = |text: &str| text.parse::<u8>().ok().filter(|mask| *mask <= 128);
    let longest = |address: &IpAddr| if address.is_ipv4() { 32 } else { 128 };
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some((Some((address, longest(&address))), (0, 0)));
    }
    if let Some((address, bits)) = text.split_once('/') {
        let address = address.parse::<IpAddr>().ok()?;
        let bits = mask(bits).filter(|bits| *bits <= longest(&address))?;
        return Some((Some((address, bits)), (0, 0)));
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let masks = (mask(first)?, mask(last)?);
    (masks.0 <= masks.1).then_some((None, masks))
}

/// Of one session in a listing: its report, its row and its line.
const SESSION_OCTETS: usize = 500;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_an_address_a_prefix_or_masks() {
        let at = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(networks_of("192.0.2.9"), Some((Some((at("192.0.2.9"), 32)), (0, 0))));
        assert_eq!(networks_of("2001:db8::/48"), Some((Some((at("2001:db8::"), 48)), (0, 0))));
        assert_eq!((networks_of("32"), networks_of("16-32")), (Some((None, (32, 32))), Some((None, (16, 32)))));
        for text in ["", "x", "192.0.2.0/33", "33-16", "129", "192.0.2", "/24", "-", "16-x"] {
            assert_eq!(networks_of(text), None, "{text}");
        }
    }
}
