//! Which certificate a client gets, by the name it asks for (RFC 6066 3).

use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// The SNI table: exact names, then `*.` names for one label, then the listener's own certificate. A name nobody knows is
/// no reason to refuse: SMTP clients often ask for the MX name of one of many domains.
#[derive(Debug)]
pub(crate) struct ServerNames {
    pub(crate) own: Arc<CertifiedKey>,
    /// Lower case.
    pub(crate) by_name: HashMap<String, Arc<CertifiedKey>>,
}

impl ServerNames {
    fn find(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        let name = name.to_ascii_lowercase();
        let wildcard = || self.by_name.get(&format!("*.{}", name.split_once('.')?.1));
        self.by_name.get(&name).or_else(wildcard)
    }
}

impl ResolvesServerCert for ServerNames {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(hello.server_name().and_then(|name| self.find(name)).unwrap_or(&self.own).clone())
    }
}
