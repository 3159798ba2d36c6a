//! Addresses of the envelope: mailboxes, reverse-paths and forward-paths (RFC 5321 4.1.2).
//!
//! Parsed once at the edge. A value of these types is ASCII, within the limits of RFC 5321 4.5.3.1, and holds no
//! control byte, so it can be written into a command, a log line or a header field as it stands.

use std::fmt;

/// Longest local-part in octets (RFC 5321 4.5.3.1.1).
pub const LOCAL_PART_OCTETS_MAX: usize = 64;
/// Longest domain in octets (RFC 5321 4.5.3.1.2).
pub const DOMAIN_OCTETS_MAX: usize = 255;

/// Longest path in octets, its angle brackets and source route included (RFC 5321 4.5.3.1.3).
pub const PATH_OCTETS_MAX: usize = 256;

/// `local-part@domain`, as received; the domain may be an address literal such as `[192.0.2.1]`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Mailbox {
    text: Box<str>,
    /// Octets of the local-part; the domain starts one after it. Equal to `text.len()` for the bare `<postmaster>`.
    local_part_octets: u8,
}

/// Which local-parts are taken. Closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressRules {
    /// Those of RFC 5321 4.1.2.
    Pedantic,
    /// Also those with dots side by side or at an end, such as `a..b` and `ab.`, which some hosts have given out.
    Relaxed,
}

/// Why a mailbox was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressError {
    /// Not of the form `local-part "@" domain`.
    Syntax,
    /// A local-part alone.
    NoDomain,
    /// A local-part over 64 octets.
    LocalPartTooLong,
    /// A domain over 255 octets.
    DomainTooLong,
    /// A path over 256 octets, with its angle brackets.
    PathTooLong,
    /// An octet over 127: needs SMTPUTF8, which is not offered.
    NotAscii,
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Syntax => "expected local-part@domain",
            Self::NoDomain => "no domain, expected local-part@domain",
            Self::LocalPartTooLong => "local-part longer than 64 octets",
            Self::DomainTooLong => "domain longer than 255 octets",
            Self::PathTooLong => "path longer than 256 octets",
            Self::NotAscii => "octets over 127 need SMTPUTF8, which is not offered",
        })
    }
}

impl std::error::Error for AddressError {}

impl Mailbox {
    /// Parses `local-part@domain` (RFC 5321 4.1.2 `Mailbox`): dot-string or quoted-string, then a domain or an address
    /// literal. Source routes are the command grammar's business, not this one's.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        Self::parse_under(AddressRules::Pedantic, text)
    }

    /// As [`Mailbox::parse`], under these rules.
    pub fn parse_under(rules: AddressRules, text: &str) -> Result<Self, AddressError> {
        if !text.is_ascii() {
            return Err(AddressError::NotAscii);
        }
        let octets = text.as_bytes();
        let local_part_octets =
            if octets.first() == Some(&b'"') { quoted_string(octets)? } else { dot_string(octets, rules)? };
        if LOCAL_PART_OCTETS_MAX < local_part_octets {
            return Err(AddressError::LocalPartTooLong);
        }
        if octets.get(local_part_octets) != Some(&b'@') {
            return Err(AddressError::Syntax);
        }
        check_domain(&text[local_part_octets + 1..])?;
        Ok(Self { text: text.into(), local_part_octets: local_part_octets as u8 })
    }

    /// The bare `postmaster` of RFC 5321 4.5.1, which has no domain.
    pub fn postmaster() -> Self {
        Self { text: "postmaster".into(), local_part_octets: 10 }
    }

    /// The whole text, as received.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The local-part, with its quotes if it came quoted.
    pub fn local_part(&self) -> &str {
        &self.text[..usize::from(self.local_part_octets)]
    }

    /// The domain, as received; empty for the bare `postmaster`.
    pub fn domain(&self) -> &str {
        self.text.get(usize::from(self.local_part_octets) + 1..).unwrap_or("")
    }
}

impl fmt::Display for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>", self.text)
    }
}

/// The value of MAIL FROM: where failures are reported, or nowhere.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ReversePath {
    /// `<>`: delivery status notifications and their like; never answered with one.
    Null,
    /// An ordinary one.
    Mailbox(Mailbox),
}

impl ReversePath {
    /// The mailbox, unless the path is null.
    pub fn mailbox(&self) -> Option<&Mailbox> {
        match self {
            Self::Null => None,
            Self::Mailbox(mailbox) => Some(mailbox),
        }
    }

    /// What stands between the angle brackets; empty for the null path.
    pub fn as_str(&self) -> &str {
        self.mailbox().map_or("", Mailbox::as_str)
    }
}

/// The value of RCPT TO.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ForwardPath(pub Mailbox);

impl ForwardPath {
    /// The mailbox.
    pub fn mailbox(&self) -> &Mailbox {
        &self.0
    }

    /// What stands between the angle brackets.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

/// Checks a `Domain` or `address-literal` (RFC 5321 4.1.2, 4.1.3).
pub fn check_domain(text: &str) -> Result<(), AddressError> {
    if !text.is_ascii() {
        return Err(AddressError::NotAscii);
    }
    if DOMAIN_OCTETS_MAX < text.len() {
        return Err(AddressError::DomainTooLong);
    }
    let valid = match text.strip_prefix('[') {
        Some(literal) => literal.strip_suffix(']').is_some_and(is_address_literal),
        // A trailing dot is no part of a mail domain, and an underscore is tolerated because it occurs.
        None => text.split('.').all(is_label),
    };
    if valid { Ok(()) } else { Err(AddressError::Syntax) }
}

fn is_label(label: &str) -> bool {
    let octets = label.as_bytes();
    !octets.is_empty()
        && octets.len() <= 63
        && octets.iter().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_'))
        && octets[0] != b'-'
        && octets[octets.len() - 1] != b'-'
}

fn is_address_literal(literal: &str) -> bool {
    match literal.get(..5).filter(|tag| tag.eq_ignore_ascii_case("IPv6:")) {
        Some(_) => literal[5..].parse::<std::net::Ipv6Addr>().is_ok(),
        None => literal.parse::<std::net::Ipv4Addr>().is_ok(),
    }
}

fn dot_string(octets: &[u8], rules: AddressRules) -> Result<usize, AddressError> {
    let Some(end) = octets.iter().position(|&octet| octet == b'@') else {
        let is_atom = |atom: &[u8]| !atom.is_empty() && atom.iter().all(|&octet| is_atext(octet));
        let is_local_part = octets.split(|&octet| octet == b'.').all(is_atom);
        return Err(if is_local_part { AddressError::NoDomain } else { AddressError::Syntax });
    };
    let (mut atoms, mut gaps) = (0, 0);
    for atom in octets[..end].split(|&octet| octet == b'.') {
        if !atom.iter().all(|&octet| is_atext(octet)) {
            return Err(AddressError::Syntax);
        }
        if atom.is_empty() { gaps += 1 } else { atoms += 1 }
    }
    let valid = 0 < atoms && (gaps == 0 || rules == AddressRules::Relaxed);
    if valid { Ok(end) } else { Err(AddressError::Syntax) }
}

fn quoted_string(octets: &[u8]) -> Result<usize, AddressError> {
    let mut at = 1;
    loop {
        match octets.get(at) {
            Some(b'"') => return Ok(at + 1),
            Some(b'\\') if octets.get(at + 1).is_some_and(|octet| (32..=126).contains(octet)) => at += 2,
            Some(octet) if (32..=126).contains(octet) && *octet != b'\\' => at += 1,
            _ => return Err(AddressError::Syntax),
        }
    }
}

fn is_atext(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&octet)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mailboxes_of_rfc_5321_are_taken_apart() {
        for (text, local_part, domain) in [
            ("ann@shop.example", "ann", "shop.example"),
            ("\"a b@c\"@shop.example", "\"a b@c\"", "shop.example"),
            ("a.b+c@[192.0.2.1]", "a.b+c", "[192.0.2.1]"),
            ("a@[IPv6:2001:db8::1]", "a", "[IPv6:2001:db8::1]"),
        ] {
            let mailbox = Mailbox::parse(text).unwrap();
            assert_eq!((mailbox.local_part(), mailbox.domain()), (local_part, domain));
        }
    }

    #[test]
    fn relaxed_rules_take_dots_anywhere_and_nothing_else_more() {
        for text in ["a..b@xxx.test", "ab.@xxx.test", ".ab@xxx.test"] {
            assert_eq!(Mailbox::parse(text), Err(AddressError::Syntax), "{text}");
            assert_eq!(Mailbox::parse_under(AddressRules::Relaxed, text).unwrap().domain(), "xxx.test");
        }
        for text in ["@x", "..@x", "a b@x", "a(b)@x", "a..b@x..y", "a..b"] {
            assert_eq!(Mailbox::parse_under(AddressRules::Relaxed, text), Err(AddressError::Syntax), "{text}");
        }
    }

    #[test]
    fn what_is_no_mailbox_is_refused() {
        for text in ["", "@x", "ann@", "a..b@x", ".a@x", "a b@x", "a@x..y", "a@-x", "a@[300.1.1.1]", "a\r@x", "\"a@x"] {
            assert_eq!(Mailbox::parse(text), Err(AddressError::Syntax), "{text}");
        }
        assert_eq!(Mailbox::parse("ann"), Err(AddressError::NoDomain));
        assert_eq!(Mailbox::parse("é@x"), Err(AddressError::NotAscii));
        assert_eq!(Mailbox::parse(&format!("{}@x", "a".repeat(65))), Err(AddressError::LocalPartTooLong));
        assert_eq!(Mailbox::parse(&format!("a@{}", "b.".repeat(130))), Err(AddressError::DomainTooLong));
    }
}
