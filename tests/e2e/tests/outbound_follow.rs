//! Mail that waits goes where the configuration of the day sends it, under the name it gives this machine.

use e2e::{MAILDIR, SOON, accept, ask, configuration, daemon, letter, testimony, wait};
use testkit::{Daemon, Sink};

fn to(sink: &Sink, more: &str) -> String {
    format!("gateway = \"{}\"\n{more}", sink.addr())
}

/// A daemon with one message that its gateway did not take.
fn with_delayed_mail(old: &Sink) -> Daemon {
    old.on("RCPT", "450 4.2.1 not today");
    let daemon = daemon(&to(old, "")).start();
    accept(&daemon, "ann@client.test", &["bob@shop.test"], &letter("follows"));
    wait(&daemon, "it is delayed", || ask(&daemon, &["delayed", "0"]).contains("D:     1"));
    daemon
}

#[test]
fn after_a_restart_delayed_mail_goes_to_the_new_gateway() {
    let (old, new) = (Sink::start(), Sink::start());
    let mut daemon = with_delayed_mail(&old);
    daemon.write_config(&configuration(&to(&new, ""), ""));
    daemon.restart();
    let queue = new.addr().to_string();
    wait(&daemon, "it is read from the spool", || ask(&daemon, &["delayed", "0"]).contains(&queue));
    ask(&daemon, &["flush", "domain", &queue]);
    assert!(new.wait_until(SOON, |messages| messages.len() == 1), "{}", testimony(&daemon));
    assert_eq!(old.count(), 0);
}

#[test]
fn after_a_reload_delayed_mail_goes_to_the_new_gateway_when_it_is_due() {
    let (old, new) = (Sink::start(), Sink::start());
    let daemon = with_delayed_mail(&old);
    daemon.write_config(&configuration(&to(&new, ""), ""));
    ask(&daemon, &["config", "reload"]);
    ask(&daemon, &["flush", "domain", &old.addr().to_string()]);
    assert!(new.wait_until(SOON, |messages| messages.len() == 1), "{}", testimony(&daemon));
    assert_eq!(old.count(), 0);
}

#[test]
fn a_gateway_that_is_a_bare_address_is_shown_as_it_is_written() {
    let sink = Sink::start();
    sink.on("RCPT", "450 4.2.1 not today");
    let text = format!("gateway = \"127.0.0.1\"\nremote_smtp_port = {}\n", sink.addr().port());
    let mut daemon = daemon(&text).start();
    accept(&daemon, "ann@client.test", &["bob@shop.test"], &letter("there"));
    for _ in 0..2 {
        wait(&daemon, "it is delayed", || ask(&daemon, &["delayed", "0"]).contains("D:     1"));
        let shown = ask(&daemon, &["delayed", "0"]);
        assert!(shown.contains("127.0.0.1") && !shown.contains("127.0.0.1."), "{shown}");
        daemon.restart();
    }
}

#[test]
fn a_reload_changes_the_name_in_ehlo_and_in_mailbox_files() {
    let sink = Sink::start();
    let more = format!("{MAILDIR}domain \"shop.test\" {{ gateway = \"{}\" }}\nidle_timeout = 600\n", sink.addr());
    let daemon = daemon(&more).start();
    let both = ["bob@shop.test", "cat@here.test"];
    accept(&daemon, "ann@client.test", &both, &letter("one"));
    sink.wait_for(1, SOON);
    daemon.write_config(&configuration(&more, "").replace("relay.test", "other.test"));
    ask(&daemon, &["config", "reload"]);
    accept(&daemon, "ann@client.test", &both, &letter("two"));
    sink.wait_for(2, SOON);
    let hellos: Vec<String> =
        sink.commands().into_iter().map(|(_, line)| line).filter(|line| line.starts_with("EHLO")).collect();
    assert_eq!(hellos, ["EHLO relay.test", "EHLO other.test"]);
    let names = || {
        let folder = daemon.dir().join("maildir/here.test/cat/new");
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().into_string().unwrap()).collect::<Vec<_>>()
    };
    wait(&daemon, "both are in the mailbox", || names().len() == 2);
    assert!(names().iter().any(|name| name.ends_with(".other.test")), "{:?}", names());
}
