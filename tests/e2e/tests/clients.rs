//! Real clients send through the daemon to real next hops: nobody needs testkit to talk to it.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use e2e::{
    MAILDIR, Postfix, SOON, daemon, feed, letter, program, succeed, testimony, wait, wait_for_lines, wait_for_mail,
};
use tempfile::TempDir;
use testkit::{Daemon, Sink, free_addr, wait_until};

/// Sends one message with that `X-Test-Id` from `ann@client.test` to each of the recipients.
type Client = fn(SocketAddr, &str, &[&str]);

const CLIENTS: [(&str, Client); 5] =
    [("swaks", swaks), ("smtplib", smtplib), ("curl", curl), ("msmtp", msmtp), ("smtp-source", smtp_source)];

fn text(id: &str) -> String {
    format!("X-Test-Id: {id}\n{}", letter("from a real client"))
}

fn swaks(to: SocketAddr, id: &str, recipients: &[&str]) {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let file = dir.path().join("letter");
    std::fs::write(&file, text(id)).expect("the scratch directory takes files");
    let mut command = Command::new(program("swaks", "swaks"));
    command.args(["--helo", "client.test", "--from", "ann@client.test", "--to", &recipients.join(",")]);
    command.args(["--server", &to.ip().to_string(), "--port", &to.port().to_string()]);
    succeed(command.arg("--data").arg(format!("@{}", file.display())));
}

fn smtplib(to: SocketAddr, id: &str, recipients: &[&str]) {
    let script = "import smtplib, sys\n\
                  host, port, *recipients = sys.argv[1:]\n\
                  with smtplib.SMTP(host, int(port), local_hostname='client.test') as server:\n\
                  \x20   refused = server.sendmail('ann@client.test', recipients, sys.stdin.read())\n\
                  sys.exit(1 if refused else 0)\n";
    let mut command = Command::new(program("python3", "python3"));
    command.args(["-c", script, &to.ip().to_string(), &to.port().to_string()]).args(recipients);
    feed(&mut command, &text(id));
}

fn curl(to: SocketAddr, id: &str, recipients: &[&str]) {
    let mut command = Command::new(program("curl", "curl"));
    command.args(["--silent", "--show-error", "--crlf", "--mail-from", "ann@client.test", "--upload-file", "-"]);
    recipients.iter().for_each(|recipient| {
        command.args(["--mail-rcpt", recipient]);
    });
    feed(command.arg(format!("smtp://{to}/client.test")), &text(id));
}

fn msmtp(to: SocketAddr, id: &str, recipients: &[&str]) {
    let mut command = Command::new(program("msmtp", "msmtp"));
    command.args(["--domain=client.test", "--from=ann@client.test", "--tls=off", "--auth=off"]);
    command.arg(format!("--host={}", to.ip())).arg(format!("--port={}", to.port())).arg("--").args(recipients);
    feed(&mut command, &text(id));
}

/// Takes one recipient at a time.
fn smtp_source(to: SocketAddr, id: &str, recipients: &[&str]) {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let file = dir.path().join("letter");
    std::fs::write(&file, text(id)).expect("the scratch directory takes files");
    for recipient in recipients {
        let mut command = Command::new(program("smtp-source", "postfix"));
        command.args(["-f", "ann@client.test", "-t", recipient, "-M", "client.test", "-F"]).arg(&file);
        succeed(command.arg(format!("inet:{to}")));
    }
}

/// Postfix's smtp-sink, which writes what it gets into a file.
struct SmtpSink {
    addr: SocketAddr,
    dir: TempDir,
    child: Child,
}

impl SmtpSink {
    fn start() -> Self {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let addr = free_addr();
        let mut command = Command::new(program("smtp-sink", "postfix"));
        if rustix::process::geteuid().is_root() {
            // It insists on giving root away, also for its dump file.
            command.args(["-u", "root"]);
        }
        command.arg("-D").arg(dir.path().join("dump")).arg(format!("inet:{addr}")).arg("100");
        let child = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().expect("smtp-sink runs");
        let sink = Self { addr, dir, child };
        let listens = wait_until(SOON, || std::net::TcpStream::connect(addr).is_ok());
        assert!(listens, "smtp-sink does not listen on {addr}");
        sink
    }

    fn dump(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("dump")).unwrap_or_default()
    }
}

impl Drop for SmtpSink {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One message from this client to three next hops.
fn delivers(name: &str) {
    let client = CLIENTS.iter().find(|(known, _)| *known == name).expect("one of the clients").1;
    let (sink, smtp_sink) = (Sink::start(), SmtpSink::start());
    let routes = [("sink.test", sink.addr()), ("dump.test", smtp_sink.addr)];
    let routes = routes.map(|(domain, next)| format!("domain \"{domain}\" {{ gateway = \"{next}\" }}\n")).concat();
    let daemon = daemon(&format!("{MAILDIR}{routes}")).start();

    client(daemon.addr(), name, &["bob@here.test", "bob@sink.test", "bob@dump.test"]);

    let mail = wait_for_mail(&daemon, "bob@here.test", 1);
    arrived_whole(&daemon, name, &mail[0]);
    let taken = sink.wait_for(1, SOON).remove(0);
    assert_eq!(
        (taken.reverse_path.as_str(), &taken.forward_paths[..]),
        ("ann@client.test", &["bob@sink.test".to_owned()][..])
    );
    arrived_whole(&daemon, name, &taken.text());
    wait(&daemon, "smtp-sink has the message", || smtp_sink.dump().contains(".dots stay"));
    arrived_whole(&daemon, name, &smtp_sink.dump());
    assert_eq!(wait_for_lines(&daemon, "D", 3).len(), 3, "{}", testimony(&daemon));
}

/// Trace fields, the header as sent, and the body with its dot neither doubled nor lost.
fn arrived_whole(daemon: &Daemon, id: &str, mail: &str) {
    let mail = mail.replace("\r\n", "\n");
    for part in [
        "Return-Path: <ann@client.test>\n",
        "by relay.test",
        "Subject: from a real client\n",
        "\nDear reader,\n.dots stay\n",
    ] {
        assert!(mail.contains(part), "{part:?} is missing in:\n{mail}\n{}", testimony(daemon));
    }
    assert!(mail.contains(&format!("\nX-Test-Id: {id}\n")), "{mail}");
}

#[test]
fn swaks_delivers_to_a_maildir_and_two_sinks() {
    delivers("swaks");
}

#[test]
fn python_smtplib_delivers_to_a_maildir_and_two_sinks() {
    delivers("smtplib");
}

#[test]
fn curl_delivers_to_a_maildir_and_two_sinks() {
    delivers("curl");
}

#[test]
fn msmtp_delivers_to_a_maildir_and_two_sinks() {
    delivers("msmtp");
}

#[test]
fn smtp_source_delivers_to_a_maildir_and_two_sinks() {
    delivers("smtp-source");
}

#[test]
fn every_client_delivers_through_postfix() {
    let sink = Sink::start();
    let postfix = Postfix::start(sink.addr());
    let daemon = daemon(&format!("gateway = \"{}\"\n", postfix.addr())).start();
    for (name, client) in CLIENTS {
        client(daemon.addr(), name, &["bob@shop.test"]);
    }
    let all = sink.wait_until(SOON, |messages| messages.len() == CLIENTS.len());
    assert!(all, "{} of {}; Postfix says:\n{}\n{}", sink.count(), CLIENTS.len(), postfix.log(), testimony(&daemon));
    for (name, _) in CLIENTS {
        let mail =
            sink.messages().into_iter().find(|mail| mail.test_id.as_deref() == Some(name)).expect("all have come");
        let text = mail.text().replace("\r\n", "\n");
        for part in ["by postfix.test (Postfix)", "by relay.test", "\nDear reader,\n.dots stay\n"] {
            assert!(text.contains(part), "{part:?} is missing in:\n{text}");
        }
    }
    wait_for_lines(&daemon, "D", CLIENTS.len());
}
