//! What a listener shows and asks for in a handshake, as the options say it for one set of scopes.

use std::sync::Arc;

use config::{Chain, Generation};
use io_wrapper::IoWrappers;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoClientAuth, ProducesTickets, WebPkiClientVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme};
use rustls_pki_types::{CertificateDer, UnixTime};

use crate::ciphers::{Ciphers, Ciphersuites};
use crate::error::TlsError;
use crate::files::{Files, Identity};
use crate::options::{
    TLS_CERTIFICATE, TLS_CIPHERS, TLS_CLIENT_CA, TLS_KEY, TLS_PROTOCOLS, TLS_VERIFY_MODE, TLSV13_CIPHERSUITES,
    VerifyMode,
};
use crate::protocols::Protocols;

/// What the options of TLS come to for clients of one kind. The key of [`crate::TlsContexts`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServerSetup {
    identity: Identity,
    client_ca: String,
    verify: VerifyMode,
    protocols: Protocols,
    ciphers: Ciphers,
    ciphersuites: Ciphersuites,
}

impl ServerSetup {
    /// Along the scopes of a session; none without a certificate.
    pub fn of(generation: &Generation, chain: &Chain) -> Option<Self> {
        let certificate = Some(generation.read(&TLS_CERTIFICATE, chain)).filter(|file| !file.is_empty())?;
        let key = Some(generation.read(&TLS_KEY, chain)).filter(|file| !file.is_empty());
        Some(Self {
            identity: Identity { key: key.unwrap_or_else(|| certificate.clone()), certificate },
            client_ca: generation.read(&TLS_CLIENT_CA, chain),
            verify: generation.read(&TLS_VERIFY_MODE, chain),
            protocols: generation.read(&TLS_PROTOCOLS, chain),
            ciphers: generation.read(&TLS_CIPHERS, chain),
            ciphersuites: generation.read(&TLSV13_CIPHERSUITES, chain),
        })
    }

    /// Whether clients are asked for certificates.
    pub(crate) fn asks_for_certificates(&self) -> bool {
        self.verify != VerifyMode::None
    }

    /// Reads the files. Blocks.
    pub(crate) fn load(
        &self,
        wrappers: &IoWrappers,
        as_root: bool,
        tickets: &Arc<dyn ProducesTickets>,
    ) -> Result<ServerContext, TlsError> {
        let files = Files { wrappers, as_root };
        let identity = Arc::new(files.identity(&self.identity)?);
        let provider = Arc::new(CryptoProvider {
            cipher_suites: self.ciphersuites.suites().chain(self.ciphers.suites()).collect(),
            ..aws_lc_rs::default_provider()
        });
        let (verifier, judge) = self.verifier(&files, &provider)?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&self.protocols.versions())
            .map_err(|source| TlsError::Refused { doing: "TLS for listeners".to_owned(), source })?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(identity)));
        config.ticketer = tickets.clone();
        config.send_tls13_tickets = 1;
        Ok(ServerContext { config: Arc::new(config), judge })
    }

    fn verifier(
        &self,
        files: &Files<'_>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<(Verifier, Option<Verifier>), TlsError> {
        if self.verify == VerifyMode::None {
            return Ok((Arc::new(NoClientAuth), None));
        }
        if self.client_ca.is_empty() {
            return Err(TlsError::NoClientCa);
        }
        let roots = Arc::new(files.roots(&self.client_ca)?);
        let refused = |error: rustls::server::VerifierBuilderError| TlsError::Pem {
            file: self.client_ca.clone(),
            problem: error.to_string(),
        };
        let strict = WebPkiClientVerifier::builder_with_provider(roots, provider.clone()).build().map_err(refused)?;
        match self.verify {
            VerifyMode::Require => Ok((strict.clone(), Some(strict))),
            _ => Ok((Arc::new(Lenient(strict.clone())), Some(strict))),
        }
    }
}

type Verifier = Arc<dyn ClientCertVerifier>;

/// What a handshake with a client needs.
#[derive(Clone, Debug)]
pub struct ServerContext {
    pub(crate) config: Arc<ServerConfig>,
    /// Says whether a client's certificate is a good one.
    pub(crate) judge: Option<Verifier>,
}

impl ServerContext {
    /// Whether the certificate that a client has shown leads to a CA of `tls_client_ca`.
    pub(crate) fn is_verified(&self, chain: Option<&[CertificateDer<'_>]>) -> bool {
        let (Some(judge), Some([own, others @ ..])) = (&self.judge, chain) else { return false };
        judge.verify_client_cert(own, others, UnixTime::now()).is_ok()
    }
}

/// Asks for a certificate and takes any: what a bad one is worth is seen after the handshake, which it does not end. That the
/// client holds its key is proven all the same.
#[derive(Debug)]
struct Lenient(Verifier);

impl ClientCertVerifier for Lenient {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
