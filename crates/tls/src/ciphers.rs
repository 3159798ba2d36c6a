//! `tls_ciphers` and `tlsv13_ciphersuites`: cipher lists as OpenSSL writes them, for a library that has the modern suites only.
//!
//! Takes the text; gives the suites that it leaves, in its order. What names a suite that does not exist here is told, and a list
//! that leaves nothing is refused. Pure.

use config::{Class, Idle, OptionType, Value};
use rustls::SupportedCipherSuite;
use rustls::crypto::aws_lc_rs::cipher_suite as suites;

use crate::protocols::quoted;

/// The suites of TLS 1.2 that may be used.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ciphers {
    /// Places in [`SUITES`].
    chosen: Vec<usize>,
    unknown: Vec<String>,
}

/// The suites of TLS 1.3 that may be used.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ciphersuites(Vec<usize>);

impl Ciphers {
    /// What the library is told.
    pub(crate) fn suites(&self) -> impl Iterator<Item = SupportedCipherSuite> + '_ {
        self.chosen.iter().map(|&place| SUITES[place].suite)
    }

    /// What of the list has no effect.
    pub fn idle(&self) -> Option<Idle> {
        let told = format!("{} names no cipher that this version has", quoted(&self.unknown));
        (!self.unknown.is_empty()).then_some(Idle { class: Class::Harmless, told })
    }

    fn parse_text(text: &str) -> Result<Self, String> {
        let mut ciphers = Self { chosen: Vec::new(), unknown: Vec::new() };
        let mut killed = Vec::new();
        let mut is_empty = true;
        for word in text.split([':', ',', ' ', ';']).filter(|word| !word.is_empty()) {
            is_empty = false;
            let (sign, name) = match word.chars().next() {
                Some(sign @ ('!' | '-' | '+')) => (sign, &word[1..]),
                _ => (' ', word),
            };
            if name.starts_with('@') {
                continue; // strength and security level: everything here is of the highest
            }
            let Some(named) = named(name) else {
                // To take away what is not there is done already.
                if matches!(sign, ' ' | '+') {
                    ciphers.unknown.push(name.to_owned());
                }
                continue;
            };
            match sign {
                '!' | '-' => {
                    ciphers.chosen.retain(|place| !named.contains(place));
                    if sign == '!' {
                        killed.extend(named);
                    }
                }
                '+' => {
                    let (moved, kept): (Vec<usize>, Vec<usize>) =
                        ciphers.chosen.iter().partition(|place| named.contains(place));
                    ciphers.chosen = [kept, moved].concat();
                }
                _ => {
                    let new =
                        named.into_iter().filter(|place| !killed.contains(place) && !ciphers.chosen.contains(place));
                    let new: Vec<usize> = new.collect();
                    ciphers.chosen.extend(new);
                }
            }
        }
        if is_empty {
            ciphers.chosen = (0..SUITES.len()).collect();
        }
        match ciphers.chosen.is_empty() {
            true => Err(format!("leaves no cipher of TLS 1.2 that this version has; it has {}", names(&SUITES))),
            false => Ok(ciphers),
        }
    }
}

impl Ciphersuites {
    /// What the library is told.
    pub(crate) fn suites(&self) -> impl Iterator<Item = SupportedCipherSuite> + '_ {
        self.0.iter().map(|&place| SUITES_13[place].suite)
    }

    fn parse_text(text: &str) -> Result<Self, String> {
        let mut chosen = Vec::new();
        for word in text.split([':', ',', ' ']).filter(|word| !word.is_empty()) {
            let place = SUITES_13.iter().position(|suite| suite.name.eq_ignore_ascii_case(word));
            let place =
                place.ok_or_else(|| format!("`{word}` is no suite of TLS 1.3 here; write {}", names(&SUITES_13)))?;
            if !chosen.contains(&place) {
                chosen.push(place);
            }
        }
        if chosen.is_empty() {
            chosen = (0..SUITES_13.len()).collect();
        }
        Ok(Self(chosen))
    }
}

impl OptionType for Ciphers {
    const EXPECTED: &'static str = "a cipher list as OpenSSL writes it, such as ECDHE+AESGCM:!aNULL";
    fn parse(value: &Value) -> Result<Self, String> {
        Self::parse_text(&String::parse(value)?)
    }
    fn unset() -> Option<Self> {
        Some(Self { chosen: (0..SUITES.len()).collect(), unknown: Vec::new() })
    }
}

impl OptionType for Ciphersuites {
    const EXPECTED: &'static str = "suites of TLS 1.3 with colons between them, such as TLS_AES_256_GCM_SHA384";
    fn parse(value: &Value) -> Result<Self, String> {
        Self::parse_text(&String::parse(value)?)
    }
    fn unset() -> Option<Self> {
        Some(Self((0..SUITES_13.len()).collect()))
    }
}

struct Suite {
    name: &'static str,
    suite: SupportedCipherSuite,
    /// What else stands for it, beside what stands for all.
    groups: &'static [&'static str],
}

/// OpenSSL's name of a suite, and the bits of its key.
pub(crate) fn described(suite: SupportedCipherSuite) -> (&'static str, u16) {
    let known = SUITES.iter().chain(&SUITES_13).find(|known| known.suite == suite);
    let name = known.map_or("unknown", |known| known.name);
    let bits = if name.contains("128") { 128 } else { 256 };
    (name, bits)
}

/// The places that a name, or several with plus signs between them, stands for; none if it is not known here.
fn named(name: &str) -> Option<Vec<usize>> {
    let mut places: Vec<usize> = (0..SUITES.len()).collect();
    for part in name.split('+') {
        let part = part.to_ascii_uppercase();
        let is_of = |suite: &Suite| {
            suite.name == part
                || ALL.contains(&&*part)
                || suite.groups.iter().any(|group| group.eq_ignore_ascii_case(&part))
        };
        if !SUITES.iter().any(is_of) {
            return None;
        }
        places.retain(|&place| is_of(&SUITES[place]));
    }
    Some(places)
}

fn names(suites: &[Suite]) -> String {
    suites.iter().map(|suite| suite.name).collect::<Vec<_>>().join(":")
}

/// What every suite of TLS 1.2 here is.
const ALL: [&str; 9] =
    ["ALL", "DEFAULT", "COMPLEMENTOFDEFAULT", "HIGH", "ECDHE", "EECDH", "KECDHE", "KEECDH", "TLSV1.2"];

static SUITES: [Suite; 6] = [
    Suite {
        name: "ECDHE-ECDSA-AES256-GCM-SHA384",
        suite: suites::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        groups: &["AES", "AES256", "AESGCM", "SHA384", "ECDSA", "AECDSA"],
    },
    Suite {
        name: "ECDHE-ECDSA-AES128-GCM-SHA256",
        suite: suites::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        groups: &["AES", "AES128", "AESGCM", "SHA256", "ECDSA", "AECDSA"],
    },
    Suite {
        name: "ECDHE-ECDSA-CHACHA20-POLY1305",
        suite: suites::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        groups: &["CHACHA20", "SHA256", "ECDSA", "AECDSA"],
    },
    Suite {
        name: "ECDHE-RSA-AES256-GCM-SHA384",
        suite: suites::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        groups: &["AES", "AES256", "AESGCM", "SHA384", "ARSA"],
    },
    Suite {
        name: "ECDHE-RSA-AES128-GCM-SHA256",
        suite: suites::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        groups: &["AES", "AES128", "AESGCM", "SHA256", "ARSA"],
    },
    Suite {
        name: "ECDHE-RSA-CHACHA20-POLY1305",
        suite: suites::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        groups: &["CHACHA20", "SHA256", "ARSA"],
    },
];

static SUITES_13: [Suite; 3] = [
    Suite { name: "TLS_AES_256_GCM_SHA384", suite: suites::TLS13_AES_256_GCM_SHA384, groups: &[] },
    Suite { name: "TLS_AES_128_GCM_SHA256", suite: suites::TLS13_AES_128_GCM_SHA256, groups: &[] },
    Suite { name: "TLS_CHACHA20_POLY1305_SHA256", suite: suites::TLS13_CHACHA20_POLY1305_SHA256, groups: &[] },
];

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(text: &str) -> Vec<&'static str> {
        Ciphers::parse_text(text).unwrap().chosen.iter().map(|&place| SUITES[place].name).collect()
    }

    #[test]
    fn a_list_of_openssl_leaves_what_is_here_of_it() {
        assert_eq!(chosen("").len(), 6);
        assert_eq!(chosen("HIGH:!aNULL:!MD5:!RC4:@STRENGTH").len(), 6);
        assert_eq!(chosen("ECDHE+AESGCM:!ECDSA"), ["ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-AES128-GCM-SHA256"]);
        assert_eq!(chosen("AES128:+ECDSA:!SHA384"), ["ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"]);
        assert_eq!(chosen("!CHACHA20:ALL:-AES128").len(), 2, "what was killed does not come back");
        let mixed = Ciphers::parse_text("AES128-SHA:ECDHE-RSA-AES128-GCM-SHA256:kRSA").unwrap();
        assert!(mixed.idle().unwrap().told.starts_with("`AES128-SHA`, `kRSA` names no cipher"));
        assert!(Ciphers::parse_text("RC4-SHA:DES-CBC3-SHA").unwrap_err().starts_with("leaves no cipher"));
        assert!(Ciphers::parse_text("ALL:!HIGH").unwrap_err().starts_with("leaves no cipher"));
    }

    #[test]
    fn suites_of_tls_1_3_are_named_one_by_one() {
        assert_eq!(Ciphersuites::parse_text("tls_aes_128_gcm_sha256").unwrap().0, [1]);
        assert_eq!(Ciphersuites::parse_text("").unwrap().0, [0, 1, 2]);
        assert!(Ciphersuites::parse_text("TLS_AES_128_CCM_SHA256").unwrap_err().contains("TLS_AES_256_GCM_SHA384:"));
    }
}
