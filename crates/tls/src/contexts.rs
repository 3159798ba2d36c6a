//! The contexts of one configuration, and their exchange for those of the next.
//!
//! Loading reads files and may block; taking a context is one atomic load on any thread. Invariant: contexts that can be
//! taken were all loaded together, from files that were all right.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use io_wrapper::IoWrappers;
use rustls::client::WantsClientCert;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{ClientConfig, ConfigBuilder, ServerConfig};

use crate::error::TlsError;
use crate::files::Files;
use crate::server_names::ServerNames;
use crate::unverified::AnyCertificate;

/// A certificate chain and its private key, each a PEM file by path or URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The chain, own certificate first.
    pub certificate: String,
    /// The key.
    pub key: String,
}

/// What the operator wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsSetup {
    /// What we show to clients; without it there is no TLS inbound.
    pub server: Option<Identity>,
    /// What we show to clients that ask for these names; `*.example.com` covers one label.
    pub server_names: Vec<(String, Identity)>,
    /// What we show to servers that ask for it.
    pub client: Option<Identity>,
    /// The CA bundle servers are verified against; without it none can be.
    pub ca: Option<String>,
    /// Whether a world-readable key is an error instead of a warning: for a daemon started as root.
    pub as_root: bool,
}

/// The contexts in force. Cloning shares them.
#[derive(Clone, Debug)]
pub struct TlsContexts(Arc<ArcSwap<Contexts>>);

#[derive(Debug)]
struct Contexts {
    server: Option<Arc<ServerConfig>>,
    client_unverified: Arc<ClientConfig>,
    client_verified: Option<Arc<ClientConfig>>,
}

impl TlsContexts {
    /// Reads the files and makes the contexts. Blocks.
    pub fn load(setup: &TlsSetup, wrappers: &IoWrappers) -> Result<Self, TlsError> {
        Ok(Self(Arc::new(ArcSwap::from_pointee(Contexts::load(setup, wrappers)?))))
    }

    /// Reads the files anew and exchanges all contexts at once. Sessions keep what they took; an error changes nothing.
    /// Blocks.
    pub fn reload(&self, setup: &TlsSetup, wrappers: &IoWrappers) -> Result<(), TlsError> {
        self.0.store(Arc::new(Contexts::load(setup, wrappers)?));
        Ok(())
    }

    /// For accepting STARTTLS; `None` without a certificate of our own.
    pub fn server(&self) -> Option<Arc<ServerConfig>> {
        self.0.load().server.clone()
    }

    /// For opportunistic TLS to a server: encrypts, and believes any certificate. Never a proof of who the peer is.
    pub fn client_unverified(&self) -> Arc<ClientConfig> {
        self.0.load().client_unverified.clone()
    }

    /// For TLS to a server whose certificate must lead to the CA bundle and carry the name asked for; `None` without a
    /// bundle.
    pub fn client_verified(&self) -> Option<Arc<ClientConfig>> {
        self.0.load().client_verified.clone()
    }
}

impl Contexts {
    fn load(setup: &TlsSetup, wrappers: &IoWrappers) -> Result<Self, TlsError> {
        let files = Files { wrappers, as_root: setup.as_root };
        let provider = Arc::new(aws_lc_rs::default_provider());
        let unverified = client_builder(&provider)?.dangerous();
        let unverified = unverified.with_custom_certificate_verifier(Arc::new(AnyCertificate(provider.clone())));
        let verified = match &setup.ca {
            Some(file) => {
                let verified = client_builder(&provider)?.with_root_certificates(files.roots(file)?);
                Some(client(verified, setup, &files)?)
            }
            None => None,
        };
        Ok(Self {
            server: server(setup, &files, &provider)?,
            client_unverified: client(unverified, setup, &files)?,
            client_verified: verified,
        })
    }
}

fn server(
    setup: &TlsSetup,
    files: &Files<'_>,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<ServerConfig>>, TlsError> {
    let Some(own) = &setup.server else { return Ok(None) };
    let own = Arc::new(files.identity(own)?);
    let mut by_name = HashMap::new();
    for (name, identity) in &setup.server_names {
        by_name.insert(name.to_ascii_lowercase(), Arc::new(files.identity(identity)?));
    }
    let config = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|source| refused("TLS for listeners", source))?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(ServerNames { own, by_name }));
    Ok(Some(Arc::new(config)))
}

fn client_builder(
    provider: &Arc<CryptoProvider>,
) -> Result<ConfigBuilder<ClientConfig, rustls::WantsVerifier>, TlsError> {
    ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|source| refused("TLS for delivery", source))
}

fn client(
    builder: ConfigBuilder<ClientConfig, WantsClientCert>,
    setup: &TlsSetup,
    files: &Files<'_>,
) -> Result<Arc<ClientConfig>, TlsError> {
    let Some(identity) = &setup.client else { return Ok(Arc::new(builder.with_no_client_auth())) };
    let (chain, key) = files.parts(identity)?;
    let config = builder.with_client_auth_cert(chain, key);
    config.map(Arc::new).map_err(|source| refused(&format!("client certificate {}", identity.certificate), source))
}

fn refused(doing: &str, source: rustls::Error) -> TlsError {
    TlsError::Refused { doing: doing.to_owned(), source }
}
