//! The options of TLS, for both directions: each is read by whoever speaks TLS, along the scopes of a session or a queue.

use config::{Declared, Opt, OptionType, Scope, Value, one_of};

use crate::ciphers::{Ciphers, Ciphersuites};
use crate::protocols::Protocols;

/// Every option of this crate.
pub const OPTIONS: &[&dyn Declared] =
    &[&TLS_CERTIFICATE, &TLS_KEY, &TLS_CIPHERS, &TLSV13_CIPHERSUITES, &TLS_PROTOCOLS, &TLS_CLIENT_CA, &TLS_VERIFY_MODE];

/// Both directions.
const BOTH: &[Scope] = &[
    Scope::Global,
    Scope::Binding,
    Scope::BindingGroup,
    Scope::Domain,
    Scope::Listener("esmtp_listener"),
    Scope::Listener("ecstream_listener"),
    Scope::Listener("http_listener"),
    Scope::Listener("xmpp_listener"),
    Scope::Listen,
    Scope::Peer,
    Scope::Pathway,
    Scope::PathwayGroup,
];
/// As documented, a few less.
const VERSIONS: &[Scope] = &[
    Scope::Global,
    Scope::Binding,
    Scope::BindingGroup,
    Scope::Domain,
    Scope::Listener("esmtp_listener"),
    Scope::Listener("ecstream_listener"),
    Scope::Listener("http_listener"),
    Scope::Listen,
    Scope::Peer,
    Scope::Pathway,
    Scope::PathwayGroup,
];
const SUITES: &[Scope] = &[
    Scope::Global,
    Scope::Binding,
    Scope::BindingGroup,
    Scope::Domain,
    Scope::Listener("esmtp_listener"),
    Scope::Listener("http_listener"),
    Scope::Listen,
    Scope::Peer,
    Scope::Pathway,
    Scope::PathwayGroup,
];
const CLIENT_CA: &[Scope] = &[
    Scope::Global,
    Scope::Listener("esmtp_listener"),
    Scope::Listener("ecstream_listener"),
    Scope::Listener("http_listener"),
    Scope::Listener("xmpp_listener"),
    Scope::Listen,
    Scope::Peer,
    Scope::Pathway,
    Scope::PathwayGroup,
];
const INBOUND: &[Scope] = &[
    Scope::Listener("esmtp_listener"),
    Scope::Listener("ecstream_listener"),
    Scope::Listener("http_listener"),
    Scope::Listener("xmpp_listener"),
    Scope::Listen,
    Scope::Peer,
    Scope::Pathway,
    Scope::PathwayGroup,
];

/// See its doc.
pub const TLS_CERTIFICATE: Opt<String> = Opt::new(
    "tls_certificate",
    "",
    BOTH,
    "PEM file, by path or URL, with our certificate and those that lead to its CA. A listener shows it to clients; a queue to \
     servers that ask for one. Read at the start and at each reload.",
);
/// See its doc.
pub const TLS_KEY: Opt<String> = Opt::new(
    "tls_key",
    "",
    BOTH,
    "PEM file, by path or URL, with the private key of tls_certificate; unset: it stands in the same file. Refused by a daemon \
     started as root if everyone on the machine can read it.",
);
/// See its doc.
pub const TLS_CIPHERS: Opt<Ciphers> = Opt::new(
    "tls_ciphers",
    "",
    BOTH,
    "Ciphers of TLS 1.2, as OpenSSL writes them; unset: all that this version has, which encrypt with AES-GCM or ChaCha20 and \
     agree on keys by ECDHE.",
)
.idle(|ciphers| ciphers.idle());
/// See its doc.
pub const TLSV13_CIPHERSUITES: Opt<Ciphersuites> = Opt::new(
    "tlsv13_ciphersuites",
    "",
    SUITES,
    "Suites of TLS 1.3, with colons between them; unset: TLS_AES_256_GCM_SHA384, TLS_AES_128_GCM_SHA256 and \
     TLS_CHACHA20_POLY1305_SHA256, in this order.",
);
/// See its doc.
pub const TLS_PROTOCOLS: Opt<Protocols> = Opt::new(
    "tls_protocols",
    "+ALL",
    VERSIONS,
    "Versions of TLS that are spoken: names with + and -, in their order; a list that begins with - takes away from all. There \
     are TLSv1.2 and TLSv1.3.",
)
.idle(|protocols| protocols.idle());
/// See its doc.
pub const TLS_CLIENT_CA: Opt<String> = Opt::new(
    "tls_client_ca",
    "",
    CLIENT_CA,
    "PEM file, by path or URL, with the CAs that the certificates of clients have to lead to.",
);
/// See its doc.
pub const TLS_VERIFY_MODE: Opt<VerifyMode> = Opt::new(
    "tls_verify_mode",
    "\"none\"",
    INBOUND,
    "Whether clients are asked for a certificate: none, optional, or require, which ends the handshake without a good one. One \
     that fails under optional counts as none. Needs tls_client_ca.",
);

/// The words of `tls_verify_mode`. Closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VerifyMode {
    /// Clients are not asked.
    None,
    /// They are asked, and may have none.
    Optional,
    /// They must have a good one.
    Require,
}

impl OptionType for VerifyMode {
    const EXPECTED: &'static str = "none, optional or require";
    fn parse(value: &Value) -> Result<Self, String> {
        one_of(
            value,
            &[("none", Self::None), ("no", Self::None), ("optional", Self::Optional), ("require", Self::Require)],
        )
    }
}
