//! Handshakes in memory, between the contexts of this crate.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use io_wrapper::IoWrappers;
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};
use tls::{Identity, TlsContexts, TlsSetup};

/// Writes a fresh self-signed certificate for `name` and its key.
fn identity(dir: &Path, name: &str) -> Identity {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let path = |kind: &str| dir.join(format!("{}.{kind}", name.replace('*', "any"))).display().to_string();
    let identity = Identity { certificate: path("crt"), key: path("key") };
    std::fs::write(&identity.certificate, made.cert.pem()).unwrap();
    std::fs::write(&identity.key, made.signing_key.serialize_pem()).unwrap();
    std::fs::set_permissions(&identity.key, PermissionsExt::from_mode(0o600)).unwrap();
    identity
}

fn load(setup: &TlsSetup) -> TlsContexts {
    TlsContexts::load(setup, &IoWrappers::new()).unwrap()
}

fn refusal(setup: &TlsSetup) -> String {
    TlsContexts::load(setup, &IoWrappers::new()).expect_err("must be refused").to_string()
}

/// Shakes hands for `name`; the certificate the client was shown.
fn shake(client: Arc<ClientConfig>, server: Arc<ServerConfig>, name: &str) -> Result<Vec<u8>, rustls::Error> {
    let mut client = ClientConnection::new(client, name.to_owned().try_into().unwrap())?;
    let mut server = ServerConnection::new(server)?;
    while client.is_handshaking() || server.is_handshaking() {
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        server.read_tls(&mut &bytes[..]).unwrap();
        server.process_new_packets()?;
        bytes.clear();
        server.write_tls(&mut bytes).unwrap();
        client.read_tls(&mut &bytes[..]).unwrap();
        client.process_new_packets()?;
    }
    Ok(client.peer_certificates().unwrap()[0].to_vec())
}

struct Lab {
    dir: tempfile::TempDir,
    setup: TlsSetup,
}

impl Lab {
    /// A server `mx.here.test` whose certificate is its own CA.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let own = identity(dir.path(), "mx.here.test");
        let setup = TlsSetup { ca: Some(own.certificate.clone()), server: Some(own), ..TlsSetup::default() };
        Self { dir, setup }
    }

    fn identity(&self, name: &str) -> Identity {
        identity(self.dir.path(), name)
    }
}

#[test]
fn opportunistic_tls_takes_any_certificate_and_verified_tls_does_not() {
    let lab = Lab::new();
    let contexts = load(&lab.setup);
    let server = || contexts.server().unwrap();
    let verified = || contexts.client_verified().unwrap();
    shake(contexts.client_unverified(), server(), "other.test").unwrap();
    shake(verified(), server(), "mx.here.test").unwrap();
    shake(verified(), server(), "other.test").expect_err("the name is wrong");
    let stranger = TlsSetup { server: Some(lab.identity("mx.stranger.test")), ..TlsSetup::default() };
    shake(verified(), load(&stranger).server().unwrap(), "mx.stranger.test").expect_err("the CA is unknown");
}

#[test]
fn clients_get_the_certificate_of_the_name_they_ask_for() {
    let mut lab = Lab::new();
    lab.setup.server_names = vec![
        ("MX.Named.test".to_owned(), lab.identity("mx.named.test")),
        ("*.wild.test".to_owned(), lab.identity("*.wild.test")),
    ];
    let contexts = load(&lab.setup);
    let shown = |name: &str| shake(contexts.client_unverified(), contexts.server().unwrap(), name).unwrap();
    let own = shown("mx.here.test");
    assert_eq!(shown("unknown.test"), own);
    assert_ne!(shown("mx.named.test"), own);
    assert_eq!(shown("a.wild.test"), shown("b.wild.test"));
    assert_ne!(shown("a.wild.test"), own);
    assert_eq!(shown("a.b.wild.test"), own);
}

#[test]
fn a_reload_changes_new_handshakes_and_leaves_the_taken_context_alone() {
    let mut lab = Lab::new();
    let contexts = load(&lab.setup);
    let taken = contexts.server().unwrap();
    let before = shake(contexts.client_unverified(), taken.clone(), "x.test").unwrap();
    lab.setup.server = Some(lab.identity("mx.renewed.test"));
    contexts.reload(&lab.setup, &IoWrappers::new()).unwrap();
    assert_eq!(shake(contexts.client_unverified(), taken, "x.test").unwrap(), before);
    assert_ne!(shake(contexts.client_unverified(), contexts.server().unwrap(), "x.test").unwrap(), before);
}

#[test]
fn a_wrong_file_is_named_and_changes_nothing() {
    let lab = Lab::new();
    let contexts = load(&lab.setup);
    let own = lab.setup.server.clone().unwrap();
    let with = |certificate: &str, key: &str| TlsSetup {
        server: Some(Identity { certificate: certificate.to_owned(), key: key.to_owned() }),
        ..lab.setup.clone()
    };
    let other = lab.identity("other.test");
    let before = contexts.server().unwrap();
    for (setup, words) in [
        (with("/no/such/file", &own.key), "/no/such/file"),
        (with(&own.key, &own.key), "holds no certificate"),
        (with(&own.certificate, &own.certificate), "no usable private key"),
        (with(&own.certificate, &other.key), "with key"),
        (TlsSetup { ca: Some(own.key.clone()), ..lab.setup.clone() }, "holds no certificate"),
    ] {
        let message = refusal(&setup);
        assert!(message.contains(words), "{message}");
        contexts.reload(&setup, &IoWrappers::new()).expect_err("must be refused");
    }
    assert!(Arc::ptr_eq(&before, &contexts.server().unwrap()));
}

#[test]
fn a_key_everyone_can_read_is_refused_for_root() {
    let mut lab = Lab::new();
    let key = lab.setup.server.clone().unwrap().key;
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o644)).unwrap();
    load(&lab.setup); // a warning
    lab.setup.as_root = true;
    assert!(refusal(&lab.setup).contains(&format!("chmod o-rwx {key}")));
}

#[test]
fn a_client_identity_is_taken_for_both_kinds_of_delivery() {
    let mut lab = Lab::new();
    lab.setup.client = Some(lab.identity("client.test"));
    let contexts = load(&lab.setup);
    assert!(contexts.client_unverified().client_auth_cert_resolver.has_certs());
    assert!(contexts.client_verified().unwrap().client_auth_cert_resolver.has_certs());
}

#[test]
fn without_files_there_is_still_opportunistic_tls() {
    let contexts = load(&TlsSetup::default());
    assert!(contexts.server().is_none() && contexts.client_verified().is_none());
    shake(contexts.client_unverified(), load(&Lab::new().setup).server().unwrap(), "x.test").unwrap();
}
