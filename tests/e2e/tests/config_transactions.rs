//! The configuration changed from the console: seen at once by new mail, and by nobody before its commit.

use e2e::{ConsoleSession, SOON, accept, ask, ask_json, block_on, daemon, letter, relay, wait_for_lines};
use testkit::{Dialogue, Ended, Sink};

#[test]
fn what_is_set_counts_for_new_mail_at_once() {
    let (old, new) = (Sink::start(), Sink::start());
    let daemon = relay(&old).start();
    accept(&daemon, "ann@client.test", &["bob@shop.test"], &letter("before"));
    old.wait_for(1, SOON);
    let gateway = new.addr().to_string();
    assert_eq!(
        ask(&daemon, &["config", "set", "gateway", "=", &gateway]).to_lowercase(),
        format!("gateway = {gateway}\n")
    );
    accept(&daemon, "ann@client.test", &["bob@shop.test"], &letter("after"));
    new.wait_for(1, SOON);
    assert_eq!((old.count(), new.count()), (1, 1));

    let said = ask(&daemon, &["config", "unset", "gateway"]);
    assert!(said.contains("has been unset. Effective value is now:\n"), "{said}");
}

#[test]
fn relaying_is_granted_and_taken_away_by_set_and_unset() {
    let sink = Sink::start();
    let daemon = daemon(&format!("relay_hosts = ( )\ngateway = \"{}\"\n", sink.addr())).start();
    let refused = || {
        block_on(async {
            let mut client = Dialogue::greeted(daemon.addr()).await;
            client.ask("MAIL FROM:<ann@client.test>", "250").await;
            client.ask("RCPT TO:<bob@shop.test>", "550 5.7.1").await;
        });
    };
    refused();
    ask(&daemon, &["config", "set", "esmtp_listener", "relay_hosts", "( 127.0.0.0/8 )"]);
    accept(&daemon, "ann@client.test", &["bob@shop.test"], &letter("yes"));
    ask(&daemon, &["config", "unset", "esmtp_listener", "relay_hosts"]);
    refused();
    sink.wait_for(1, SOON);
}

#[test]
fn a_shorter_retry_interval_counts_for_the_next_failure() {
    let sink = Sink::start();
    sink.on("DOT", "451 4.3.0 try later").times(1);
    let daemon = relay(&sink).start();
    ask(&daemon, &["config", "set", "retry_interval", "1"]);
    ask(&daemon, &["config", "set", "max_retry_interval", "1"]);
    accept(&daemon, "ann@client.test", &["bob@shop.test"], &letter("again"));
    sink.wait_for(1, SOON);
    assert_eq!(wait_for_lines(&daemon, "D", 1)[0][9], "1", "it was tried again by itself");
}

#[test]
fn of_two_transactions_the_first_to_commit_wins_and_the_other_is_told() {
    let sink = Sink::start();
    let daemon = relay(&sink).start();
    let (mut ann, mut bob) = (ConsoleSession::open(&daemon), ConsoleSession::open(&daemon));
    assert_eq!(ann.ask("config begin")["base"], 1);
    assert_eq!(bob.ask("config begin")["base"], 1);
    assert_eq!(ann.ask("config set retry_interval 61")["value"], 61);
    assert_eq!(bob.ask("config set retry_interval = 62")["value"], 62);
    assert_eq!(ann.ask("config eval retry_interval")["value"], 61, "each sees its own");
    assert_eq!(bob.ask("config eval domain x.test retry_interval")["value"], 62);
    assert_eq!(ask_json(&daemon, &["config", "eval", "retry_interval"])["value"], 1200, "and nobody else does");
    assert_eq!(ann.ask("config diff")["differences"][0]["new"]["value"], "61");

    assert_eq!(bob.ask("config commit")["generation"], 2);
    let told = ann.refused("config commit");
    assert!(told.contains("the configuration was changed by") && told.contains("UTC"), "{told}");
    assert!(ann.refused("config reload").contains("a transaction is open"));
    assert!(ann.refused("config begin").contains("a transaction is open"));
    assert_eq!(ann.ask("config replay")["commands"][0], "config set Retry_Interval = 61");
    assert_eq!(ann.ask("config rollback")["dropped"], 1);
    assert_eq!(ann.ask("config eval retry_interval")["value"], 62);
    assert!(ann.refused("config commit").contains("no transaction is open"));
}

#[test]
fn a_transaction_ends_with_its_connection() {
    let sink = Sink::start();
    let daemon = relay(&sink).start();
    let mut session = ConsoleSession::open(&daemon);
    session.ask("config begin");
    session.ask("config set retry_interval 61");
    drop(session);
    let mut session = ConsoleSession::open(&daemon);
    assert!(session.refused("config replay").contains("no transaction is open"));
    assert_eq!(session.ask("config eval retry_interval")["value"], 1200);
}

#[test]
fn a_commit_that_cannot_be_put_into_effect_changes_nothing() {
    let sink = Sink::start();
    let daemon = relay(&sink).start();
    let taken = Sink::start();
    let mut session = ConsoleSession::open(&daemon);
    session.ask("config begin");
    session.ask("config set hostname other.test");
    session.ask(&format!("config set esmtp_listener listen {} idle_time 5", taken.addr()));
    assert!(session.refused("config commit").contains(&taken.addr().to_string()));
    assert_eq!(ask_json(&daemon, &["config", "eval", "hostname"])["value"], "relay.test");
    session.ask(&format!("config unset esmtp_listener listen {}", taken.addr()));
    assert_eq!(session.ask("config commit")["generation"], 2, "what was wrong can be taken back");
    block_on(async {
        let client = Dialogue::greeted(daemon.addr()).await;
        assert!(client.log().contains("other.test"), "{}", client.log());
    });
}

#[test]
fn a_mistake_is_refused_in_the_words_a_file_gets() {
    let sink = Sink::start();
    let daemon = relay(&sink).start();
    let refusal = |words: &[&str]| {
        let Ended { status, stdout, stderr } = daemon.console(words);
        assert!(!status.success(), "{words:?}: {stdout}");
        stderr
    };
    assert!(refusal(&["config", "set", "retry_intervall", "5"]).contains("did you mean `retry_interval`?"));
    assert!(
        refusal(&["config", "set", "retry_interval", "soon"]).contains("expected a number of seconds, found `soon`")
    );
    assert!(
        refusal(&["config", "set", "domain", "a.test", "hostname", "x"]).contains("valid in the global scope only")
    );
    assert_eq!(ask_json(&daemon, &["config", "diff"])["differences"].as_array().map(Vec::len), Some(0));
}

#[test]
fn why_a_value_counts_and_where_a_scope_is_can_be_asked() {
    let daemon = daemon("").start();
    ask(&daemon, &["config", "set", "domain", "slow.test", "retry_interval", "61"]);
    let why = ask(&daemon, &["config", "eval", "--why", "domain", "slow.test", "retry_interval"]);
    assert!(
        why.contains("= 61\n  from domain \"slow.test\"") && why.contains("beats 1200 (compiled-in default)"),
        "{why}"
    );
    let found = ask(&daemon, &["config", "locate", "domain", "slow"]);
    assert_eq!(found, "domain \"slow.test\"\n  is at domain:slow.test:\n");
    let words = ask(&daemon, &["complete", "config", "set", "domain", "slow.test", "retry_"]);
    assert!(words.lines().any(|word| word == "retry_interval"), "{words}");
}
