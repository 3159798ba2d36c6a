//! The manual's recipes are what the daemon takes, and do what they say.

use std::path::Path;

use e2e::{accept, ask, configuration, daemon, letter, wait, wait_for_lines, wait_for_mail};
use testkit::Sink;

/// The blocks of configuration in the chapter.
fn blocks() -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../doc/manual/recipes.md");
    let page = std::fs::read_to_string(path).expect("the chapter");
    let parts = page.split("```conf\n").skip(1);
    parts.map(|part| part.split("```").next().unwrap_or_default().to_owned()).collect()
}

fn block(part: &str) -> String {
    let found = blocks().into_iter().find(|block| block.contains(part));
    found.unwrap_or_else(|| panic!("no block has {part:?}"))
}

#[test]
fn every_block_is_loaded_without_a_word_against_it() {
    let daemon = daemon("").start();
    assert!(9 < blocks().len());
    for block in blocks() {
        daemon.write_config(&configuration(&block, ""));
        let reloaded = daemon.console(&["config", "reload", "--json"]);
        assert!(reloaded.status.success(), "{block}\n{}{}", reloaded.stdout, reloaded.stderr);
        // That a port or the DNS waits for the next start is no word against it.
        let told = reloaded.stdout.replace("next start", "");
        assert!(
            !told.contains("did you mean") && !told.contains("not in effect") && !told.contains("instead"),
            "{block}\n{told}"
        );
    }
}

#[test]
fn the_postmaster_has_a_place() {
    let text = block("relay.test").replace("/var/lib/postrider/mail", "@dir@/maildir");
    let daemon = daemon(&text).start();
    accept(&daemon, "ann@client.test", &["postmaster"], &letter("to whom it concerns"));
    wait_for_mail(&daemon, "postmaster@relay.test", 1);
    accept(&daemon, "ann@client.test", &["bob@relay.test"], &letter("to somebody"));
    wait_for_mail(&daemon, "bob@relay.test", 1);
}

#[test]
fn an_lmtp_server_gets_its_domain_s_mail() {
    let sink = Sink::start();
    let text = block("delivery_method = \"lmtp\"").replace("127.0.0.1:2003", &sink.addr().to_string());
    let daemon = daemon(&text).start();
    accept(&daemon, "ann@client.test", &["bob@example.com"], &letter("by LMTP"));
    // The sink speaks ESMTP alone: it knows EHLO, and not the LHLO that it hears.
    let told = wait_for_lines(&daemon, "T", 1);
    assert_eq!(
        (told[0][5].as_str(), told[0][13].as_str()),
        (sink.addr().to_string().as_str(), "500 5.5.1 no such command")
    );
}

#[test]
fn suspended_mail_goes_when_it_is_let_go() {
    let sink = Sink::start();
    let daemon = daemon(&format!(
        "domain \"example.org\" {{ routes = ( \"smtp://127.0.0.1?port={}\" ) }}\n",
        sink.addr().port()
    ));
    let daemon = daemon.start();
    ask(&daemon, &["config", "set", "domain", "example.org", "suspend_delivery", "true"]);
    accept(&daemon, "ann@client.test", &["bob@example.org"], &letter("held"));
    wait(&daemon, "it is held", || ask(&daemon, &["domain", "example.org"]).contains("suspended"));
    ask(&daemon, &["flush", "domain", "example.org"]);
    assert_eq!(sink.count(), 0);
    ask(&daemon, &["config", "unset", "domain", "example.org", "suspend_delivery"]);
    wait_for_lines(&daemon, "D", 1);
}
