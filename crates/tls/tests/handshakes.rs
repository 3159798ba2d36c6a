//! Handshakes in memory, between the contexts that options come to and a client of the same library.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use config::{Chain, Configuration, Lookup, Registry};
use io_wrapper::IoWrappers;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tls::{Facts, ServerSetup, ServerStream, TlsContexts};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf};

/// Writes a fresh certificate for `name`, signed by itself, and its key.
fn identity(dir: &Path, name: &str) -> (String, String) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let path = |kind: &str| dir.join(format!("{name}.{kind}")).display().to_string();
    let (certificate, key) = (path("crt"), path("key"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).unwrap();
    (certificate, key)
}

struct Lab {
    dir: tempfile::TempDir,
    certificate: String,
    key: String,
}

impl Lab {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (certificate, key) = identity(dir.path(), "mx.here.test");
        Self { dir, certificate, key }
    }

    /// What these options come to, with a certificate.
    fn setup(&self, more: &str) -> ServerSetup {
        let text = format!("tls_certificate = \"{}\"\ntls_key = \"{}\"\n{more}\n", self.certificate, self.key);
        setup(&text).unwrap()
    }
}

/// What the options of a Listen stanza come to.
fn setup(text: &str) -> Option<ServerSetup> {
    let mut registry = Registry::new();
    registry.add_all(tls::OPTIONS);
    let text = format!("esmtp_listener {{ listen \":1\" {{\n{text}}} }}\n");
    let configuration =
        Configuration::of_text(registry, &text).unwrap_or_else(|error| panic!("{}", error.render(false)));
    let generation = configuration.current();
    let chain: Chain = generation.chain(&Lookup::Listener { kind: "esmtp_listener", listen: ":1", peer: None });
    ServerSetup::of(&generation, &chain)
}

fn load(setup: ServerSetup) -> Result<TlsContexts, String> {
    load_as(setup, false)
}

fn load_as(setup: ServerSetup, as_root: bool) -> Result<TlsContexts, String> {
    let mut contexts = TlsContexts::default();
    contexts.add(setup, &IoWrappers::new(), as_root).map_err(|error| error.to_string())?;
    Ok(contexts)
}

/// A pipe that is always worth a look.
struct Wire(DuplexStream);

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, octets)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl tls::Socket for Wire {
    fn poll_read_ready(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A client that knows no CA but `ca`, with a certificate of its own if there is one.
fn client(
    ca: &str,
    own: Option<&(String, String)>,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
    let builder = builder.with_root_certificates(roots);
    match own {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => builder
            .with_client_auth_cert(
                vec![CertificateDer::from_pem_file(certificate).unwrap()],
                PrivateKeyDer::from_pem_file(key).unwrap(),
            )
            .unwrap(),
    }
}

/// Shakes hands and lets the client say something; what the handshake came to, and what was heard.
fn shake(contexts: &TlsContexts, setup: &ServerSetup, client: ClientConfig) -> Result<(Facts, String), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let context = contexts.server(setup).unwrap().clone();
        let talk = async {
            let connector = tokio_rustls::TlsConnector::from(Arc::new(client));
            let mut stream = connector.connect("mx.here.test".try_into().unwrap(), theirs).await?;
            stream.write_all(b"EHLO pc\r\n").await?;
            stream.flush().await?;
            // Whether the server takes the client's certificate shows with its first octets only.
            let mut reply = [0; 4];
            stream.read_exact(&mut reply).await.map(drop)
        };
        let serve = async {
            let mut stream = ServerStream::accept(context, Wire(ours)).await?;
            std::future::poll_fn(|cx| stream.poll_read_ready(cx)).await?;
            let mut heard = [0; 64];
            let octets = stream.read(&mut heard).await?;
            stream.write_all(b"250 ").await?;
            stream.flush().await?;
            Ok::<_, io::Error>((stream.facts().clone(), String::from_utf8_lossy(&heard[..octets]).into_owned()))
        };
        let (said, served) = tokio::join!(talk, serve);
        said.map_err(|error| error.to_string())?;
        served.map_err(|error| error.to_string())
    })
}

const ALL: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS12, &rustls::version::TLS13];
const OLD: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS12];

#[test]
fn a_handshake_tells_what_it_came_to_and_plaintext_is_what_is_readable() {
    let lab = Lab::new();
    for (more, versions, protocol, cipher) in [
        ("", ALL, "TLSv1.3", "TLS_AES_256_GCM_SHA384"),
        ("tlsv13_ciphersuites = \"TLS_AES_128_GCM_SHA256\"", ALL, "TLSv1.3", "TLS_AES_128_GCM_SHA256"),
        ("tls_protocols = \"-TLSv1.3\"", ALL, "TLSv1.2", "ECDHE-ECDSA-AES256-GCM-SHA384"),
        ("tls_ciphers = \"CHACHA20\"", OLD, "TLSv1.2", "ECDHE-ECDSA-CHACHA20-POLY1305"),
    ] {
        let setup = lab.setup(more);
        let (facts, heard) =
            shake(&load(setup.clone()).unwrap(), &setup, client(&lab.certificate, None, versions)).unwrap();
        assert_eq!((facts.protocol, facts.cipher), (protocol, cipher), "{more}");
        assert_eq!(facts.server_name.as_deref(), Some("mx.here.test"));
        assert!(!facts.is_verified && heard == "EHLO pc\r\n", "{heard}");
    }
    let new = lab.setup("tls_protocols = \"+TLSv1.3\"");
    shake(&load(new.clone()).unwrap(), &new, client(&lab.certificate, None, OLD)).expect_err("no version in common");
}

#[test]
fn a_clients_certificate_counts_if_it_leads_to_the_ca_and_ends_the_handshake_only_where_it_is_required() {
    let lab = Lab::new();
    let known = identity(lab.dir.path(), "known.test");
    let stranger = identity(lab.dir.path(), "stranger.test");
    let verified = |mode: &str, own: Option<&(String, String)>| {
        let setup = lab.setup(&format!("tls_verify_mode = {mode}\ntls_client_ca = \"{}\"", known.0));
        shake(&load(setup.clone()).unwrap(), &setup, client(&lab.certificate, own, ALL))
            .map(|(facts, _)| facts.is_verified)
    };
    assert_eq!(verified("none", Some(&known)), Ok(false), "nobody asked for it");
    assert_eq!(verified("optional", None), Ok(false));
    assert_eq!(verified("optional", Some(&known)), Ok(true));
    assert_eq!(verified("optional", Some(&stranger)), Ok(false));
    assert_eq!(verified("require", Some(&known)), Ok(true));
    verified("require", None).expect_err("it has none");
    verified("require", Some(&stranger)).expect_err("it has a bad one");
}

#[test]
fn a_wrong_file_is_named() {
    let lab = Lab::new();
    let other = identity(lab.dir.path(), "other.test");
    let with = |certificate: &str, key: &str| format!("tls_certificate = \"{certificate}\"\ntls_key = \"{key}\"\n");
    let (own, key) = (&*lab.certificate, &*lab.key);
    for (text, words) in [
        (with("/no/such/file", key), "/no/such/file"),
        (with(key, key), "holds no certificate"),
        (with(own, own), "no usable private key"),
        (with(own, &other.1), "with key"),
        (format!("tls_certificate = \"{own}\"\n"), "no usable private key"),
        (with(own, key) + "tls_verify_mode = require\n", "tls_client_ca is not set"),
        (with(own, key) + &format!("tls_verify_mode = require\ntls_client_ca = \"{key}\"\n"), "holds no certificate"),
    ] {
        let message = load(setup(&text).unwrap()).expect_err("must be refused");
        assert!(message.contains(words), "{message}");
    }
    assert!(setup("").is_none(), "without a certificate there is no TLS");
}

#[test]
fn certificate_and_key_may_stand_in_one_file() {
    let lab = Lab::new();
    let both = [std::fs::read(&lab.certificate).unwrap(), std::fs::read(&lab.key).unwrap()].concat();
    let file = lab.dir.path().join("both.pem");
    std::fs::write(&file, both).unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    let setup = setup(&format!("tls_certificate = \"{}\"\n", file.display())).unwrap();
    shake(&load(setup.clone()).unwrap(), &setup, client(&lab.certificate, None, ALL)).unwrap();
}

#[test]
fn a_key_everyone_can_read_is_refused_for_root() {
    let lab = Lab::new();
    std::fs::set_permissions(&lab.key, PermissionsExt::from_mode(0o644)).unwrap();
    load(lab.setup("")).unwrap(); // a warning
    let refused = load_as(lab.setup(""), true).unwrap_err();
    assert!(refused.contains(&format!("chmod o-rwx {}", lab.key)), "{refused}");
}

/// A ticket of a listener that asks nobody for a certificate, or of one that knew another CA, opens no listener that does.
#[test]
fn a_ticket_takes_nobody_past_the_question_for_a_certificate() {
    let lab = Lab::new();
    let known = identity(lab.dir.path(), "known.test");
    let open = lab.setup("");
    let strict = lab.setup(&format!("tls_verify_mode = require\ntls_client_ca = \"{}\"", known.0));
    let (open_contexts, strict_contexts) = (load(open.clone()).unwrap(), load(strict.clone()).unwrap());
    for versions in [ALL, OLD] {
        let nobody = client(&lab.certificate, None, versions);
        shake(&open_contexts, &open, nobody.clone()).unwrap();
        shake(&open_contexts, &open, nobody.clone()).unwrap();
        shake(&strict_contexts, &strict, nobody).expect_err("it has no certificate, whatever it resumes");
        let friend = client(&lab.certificate, Some(&known), versions);
        shake(&strict_contexts, &strict, friend.clone()).unwrap();
        // The same file with another CA in it, as a reload reads it.
        let stranger = identity(lab.dir.path(), "stranger.test");
        let before = std::fs::read(&known.0).unwrap();
        std::fs::copy(&stranger.0, &known.0).unwrap();
        let reloaded = load(strict.clone()).unwrap();
        std::fs::write(&known.0, before).unwrap();
        shake(&reloaded, &strict, friend).expect_err("its certificate counts no more");
    }
}
