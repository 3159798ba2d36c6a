//! Conditional stanzas: one file for several nodes and containers.

mod common;

use common::*;
use config::Lookup;

fn expirations(variables: &[(&str, &str)], text: &str) -> u64 {
    let etc = Etc::new(&[("ecelerity.conf", text)]);
    let configuration = etc.load_with(variables).unwrap_or_else(|refused| panic!("{}", refused.render(false)));
    expiration(&configuration.current(), &Lookup::Global)
}

#[test]
fn the_body_continues_in_the_scope_around_it_when_the_condition_holds() {
    let text = r#"
        message_expiration = 1
        if_env "ROLE=edge" { message_expiration = 2 }
        If_Env "ROLE=/^hub-\d+$/" { message_expiration = 3 }
        if_env "!ROLE" { message_expiration = 4 }
        if_env "ROLE!=edge" { if_env ROLE { if_env "ROLE!=/^hub/" { message_expiration = 5 } } }
    "#;
    for (role, expected) in [("edge", 2), ("hub-12", 3), ("", 4), ("spare", 5)] {
        assert_eq!(expirations(&[("ROLE", role)], text), expected, "{role}");
    }
    assert_eq!(expirations(&[], text), 4, "an unset variable counts as empty");
}

#[test]
fn it_stands_in_any_scope_and_holds_any_item() {
    let text = r#"
        ESMTP_Listener {
          if_env "SUBMISSION" { Listen ":587" { if_env "IDLE" { Idle_Time = ${IDLE} } } }
        }
        binding "b" { if_env "SLOW" { domain "d" { message_expiration = 9 } include "slow.conf" } }
    "#;
    let etc = Etc::new(&[("ecelerity.conf", text), ("slow.conf", "retry_interval = 8")]);
    let all = etc.load_with(&[("SUBMISSION", "1"), ("IDLE", "7"), ("SLOW", "y")]).expect("valid").current();
    assert_eq!(all.get(&IDLE_TIME, &session(":587", "")).0, 7);
    assert_eq!(expiration(&all, &queue("", "b", "d")), 9);
    assert_eq!(all.get(&RETRY_INTERVAL, &queue("", "b", "d")).0, 8);
    let none = etc.load().expect("valid").current();
    assert_eq!(none.instances("listen").len() + none.instances("domain").len(), 0, "nothing came into being");
    assert_eq!(none.show(&[], true).expect("shown").text, "ESMTP_Listener { }\nbinding \"b\" { }");
    assert_eq!(none.files().len(), 1, "and nothing was read");
}

#[test]
fn what_does_not_hold_needs_no_variable_no_secret_and_no_file() {
    let text = r#"if_env "PROXY" {
        hostname = ${PROXY_NAME} gateway = ${file:/nowhere} include "nowhere" relay_hosts = ( ${NETS...} )
        domain ${DOMAIN} { retry_interval = ${EVERY} }
    }"#;
    assert_eq!(warnings(text), "");
}

#[test]
fn what_does_not_hold_is_checked_all_the_same() {
    let said = refusal(
        r#"if_env "NEVER" {
  Retry_Intervall = 5
  retry_interval = soon
  domain "a" { hostname = "x" }
  Listen ":25" { }
  ESMTP_Listener { Listen "25" { } }
  if_env "NEVER!" { bindin "b" { } }
}"#,
    );
    for told in [
        "unknown option `Retry_Intervall` in the global scope",
        "expected a number of seconds, found `soon`",
        "option `hostname` is not valid in domain \"a\"",
        "`Listen` cannot stand in the global scope",
        "`25` lacks a port",
        "`NEVER!` asks about no variable",
        "unknown scope `bindin`",
    ] {
        assert!(said.contains(told), "{told}\n{said}");
    }
}

#[test]
fn what_does_not_hold_warns_of_nothing_and_leaves_no_trace() {
    let text = "if_env \"NEVER\" { tls = no opendkim \"x\" { anything = 1 } ESMTP_Listener { Listen \":25\" { } Listen \":25\" { } } }\nmessage_expiration = 5";
    assert_eq!(warnings(text), "");
    let generation = load(text).current();
    assert_eq!(generation.show(&[], true).expect("shown").text, "message_expiration = 5");
}

#[test]
fn a_condition_that_cannot_be_read_is_told_how_to_write_it() {
    for (text, help) in [
        ("if_env { hostname = \"x\" }", "write `if_env \"NAME\" { ... }`"),
        ("if_env A=b { hostname = \"x\" }", "write `if_env \"A=b\" { ... }`"),
        ("if_env \"A = b\" { }", "write \"A=b\""),
        ("if_env \"A=/(/\" { }", "close the group with )"),
        ("if_env ${A} { }", "write the name alone"),
        ("if_env \"A\"\nhostname = \"x\"", "write `if_env \"A\" { ... }`"),
    ] {
        let said = refusal(text);
        assert!(said.contains(help), "{text}\n{said}");
        assert_eq!(said.matches("Error:").count(), 1, "{text}\n{said}");
    }
}

#[test]
fn local_changes_may_depend_on_a_condition_and_come_back_to_a_listen() {
    let text = "if_env \"NODE\" { local_changes_file = $\"${NODE}.conf\" }\nESMTP_Listener { Listen \":25\" { } }";
    let changes = "ESMTP_Listener { Listen \":25\" { Idle_Time = 5 } }";
    let etc = Etc::new(&[("ecelerity.conf", text), ("n1.conf", changes)]);
    let generation = etc.load_with(&[("NODE", "n1")]).expect("valid").current();
    assert_eq!(generation.get(&IDLE_TIME, &session(":25", "")).0, 5);
    let told = generation.warnings().render(false);
    assert!(!told.contains("same socket"), "{told}");
    let generation = etc.load().expect("valid").current();
    assert_eq!(generation.get(&IDLE_TIME, &session(":25", "")).0, 60);
}
