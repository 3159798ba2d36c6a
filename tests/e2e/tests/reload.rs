//! A configuration is put into effect as a whole or not at all, and no mail notices.

use std::collections::BTreeSet;

use e2e::{
    SOON, accept, ask, ask_json, block_on, configuration, daemon, letter, mainlog, relay, relay_with, testimony, wait,
};
use rustix::process::Signal;
use testkit::{Dialogue, Ended, Load, Sink, free_addr};

fn to(sink: &Sink) -> String {
    configuration(&format!("gateway = \"{}\"\n", sink.addr()), "")
}

#[test]
fn a_reload_under_load_leads_new_mail_elsewhere_and_loses_nothing() {
    let (old, new) = (Sink::start(), Sink::start());
    let daemon = relay(&old).start();
    let load = Load { sessions: 8, messages: 4000, messages_per_session: 20, persistent: true, ..Load::default() };
    let running = load.start(daemon.addr());
    wait(&daemon, "the load is under way", || 300 <= running.acknowledged());
    daemon.write_config(&to(&new));
    ask(&daemon, &["config", "reload"]);
    let book = running.join();
    assert!(book.doubtful.is_empty(), "{:?}", book.troubles);
    // What came after the reload goes to the new sink, whatever sessions carried it.
    accept(&daemon, "ann@client.test", &["bob@shop.test"], &format!("X-Test-Id: last\n{}", letter("after")));

    let acknowledged: BTreeSet<String> = book.acknowledged.into_iter().chain(["last".to_owned()]).collect();
    assert!(3900 < acknowledged.len() + book.refused.len(), "{:?}", book.troubles);
    wait(&daemon, "every acknowledged message arrives", || acknowledged.len() <= old.ids().len() + new.ids().len());
    let (old, new) = (old.ids(), new.ids());
    let arrived: BTreeSet<String> = old.keys().chain(new.keys()).cloned().collect();
    assert_eq!(arrived, acknowledged, "{}", daemon.read("log/paniclog.ec"));
    let twice = old.values().chain(new.values()).filter(|&&times| times != 1).count();
    assert_eq!((twice, old.len() + new.len()), (0, acknowledged.len()), "nothing came twice");
    // What the old sink had not yet got follows the new gateway.
    assert!(!old.is_empty(), "none of {}", acknowledged.len());
    assert!(new.contains_key("last"));
}

#[test]
fn a_broken_file_is_refused_with_its_place_and_the_running_configuration_stays() {
    let sink = Sink::start();
    let daemon = relay(&sink).start();
    let good = to(&sink);
    daemon.write_config(&good.replace("hostname = \"relay.test\"", "hostname = \"other.test\"\nretry_intervall = 60"));
    let Ended { status, stdout, stderr } = daemon.console(&["config", "reload"]);
    assert_eq!(status.code(), Some(1), "{stdout}{stderr}");
    let place = format!("{}:2:1", daemon.value("config"));
    assert!(stderr.contains(&place), "{place} is missing in:\n{stderr}");
    assert!(stderr.contains("retry_intervall = 60"), "the line is shown:\n{stderr}");
    assert!(stderr.contains("^^^") || stderr.contains("---"), "and underlined:\n{stderr}");
    let suggestion = stderr.replace("retry_intervall", "");
    assert!(suggestion.contains("retry_interval"), "and a name suggested:\n{stderr}");
    assert!(stderr.contains("Reconfigure failed."), "{stderr}");

    assert_eq!(ask(&daemon, &["config", "eval", "hostname"]).to_lowercase(), "hostname = \"relay.test\"\n");
    accept(&daemon, "ann@client.test", &["bob@shop.test"], &letter("as before"));
    sink.wait_for(1, SOON);

    daemon.write_config(&good.replace("relay.test", "other.test"));
    ask(&daemon, &["config", "reload"]);
    assert_eq!(ask(&daemon, &["config", "eval", "hostname"]).to_lowercase(), "hostname = \"other.test\"\n");
}

#[test]
fn a_wrong_value_and_a_missing_brace_are_shown_where_they_are() {
    let sink = Sink::start();
    let daemon = relay(&sink).start();
    for (from, to, place) in [
        ("hostname = \"relay.test\"", "hostname = \"relay.test\"\nretry_interval = soon", ":2:18"),
        ("Control_Listener {", "Control_Listener", ""),
        ("heartbeat = 0\n}", "heartbeat = 0\n", ""),
    ] {
        daemon.write_config(&self::to(&sink).replacen(from, to, 1));
        let Ended { status, stderr, .. } = daemon.console(&["config", "reload"]);
        assert_eq!(status.code(), Some(1), "{to:?}");
        assert!(stderr.contains(&format!("{}{place}", daemon.value("config"))), "{to:?}:\n{stderr}");
    }
    assert_eq!(ask(&daemon, &["config", "eval", "retry_interval"]).to_lowercase(), "retry_interval = 1200\n");
}

#[test]
fn a_file_that_cannot_be_put_into_effect_is_refused_as_a_whole() {
    let sink = Sink::start();
    let daemon = relay(&sink).start();
    let taken = Sink::start();
    let listen = format!("ESMTP_Listener {{ Listen \"{}\" {{ }} }}\n", taken.addr());
    daemon.write_config(&(to(&sink).replace("relay.test", "other.test") + &listen));
    let Ended { status, stderr, .. } = daemon.console(&["config", "reload"]);
    assert_eq!(status.code(), Some(1));
    assert!(stderr.contains(&taken.addr().to_string()), "{stderr}");
    assert_eq!(ask(&daemon, &["config", "eval", "hostname"]).to_lowercase(), "hostname = \"relay.test\"\n");
}

#[test]
fn sighup_reloads_as_the_command_does() {
    let (old, new) = (Sink::start(), Sink::start());
    let daemon = relay(&old).start();
    daemon.write_config("this is no configuration {\n");
    daemon.signal(Signal::HUP);
    wait(&daemon, "the refusal is in the paniclog", || daemon.read("log/paniclog.ec").contains("reload refused"));
    accept(&daemon, "ann@client.test", &["bob@shop.test"], &letter("as before"));
    old.wait_for(1, SOON);

    let gateway = new.addr().to_string();
    daemon.write_config(&to(&new));
    daemon.signal(Signal::HUP);
    wait(&daemon, "the new file counts", || ask(&daemon, &["config", "eval", "gateway"]).contains(&gateway));
    accept(&daemon, "ann@client.test", &["bob@shop.test"], &letter("elsewhere"));
    new.wait_for(1, SOON);
}

#[test]
fn a_new_listen_stanza_listens_and_a_removed_one_ends_without_a_session_being_cut() {
    let sink = Sink::start();
    let second = free_addr();
    let daemon = relay(&sink).start();
    let listen = format!("ESMTP_Listener {{ Listen \"{second}\" {{ }} }}\n");
    daemon.write_config(&(to(&sink) + &listen));
    ask(&daemon, &["config", "reload"]);
    block_on(async {
        let mut client = Dialogue::greeted(second).await;
        daemon.write_config(&to(&sink));
        ask(&daemon, &["config", "reload"]);
        assert!(tokio::net::TcpStream::connect(second).await.is_err(), "nobody listens on {second} any more");
        // Either is right: the old session goes on, or it is told why it ends.
        client.send("MAIL FROM:<ann@client.test>").await;
        let reply = client.reply().await.unwrap_or_default();
        assert!(reply.starts_with("250") || reply.starts_with("421 4.3."), "{}", client.log());
    });
    block_on(async { Dialogue::greeted(daemon.addr()).await.ask("NOOP", "250").await });
}

#[test]
fn a_session_whose_options_have_changed_is_told_at_its_next_message() {
    let sink = Sink::start();
    let daemon = relay(&sink).start();
    block_on(async {
        let mut client = Dialogue::greeted(daemon.addr()).await;
        let reply = client.mail("ann@client.test", &["bob@shop.test"], &letter("before")).await;
        assert!(reply.starts_with("250"), "{reply}");
        daemon.write_config(&configuration(&format!("gateway = \"{}\"\n", sink.addr()), "max_message_size = 5000"));
        ask(&daemon, &["config", "reload"]);
        client.ask("NOOP", "250").await;
        client.ask("MAIL FROM:<ann@client.test>", "421 4.3.2 Reconfiguration in progress").await;
        client.expect_close().await;
        let mut client = Dialogue::greeted(daemon.addr()).await;
        assert!(client.log().contains("SIZE 5000"), "{}", client.log());
        client.ask("QUIT", "221").await;
    });
    sink.wait_for(1, SOON);
}

#[test]
fn delayed_mail_follows_the_new_configuration() {
    let (old, new) = (Sink::start(), Sink::start());
    old.on("RCPT", "450 4.2.1 not today");
    let own = |sink: &Sink| {
        format!("domain \"shop.test\" {{ routes = ( \"smtp://127.0.0.1?port={}\" ) }}\n", sink.addr().port())
    };
    let daemon = daemon(&own(&old)).start();
    accept(&daemon, "ann@client.test", &["bob@shop.test"], &letter("rerouted"));
    wait(&daemon, "it is delayed", || ask(&daemon, &["delayed", "0"]).contains("shop.test"));
    daemon.write_config(&configuration(&own(&new), ""));
    ask(&daemon, &["config", "reload"]);
    ask(&daemon, &["flush", "domain", "shop.test"]);
    assert!(new.wait_until(SOON, |messages| messages.len() == 1), "{}", testimony(&daemon));
    assert_eq!(old.count(), 0);
}

#[test]
fn a_reload_lets_suspended_mail_go() {
    let sink = Sink::start();
    let daemon = relay_with(&sink, "suspend_delivery = true\n").start();
    accept(&daemon, "ann@client.test", &["bob@shop.test"], &letter("held"));
    wait(&daemon, "it is held", || ask_json(&daemon, &["summary"])["TotalQueueSize"] == 1);
    daemon.write_config(&to(&sink));
    ask(&daemon, &["config", "reload"]);
    sink.wait_for(1, SOON);
    assert_eq!(mainlog(&daemon, "T").len(), 0, "holding mail is no failure");
}

#[test]
fn a_change_that_must_wait_for_the_next_start_is_said_to_wait() {
    let sink = Sink::start();
    let daemon = relay(&sink).start();
    daemon.write_config(&to(&sink).replace("@dir@/spool", "@dir@/other"));
    let said = ask(&daemon, &["config", "reload"]);
    assert!(said.contains("spoolbase") && said.contains("takes effect at the next start"), "{said}");
    accept(&daemon, "ann@client.test", &["bob@shop.test"], &letter("still spooled"));
    sink.wait_for(1, SOON);
    assert!(!daemon.dir().join("other").exists());
}
