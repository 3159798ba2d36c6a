//! The PEM files: reading, and what must hold of them before they are used. Blocks.

use io_wrapper::{Error, Flags, IoWrappers};
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::error::TlsError;

/// A certificate chain and its private key, each a PEM file by path or URL.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Identity {
    /// The chain, own certificate first.
    pub(crate) certificate: String,
    /// The key.
    pub(crate) key: String,
}

/// Reads the files of TLS. `as_root` makes a world-readable key an error; otherwise it is a warning.
pub(crate) struct Files<'a> {
    pub(crate) wrappers: &'a IoWrappers,
    pub(crate) as_root: bool,
}

impl Files<'_> {
    /// Chain and key of one identity, which must belong together.
    pub(crate) fn identity(&self, identity: &Identity) -> Result<CertifiedKey, TlsError> {
        let (chain, key) = self.parts(identity)?;
        let doing = || format!("certificate {} with key {}", identity.certificate, identity.key);
        CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())
            .map_err(|source| TlsError::Refused { doing: doing(), source })
    }

    pub(crate) fn parts(
        &self,
        identity: &Identity,
    ) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
        let chain = self.certificates(&identity.certificate)?;
        let key = PrivateKeyDer::from_pem_slice(&self.read(&identity.key)?)
            .map_err(|error| pem(&identity.key, format!("no usable private key: {error}")))?;
        self.check_key_mode(&identity.key)?;
        Ok((chain, key))
    }

    /// The anchors of a CA bundle. Certificates that cannot be used are passed over, as every bundle has some.
    pub(crate) fn roots(&self, file: &str) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        let (_, ignored) = roots.add_parsable_certificates(self.certificates(file)?);
        match roots.is_empty() {
            true => Err(pem(file, format!("none of its {ignored} certificates can be used as a CA"))),
            false => Ok(roots),
        }
    }

    fn certificates(&self, file: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let bytes = self.read(file)?;
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
        let certificates = certificates.map_err(|error| pem(file, format!("not a PEM certificate: {error}")))?;
        if certificates.is_empty() { Err(pem(file, "holds no certificate".to_owned())) } else { Ok(certificates) }
    }

    fn check_key_mode(&self, file: &str) -> Result<(), TlsError> {
        let path = file.strip_prefix("file://").unwrap_or(file);
        // A key that is no plain file has no mode; one that cannot be looked at fails in the read that follows.
        let Ok(stat) = rustix::fs::stat(path) else { return Ok(()) };
        if rustix::fs::Mode::from_raw_mode(stat.st_mode).contains(rustix::fs::Mode::ROTH) {
            let error = TlsError::OpenKey { file: path.to_owned() };
            if self.as_root {
                return Err(error);
            }
            tracing::warn!(target: "TLS", "{error}");
        }
        Ok(())
    }

    fn read(&self, file: &str) -> Result<Vec<u8>, TlsError> {
        let mut stream = self.wrappers.open(file, Flags::READ, 0).map_err(TlsError::Read)?;
        let failed = |source| TlsError::Read(Error::Io { doing: "reading", url: file.to_owned(), source });
        stream.read_to_end(BYTES_MAX).map_err(failed)
    }
}

fn pem(file: &str, problem: String) -> TlsError {
    TlsError::Pem { file: file.to_owned(), problem }
}

/// Larger than any CA bundle.
const BYTES_MAX: usize = 16 << 20;
