//! TLS at the door: real clients by STARTTLS and by a port of its own, what is refused, and certificates that change.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use e2e::{ask, feed, figure, letter, log_lines, program, wait, wait_for_mail};
use testkit::{Daemon, DaemonSetup, Dialogue, Sink, free_addr};

/// A certificate for `mx.here.test`, signed by itself, and its key, in a folder.
fn identity(folder: &Path) {
    let made = rcgen::generate_simple_self_signed(["mx.here.test".to_owned()]).unwrap();
    std::fs::write(folder.join("chain.pem"), made.cert.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    std::fs::set_permissions(folder.join("key.pem"), PermissionsExt::from_mode(0o600)).unwrap();
}

/// A daemon that keeps mail for here.test, with these options of its listener, and the folder of its certificate.
fn secured(more: &str) -> (DaemonSetup, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    identity(folder.path());
    let path = |name: &str| folder.path().join(name).display().to_string();
    let in_listen = format!("tls_certificate = \"{}\"\ntls_key = \"{}\"\n{more}\n", path("chain.pem"), path("key.pem"));
    (e2e::daemon_listening(e2e::MAILDIR, &in_listen), folder)
}

/// The same with a second port that begins with the handshake.
fn with_a_tls_port() -> (Daemon, SocketAddr, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    identity(folder.path());
    let (path, port) = (folder.path().display(), free_addr());
    let listener = format!(
        "ESMTP_Listener {{ Listen \"{port}\" {{ use_ssl = true tls_certificate = \"{path}/chain.pem\" tls_key = \"{path}/key.pem\" }} }}"
    );
    (e2e::daemon(&format!("{}{listener}\n", e2e::MAILDIR)).start(), port, folder)
}

const STARTTLS: &str = "smtp_extensions = ( \"ENHANCEDSTATUSCODES\" \"STARTTLS\" )";

/// Sends with Python's smtplib, which trusts nothing but the certificate in `folder`; what it says of the session.
fn send(to: SocketAddr, folder: &Path, class: &str, id: &str) -> String {
    let script = "import smtplib, ssl, sys\n\
        kind, host, port, ca = sys.argv[1:]\n\
        context = ssl.create_default_context(cafile=ca)\n\
        context.check_hostname = False\n\
        if kind == 'SMTP_SSL':\n\
        \x20   server = smtplib.SMTP_SSL(host, int(port), local_hostname='client.test', context=context)\n\
        else:\n\
        \x20   server = smtplib.SMTP(host, int(port), local_hostname='client.test')\n\
        \x20   server.ehlo()\n\
        \x20   assert server.has_extn('starttls')\n\
        \x20   assert server.starttls(context=context)[0] == 220\n\
        server.ehlo()\n\
        assert not server.has_extn('starttls')\n\
        print(server.sock.version(), server.sock.cipher()[0])\n\
        server.sendmail('ann@client.test', ['bob@here.test'], sys.stdin.read())\n\
        server.quit()\n";
    let mut command = Command::new(program("python3", "python3"));
    command.args(["-c", script, class, &to.ip().to_string(), &to.port().to_string()]);
    feed(command.arg(folder.join("chain.pem")), &format!("X-Test-Id: {id}\n{}", letter("under TLS")))
}

#[test]
fn clients_deliver_under_starttls_and_the_trace_field_says_so() {
    let (setup, folder) = secured(STARTTLS);
    let daemon = setup.start();
    let said = send(daemon.addr(), folder.path(), "SMTP", "starttls");
    assert_eq!(said.trim(), "TLSv1.3 TLS_AES_256_GCM_SHA384");
    let mail = wait_for_mail(&daemon, "bob@here.test", 1).remove(0);
    assert!(mail.contains(" with ESMTPS (cipher=TLS_AES_256_GCM_SHA384)\n"), "{mail}");
    let mut curl = Command::new(program("curl", "curl"));
    curl.args(["--silent", "--show-error", "--crlf", "--ssl-reqd", "--insecure", "--mail-from", "ann@client.test"]);
    curl.args(["--mail-rcpt", "bob@here.test", "--upload-file", "-"]);
    feed(curl.arg(format!("smtp://{}/client.test", daemon.addr())), &letter("from curl"));
    wait_for_mail(&daemon, "bob@here.test", 2);
}

#[test]
fn a_port_of_its_own_begins_with_the_handshake() {
    let (daemon, port, folder) = with_a_tls_port();
    send(port, folder.path(), "SMTP_SSL", "smtps");
    let mail = wait_for_mail(&daemon, "bob@here.test", 1).remove(0);
    assert!(mail.contains(" with ESMTPS (cipher="), "{mail}");
}

#[test]
fn what_is_no_handshake_is_logged_and_counted_and_costs_nobody_else_anything() {
    let (daemon, port, folder) = with_a_tls_port();
    for octets in [&b"EHLO client.test\r\n"[..], b"\x16\x03\x01\x00\x05hello", b"\x80\x2e\x01\x03\x01", b""] {
        let mut stream = TcpStream::connect(port).unwrap();
        stream.write_all(octets).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
    }
    wait(&daemon, "four failed handshakes are logged", || {
        let lines = log_lines(&daemon, "rejectlog.ec").iter().map(|line| line.join("@")).collect::<Vec<_>>();
        lines.iter().filter(|line| line.contains("starting tls") && line.contains("TLS handshake failed")).count() == 4
    });
    send(port, folder.path(), "SMTP_SSL", "after");
    wait_for_mail(&daemon, "bob@here.test", 1);
    assert_eq!(figure(&ask(&daemon, &["summary"]), "Active Queue Size"), "0");
}

#[test]
fn commands_in_the_clear_behind_starttls_end_the_session_and_mail_without_tls_is_refused_where_it_is_required() {
    let (setup, folder) = secured(&format!("{STARTTLS}\nrequire_tls = true"));
    let daemon = setup.start();
    e2e::block_on(async {
        let mut client = Dialogue::greeted(daemon.addr()).await;
        client.send("MAIL FROM:<ann@client.test>").await;
        assert_eq!(client.reply().await.unwrap(), "530 5.7.0 must issue a STARTTLS command first");
        client.send("STARTTLS\r\nEHLO injected").await;
        assert_eq!(client.reply().await.unwrap(), "554 5.5.0 improper command pipelining, closing connection");
    });
    send(daemon.addr(), folder.path(), "SMTP", "required");
    wait_for_mail(&daemon, "bob@here.test", 1);
}

#[test]
fn a_renewed_certificate_comes_with_a_reload_and_closes_nobody() {
    let (setup, folder) = secured(STARTTLS);
    let daemon = setup.start();
    send(daemon.addr(), folder.path(), "SMTP", "before");
    e2e::block_on(async {
        let mut client = Dialogue::greeted(daemon.addr()).await;
        identity(folder.path());
        ask(&daemon, &["config", "reload"]);
        client.send("EHLO client.test").await;
        assert!(client.reply().await.unwrap().contains("STARTTLS"));
        client.send("MAIL FROM:<ann@client.test>").await;
        assert!(client.reply().await.unwrap().starts_with("250"), "the session goes on");
    });
    // Its client trusts the new certificate only.
    send(daemon.addr(), folder.path(), "SMTP", "after");
    wait_for_mail(&daemon, "bob@here.test", 2);
    std::fs::write(folder.path().join("key.pem"), "no key\n").unwrap();
    let refused = daemon.console(&["config", "reload"]);
    let said = refused.stdout + &refused.stderr;
    assert!(said.contains("key.pem") && said.contains("no usable private key"), "{said}");
    send(daemon.addr(), folder.path(), "SMTP", "still");
    wait_for_mail(&daemon, "bob@here.test", 3);
}

#[test]
fn tls_that_is_asked_for_and_cannot_be_is_refused_with_its_place() {
    for (options, words) in [
        (STARTTLS, "SMTP_Extensions offers STARTTLS, and no tls_certificate is set"),
        ("use_ssl = true", "use_ssl has sessions begin with TLS, and no tls_certificate is set"),
        ("require_tls = true", "require_tls takes mail under TLS only, and no tls_certificate is set"),
        ("tls_verify_mode = require", "tls_verify_mode asks clients for certificates, and no tls_certificate is set"),
        ("tls_client_ca = \"/no/ca.pem\"", "and nobody asks for one; set tls_verify_mode to optional"),
    ] {
        let mut daemon = e2e::daemon_listening(e2e::MAILDIR, options).prepare();
        assert!(daemon.start_or_end().is_err());
        assert!(daemon.stderr().contains(words), "{}", daemon.stderr());
    }
}

#[test]
fn a_client_whose_certificate_leads_to_the_ca_may_relay() {
    let sink = Sink::start();
    let (folder, port) = (tempfile::tempdir().unwrap(), free_addr());
    identity(folder.path());
    let path = folder.path().display();
    let more = format!(
        "relay_hosts = ( )\nESMTP_Listener {{ Listen \"{port}\" {{ use_ssl = true tls_certificate = \"{path}/chain.pem\"\n\
         tls_key = \"{path}/key.pem\" tls_client_ca = \"{path}/chain.pem\" tls_verify_mode = optional\n\
         tls_verified_peer_can_relay = true }} }}\n"
    );
    let _daemon = e2e::relay_with(&sink, &more).start();
    let recipients = |own: &str| {
        let script = "import smtplib, ssl, sys\n\
            host, port, folder, own = sys.argv[1:]\n\
            context = ssl.create_default_context(cafile=folder + '/chain.pem')\n\
            context.check_hostname = False\n\
            if own == 'own':\n\
            \x20   context.load_cert_chain(folder + '/chain.pem', folder + '/key.pem')\n\
            server = smtplib.SMTP_SSL(host, int(port), local_hostname='client.test', context=context)\n\
            server.ehlo()\n\
            server.mail('ann@client.test')\n\
            print(server.rcpt('bob@elsewhere.test')[0])\n";
        let mut command = Command::new(program("python3", "python3"));
        command.args(["-c", script, &port.ip().to_string(), &port.port().to_string(), &path.to_string(), own]);
        feed(&mut command, "").trim().to_owned()
    };
    assert_eq!((&*recipients("own"), &*recipients("none")), ("250", "550"));
}
