//! Mail that no policy gives a binding.

use e2e::{SOON, accept, ask, configuration, figure, letter, relay_with, send, wait, wait_for_lines};
use testkit::Sink;

#[test]
fn it_is_refused_kept_or_delivered_as_default_binding_says() {
    let sink = Sink::start();
    let text = |value: &str| format!("gateway = \"{}\"\ndefault_binding = {value}\n", sink.addr());
    let daemon = relay_with(&sink, "default_binding = none\n").start();
    let said = send(&daemon, "ann@client.test", &["bob@shop.test"], &letter("refused"));
    assert!(said.starts_with("451 4.3.5"), "{said}");

    daemon.write_config(&configuration(&text("suspended"), ""));
    ask(&daemon, &["config", "reload"]);
    accept(&daemon, "ann@client.test", &["bob@shop.test"], &letter("kept"));
    wait(&daemon, "it is queued", || figure(&ask(&daemon, &["summary"]), "Active Queue Size") == "1");
    assert_eq!(sink.count(), 0);

    let bulk = format!("{}binding \"bulk\" {{ }}\n", text("bulk"));
    daemon.write_config(&configuration(&bulk, ""));
    ask(&daemon, &["config", "reload"]);
    accept(&daemon, "ann@client.test", &["bob@shop.test"], &letter("by a name"));
    let named = wait_for_lines(&daemon, "D", 2);
    assert!(named.iter().any(|line| line.iter().any(|field| field == "bulk")), "{named:#?}");

    daemon.write_config(&configuration(&text("normal"), ""));
    ask(&daemon, &["config", "reload"]);
    sink.wait_for(2, SOON);
}
