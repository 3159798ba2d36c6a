//! `tls_protocols`: which versions of TLS may be spoken, as OpenSSL writes it.
//!
//! Takes a list of names with a sign; gives the versions that are left. Those that no modern library speaks are never offered:
//! to ask for one is told, not refused, for the peers that need it come in the clear where policy allows that. Pure.

use config::{Class, Idle, OptionType, Value};
use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};

/// The versions of TLS that may be spoken.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Protocols {
    pub(crate) tls12: bool,
    pub(crate) tls13: bool,
    /// Names asked for that are not spoken.
    old: Vec<String>,
}

impl Protocols {
    /// What the library is told.
    pub(crate) fn versions(&self) -> Vec<&'static SupportedProtocolVersion> {
        [(self.tls13, &TLS13), (self.tls12, &TLS12)].into_iter().filter(|(is_on, _)| *is_on).map(|(_, it)| it).collect()
    }

    /// What of the list has no effect.
    pub fn idle(&self) -> Option<Idle> {
        let told = format!("{} not spoken: the oldest version is TLSv1.2", quoted(&self.old));
        (!self.old.is_empty()).then_some(Idle { class: Class::Harmless, told })
    }

    fn parse_text(text: &str) -> Result<Self, String> {
        let words = || text.split([':', ',', ' ', '\t']).filter(|word| !word.is_empty());
        // A list that only takes away takes away from everything.
        let all = words().next().is_none_or(|word| word.starts_with(['-', '!']));
        let mut protocols = Self { tls12: all, tls13: all, old: Vec::new() };
        for word in words() {
            let (on, name) = match word.strip_prefix(['-', '!']) {
                Some(name) => (false, name),
                None => (true, word.strip_prefix('+').unwrap_or(word)),
            };
            match name.to_ascii_uppercase().as_str() {
                "ALL" => (protocols.tls12, protocols.tls13) = (on, on),
                "TLSV1.2" => protocols.tls12 = on,
                "TLSV1.3" => protocols.tls13 = on,
                "SSLV2" | "SSLV3" | "TLSV1" | "TLSV1.0" | "TLSV1.1" if on => protocols.old.push(name.to_owned()),
                "SSLV2" | "SSLV3" | "TLSV1" | "TLSV1.0" | "TLSV1.1" => {}
                _ => {
                    return Err(format!(
                        "`{name}` names no version of TLS; write a list such as +ALL, +TLSv1.2:+TLSv1.3 or -TLSv1.3"
                    ));
                }
            }
        }
        match protocols.tls12 || protocols.tls13 {
            true => Ok(protocols),
            false => Err("leaves no version of TLS that is spoken here: TLSv1.2 and TLSv1.3 are".to_owned()),
        }
    }
}

impl OptionType for Protocols {
    const EXPECTED: &'static str = "a list of TLS versions with + and -, such as +ALL or +TLSv1.2:+TLSv1.3";
    fn parse(value: &Value) -> Result<Self, String> {
        Self::parse_text(&String::parse(value)?)
    }
}

pub(crate) fn quoted(words: &[String]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_adds_and_takes_away_in_its_order() {
        for (text, tls12, tls13) in [
            ("+ALL", true, true),
            ("all:-TLSv1.3", true, false),
            ("-TLSv1.2", false, true),
            ("TLSv1.2", true, false),
            ("+TLSv1.2, +TLSv1.3", true, true),
            ("ALL:-SSLv3:!TLSv1:-TLSv1.1", true, true),
        ] {
            let protocols = Protocols::parse_text(text).unwrap();
            assert_eq!((protocols.tls12, protocols.tls13), (tls12, tls13), "{text}");
            assert_eq!(protocols.idle(), None, "{text}");
        }
        assert!(
            Protocols::parse_text("+SSLv3:+TLSv1.2").unwrap().idle().unwrap().told.starts_with("`SSLv3` not spoken")
        );
        assert!(Protocols::parse_text("+TLSv1.1").unwrap_err().contains("leaves no version"));
        assert!(Protocols::parse_text("+TLS9").unwrap_err().contains("`TLS9` names no version"));
    }
}
