//! TLS at the door: which contexts the listeners of a generation need, and what a handshake means for a session.

use std::net::IpAddr;
use std::str::FromStr as _;

use config::{Generation, Lookup, ScopeRef};
use io_wrapper::IoWrappers;
use policy::{Scope, ValidationContext};
use tls::{Facts, ServerSetup, TLS_CLIENT_CA, TLS_VERIFY_MODE, TlsContexts, VerifyMode};

use crate::epoch::WORD;
use crate::options::{REQUIRE_TLS, SMTP_EXTENSIONS, USE_SSL};

/// Reads the certificates and keys that the listeners of a generation need: those of each Listen stanza, and of each Peer stanza
/// there. `as_root`: a key that everyone can read is an error. Blocks.
///
/// # Errors
/// The place and what is wrong, where TLS is asked for and there is no certificate to shake hands with, or a file cannot be used.
pub fn tls_contexts(generation: &Generation, files: &IoWrappers, as_root: bool) -> Result<TlsContexts, String> {
    let mut contexts = TlsContexts::default();
    for (place, setup) in setups(generation)? {
        contexts.add(setup, files, as_root).map_err(|error| format!("{place}: {error}"))?;
    }
    Ok(contexts)
}

fn setups(generation: &Generation) -> Result<Vec<(String, ServerSetup)>, String> {
    let mut setups = Vec::new();
    for listener in generation.instances(WORD) {
        for listen in listener.children("listen") {
            let name = listen.name();
            let mut look = |peer: Option<IpAddr>, at: &ScopeRef<'_>| {
                setups.extend(setup_of(generation, &name, peer, at)?.map(|setup| (at.place(), setup)));
                Ok::<(), String>(())
            };
            look(None, &listen)?;
            for peer in listener.children("peer").into_iter().chain(listen.children("peer")) {
                for address in edges(&peer.name()) {
                    look(Some(address), &peer)?;
                }
            }
        }
    }
    Ok(setups)
}

fn setup_of(
    generation: &Generation,
    listen: &str,
    peer: Option<IpAddr>,
    at: &ScopeRef<'_>,
) -> Result<Option<ServerSetup>, String> {
    let lookup = Lookup::Listener { kind: WORD, listen, peer };
    let chain = generation.chain(&lookup);
    let setup = ServerSetup::of(generation, &chain);
    let starttls = generation.read(&SMTP_EXTENSIONS, &chain).iter().any(|word| word.eq_ignore_ascii_case("STARTTLS"));
    let implicit = generation.read(&USE_SSL, &chain);
    let required = generation.read(&REQUIRE_TLS, &chain);
    let verify = generation.read(&TLS_VERIFY_MODE, &chain);
    let has_ca = !generation.read(&TLS_CLIENT_CA, &chain).is_empty();
    let missing = |asked: &str| {
        format!(
            "{}: {asked}, and no tls_certificate is set for it; add tls_certificate = \"/path/of/chain.pem\" and tls_key = \
             \"/path/of/key.pem\" to the listener, or leave that out",
            at.place()
        )
    };
    match &setup {
        None if implicit => Err(missing("use_ssl has sessions begin with TLS")),
        None if starttls => Err(missing("SMTP_Extensions offers STARTTLS")),
        None if required => Err(missing("require_tls takes mail under TLS only")),
        None if verify != VerifyMode::None => Err(missing("tls_verify_mode asks clients for certificates")),
        _ if has_ca && generation.find(&TLS_VERIFY_MODE, &lookup).is_none() => Err(format!(
            "{}: tls_client_ca says which certificates of clients are good, and nobody asks for one; set tls_verify_mode to optional \
             or require (or to none, to say so)",
            at.place()
        )),
        Some(_) if required && !starttls && !implicit => Err(format!(
            "{}: require_tls takes mail under TLS only, and no session could begin it; add \"STARTTLS\" to SMTP_Extensions, or \
             set use_ssl = true",
            at.place()
        )),
        _ => Ok(setup),
    }
}

/// The first address of a Peer stanza's net and the one behind its last: every stretch of addresses that stanzas tell apart begins
/// with one of those.
fn edges(net: &str) -> Vec<IpAddr> {
    let net = match ipnet::IpNet::from_str(net) {
        Ok(net) => net,
        Err(_) => match net.parse::<IpAddr>() {
            Ok(address) => address.into(),
            Err(_) => return Vec::new(),
        },
    };
    let behind = match net.broadcast() {
        IpAddr::V4(last) => u32::from(last).checked_add(1).map(|next| IpAddr::V4(next.into())),
        IpAddr::V6(last) => u128::from(last).checked_add(1).map(|next| IpAddr::V6(next.into())),
    };
    std::iter::once(net.network()).chain(behind).collect()
}

/// The documented variables of a handshake (reference: extending.md section 2).
pub(crate) fn set_variables(facts: &Facts, context: &mut ValidationContext) {
    let bits = facts.bits.to_string();
    let verified = if facts.is_verified { "yes" } else { "no" };
    for (name, value) in [
        ("tls", "yes"),
        ("tls_cipher", facts.cipher),
        ("tls_cipher_algbits", &bits),
        ("tls_cipher_usebits", &bits),
        ("tls_client_verified", verified),
    ] {
        context.set(Scope::Connection, name, value);
    }
}
