//! Names of stanzas brought to the form they are compared in.

use std::borrow::Cow;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::address::{ListenAddress, parse_ip};
use crate::kinds::{Blanks, NameRule};
use crate::lexer::brief;
use crate::patterns::Patterns;
use crate::tree::Scalar;

/// How an instance is found among its siblings.
#[derive(Clone, Debug)]
pub(crate) enum Key {
    Exact(Box<str>),
    Regex(regex::Regex),
    Net(IpNet),
}

/// The key of a stanza name, or a sentence and a piece of advice.
pub(crate) fn key_of(rule: NameRule, name: &Scalar, patterns: &mut Patterns) -> Result<Key, (String, String)> {
    let text = name.text();
    match rule {
        NameRule::Exact { blanks } => exact(blanks, &text),
        NameRule::Domain if text.is_empty() => Err(empty_name()),
        NameRule::Domain => {
            let pattern = name.pattern_text();
            match pattern.len() > 1 && pattern.starts_with('/') && pattern.ends_with('/') {
                true => patterns.of_name(&pattern[1..pattern.len() - 1]).map(Key::Regex),
                false => Ok(Key::Exact(domain_key(&text).into())),
            }
        }
        NameRule::Listen => {
            ListenAddress::parse(&text).map(|address| Key::Exact(address.to_string().into())).map_err(|problem| {
                (
                    problem,
                    match text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
                        true => format!("write \":{text}\" for port {text} of every address"),
                        false => "for example \":25\", \"192.0.2.1:25\", \"[2001:db8::1]:25\" or \"/path/of/socket\""
                            .to_owned(),
                    },
                )
            })
        }
        NameRule::Peer => crate::nets::parse_net(&text).map(Key::Net).map_err(|problem| {
            (problem, "for example \"192.0.2.0/24\", \"192.0.2.7\" or \"2001:db8::/32\"".to_owned())
        }),
    }
}

fn empty_name() -> (String, String) {
    ("the name is empty".to_owned(), "write a name between the quotes".to_owned())
}

fn exact(blanks: Blanks, text: &str) -> Result<Key, (String, String)> {
    let colon = |c: char| blanks == Blanks::AndColonsRefused && c == ':';
    let refused = |c: char| blanks != Blanks::Allowed && c.is_whitespace() || colon(c);
    match text.find(refused) {
        _ if text.is_empty() => Err(empty_name()),
        None => Ok(Key::Exact(text.into())),
        Some(at) => {
            let what = if text[at..].starts_with(':') { "a colon" } else { "a blank" };
            let words: Vec<_> = text.split(refused).filter(|word| !word.is_empty()).collect();
            Err((
                format!("the name `{}` contains {what}", brief(text)),
                format!("write \"{}\"", brief(&words.join("-"))),
            ))
        }
    }
}

/// A domain or host in the form it is compared in: lower case, no final dot, addresses canonical.
pub(crate) fn domain_key(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let maybe_address = bytes.first().is_some_and(|b| b.is_ascii_digit() || *b == b'[') || bytes.contains(&b':');
    if maybe_address && let Ok(ip) = parse_ip(text) {
        return Cow::Owned(ip.to_string());
    }
    let trimmed = text.strip_suffix('.').unwrap_or(text);
    match trimmed.bytes().any(|b| b.is_ascii_uppercase()) {
        true => Cow::Owned(trimmed.to_ascii_lowercase()),
        false => Cow::Borrowed(trimmed),
    }
}

/// A listen address in the form it is compared in; unreadable text stays as it is and finds nothing.
pub(crate) fn listen_key(text: &str) -> Cow<'_, str> {
    match ListenAddress::parse(text) {
        Ok(address) => Cow::Owned(address.to_string()),
        Err(_) => Cow::Borrowed(text),
    }
}

/// The key of a name as a command gives it.
pub(crate) fn text_key(rule: NameRule, text: &str) -> Cow<'_, str> {
    match rule {
        NameRule::Exact { .. } => Cow::Borrowed(text),
        NameRule::Domain => domain_key(text),
        NameRule::Listen => listen_key(text),
        NameRule::Peer => crate::nets::parse_net(text).map_or(Cow::Borrowed(text), |net| Cow::Owned(net.to_string())),
    }
}

/// An address out of a peer name, when it is one.
pub(crate) fn peer_ip(text: &str) -> Option<IpAddr> {
    crate::nets::parse_net(text).ok().map(|net| net.addr())
}
