//! The drivers of `http` and `https`: a GET that ends in a whole answer or in an error.
//!
//! In: what follows the scheme. Out: a stream over the body, which is read completely before `open` returns, so that
//! who reads never sees the first half of a file. Blocks for [`Limits::whole`] at most; any thread that may block.
//!
//! Invariant: no stream is over a body that was cut short, was longer than the bound, or came with a status other than
//! 200. What began as https never goes on without TLS.

use std::io::{self, Read as _};
use std::sync::Arc;
use std::time::Duration;

use io_wrapper::{Driver, Flags, Seek, Stream};
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};

/// The driver of one of the two schemes. Proxies are not used, whatever the environment says.
#[derive(Clone, Debug)]
pub struct HttpDriver {
    scheme: &'static str,
    agent: ureq::Agent,
    limits: Limits,
}

/// How long and how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Resolving the name, and connecting with the TLS handshake, each.
    pub connect: Duration,
    /// From the request to the head of the answer.
    pub response: Duration,
    /// The whole, redirects and body included.
    pub whole: Duration,
    /// Redirects followed.
    pub redirects: u32,
    /// The longest body.
    pub body_bytes: usize,
}

impl Default for Limits {
    /// Ten seconds to connect, thirty to answer, sixty for all; five redirects; 64 MiB, which is also the longest
    /// configuration file.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            response: Duration::from_secs(30),
            whole: Duration::from_secs(60),
            redirects: 5,
            body_bytes: 64 << 20,
        }
    }
}

/// Who may vouch for a server.
#[derive(Clone, Debug, Default)]
pub enum Roots {
    /// The certificates of the system (`SSL_CERT_FILE` and `SSL_CERT_DIR` name others).
    #[default]
    System,
    /// These, in DER.
    These(Vec<Vec<u8>>),
}

impl HttpDriver {
    /// The drivers of `http` and of `https`.
    pub fn both(limits: Limits, roots: &Roots) -> [Self; 2] {
        ["http", "https"].map(|scheme| Self { scheme, agent: agent(scheme == "https", limits, roots), limits })
    }

    fn get(&self, url: &str) -> io::Result<Vec<u8>> {
        let mut response = self.agent.get(url).call().map_err(|error| told(error, &self.limits))?;
        if response.status() != 200 {
            let (code, phrase) = (response.status().as_u16(), response.status().canonical_reason().unwrap_or(""));
            return Err(io::Error::other(format!("the server answered {code} {phrase}, where 200 OK was hoped for")));
        }
        let (body, bytes_max) = (response.body_mut(), self.limits.body_bytes);
        let announced = body.content_length();
        if announced.is_some_and(|length| (bytes_max as u64) < length) {
            return Err(too_long(bytes_max));
        }
        let mut bytes = Vec::new();
        let mut reader = body.as_reader().take(bytes_max as u64 + 1);
        reader.read_to_end(&mut bytes).map_err(|error| match error.downcast::<ureq::Error>() {
            Ok(error) => told(error, &self.limits),
            Err(error) => error,
        })?;
        if bytes_max < bytes.len() {
            return Err(too_long(bytes_max));
        }
        match announced {
            Some(length) if length != bytes.len() as u64 => Err(cut_short(bytes.len(), length)),
            _ => Ok(bytes),
        }
    }
}

impl Driver for HttpDriver {
    fn scheme(&self) -> &str {
        self.scheme
    }

    fn check(&self, _rest: &str, flags: Flags) -> io::Result<()> {
        if flags.write || flags.append || flags.create || flags.truncate {
            return Err(io::Error::new(io::ErrorKind::ReadOnlyFilesystem, "what a web server holds can only be read"));
        }
        Ok(())
    }

    fn open(&self, rest: &str, flags: Flags, _mode: u32) -> io::Result<Box<dyn Stream>> {
        self.check(rest, flags)?;
        let url = format!("{}://{rest}", self.scheme);
        let bytes = self.get(&url)?;
        Ok(Box::new(Body { driver: self.clone(), url, bytes: io::Cursor::new(bytes) }))
    }
}

/// A body that has arrived.
struct Body {
    driver: HttpDriver,
    url: String,
    bytes: io::Cursor<Vec<u8>>,
}

impl Stream for Body {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.bytes.read(into)
    }

    fn seek(&mut self, to: Seek) -> io::Result<u64> {
        io::Seek::seek(&mut self.bytes, to)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.bytes.get_ref().len() as u64)
    }

    /// Asks the server again.
    fn reopen(&mut self) -> io::Result<()> {
        self.bytes = io::Cursor::new(self.driver.get(&self.url)?);
        Ok(())
    }

    fn close(self: Box<Self>) -> io::Result<()> {
        Ok(())
    }
}

fn agent(https_only: bool, limits: Limits, roots: &Roots) -> ureq::Agent {
    let roots = match roots {
        Roots::System => RootCerts::PlatformVerifier,
        Roots::These(certificates) => {
            let owned = certificates.iter().map(|der| Certificate::from_der(der).to_owned());
            RootCerts::Specific(Arc::new(owned.collect()))
        }
    };
    let tls = TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .root_certs(roots)
        .build();
    let config = ureq::Agent::config_builder()
        .tls_config(tls)
        .https_only(https_only)
        .proxy(None)
        .user_agent(concat!("Postrider/", env!("CARGO_PKG_VERSION")))
        .http_status_as_error(false)
        .max_redirects(limits.redirects)
        .max_idle_connections(0)
        .timeout_resolve(Some(limits.connect))
        .timeout_connect(Some(limits.connect))
        .timeout_recv_response(Some(limits.response))
        .timeout_global(Some(limits.whole))
        .build();
    ureq::Agent::new_with_config(config)
}

/// What the operator can act on.
fn told(error: ureq::Error, limits: &Limits) -> io::Error {
    match error {
        ureq::Error::Timeout(_) => {
            let text = format!(
                "the server was not done in time (connect within {:?}, answer within {:?}, all within {:?})",
                limits.connect, limits.response, limits.whole
            );
            io::Error::new(io::ErrorKind::TimedOut, text)
        }
        ureq::Error::TooManyRedirects => {
            io::Error::other(format!("more than {} redirects; name the last address itself", limits.redirects))
        }
        ureq::Error::HostNotFound => io::Error::new(io::ErrorKind::NotFound, "the name of the server does not resolve"),
        ureq::Error::RequireHttpsOnly(url) => {
            io::Error::other(format!("the server redirects to {url}, which is not https; refused"))
        }
        ureq::Error::Io(error) if is_certificate(&error) => io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("the server's certificate is not trusted ({error}); add its CA to the system's certificates"),
        ),
        ureq::Error::Rustls(error) => io::Error::other(format!("TLS: {error}")),
        ureq::Error::Io(error) => error,
        other => io::Error::other(other.to_string()),
    }
}

fn is_certificate(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(inner, Some(rustls::Error::InvalidCertificate(_)))
}

fn too_long(bytes_max: usize) -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, format!("the answer is longer than {bytes_max} bytes"))
}

fn cut_short(came: usize, announced: u64) -> io::Error {
    let text = format!("the answer ended after {came} of {announced} bytes");
    io::Error::new(io::ErrorKind::UnexpectedEof, text)
}
