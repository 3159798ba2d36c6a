//! What an operator sees of the hooks: each with its prototype, its providers in order, and what was counted of them.

use e2e::{MAILDIR, accept, ask, ask_json, daemon, letter, wait_for_lines};
use serde_json::Value;

/// The row of one hook.
fn hook(all: &Value, name: &str) -> Value {
    let rows = all["hooks"].as_array().expect("a list of hooks");
    rows.iter().find(|row| row["name"] == name).unwrap_or_else(|| panic!("{name} is not listed")).clone()
}

fn modules(row: &Value) -> Vec<&str> {
    row["providers"].as_array().expect("a list").iter().filter_map(|provider| provider["module"].as_str()).collect()
}

#[test]
fn module_hooks_lists_every_hook_provided_or_not_and_what_awaits_a_room() {
    let daemon = daemon(MAILDIR).start();
    accept(&daemon, "ann@client.test", &["bob@here.test"], &letter("delivered"));
    wait_for_lines(&daemon, "D", 1);
    let all = ask_json(&daemon, &["module", "hooks"]);
    let delivery = hook(&all, "core_log_delivery_v1");
    let types =
        "(void *closure, ec_message *msg, domain_record *dr, struct timeval *now, const char *note, int note_len)";
    assert_eq!(delivery["prototype"], format!("void core_log_delivery_v1{types}"));
    let logger = &delivery["providers"][0];
    assert_eq!((&logger["module"], &logger["calls"], &logger["errors"]), (&"ec_logger".into(), &1.into(), &0.into()));
    assert!(logger["longest_microseconds"].is_number(), "the first call is timed: {logger}");
    let failure = hook(&all, "core_log_permanent_failure_v1");
    assert_eq!(modules(&failure), ["ec_logger", "bounce_logger"], "in the order of the configuration");
    let unprovided = hook(&all, "validate_rcptto");
    assert_eq!((&unprovided["suspends"], modules(&unprovided)), (&true.into(), vec![]));
    let awaited = hook(&all, "core_validate_auth");
    assert_eq!((&awaited["awaits"], &awaited["tier"]), (&"AUTH".into(), &"A".into()));

    let text = ask(&daemon, &["module", "hooks"]);
    assert!(text.contains(&format!("\ncore_log_delivery_v1\n\tvoid core_log_delivery_v1{types}\n")), "{text}");
    assert!(text.contains("\n\tprovided by ec_logger: calls 1, suspensions 0, refusals 0, errors 0, mean "), "{text}");
    assert!(text.contains("\n\tnot called before there is: AUTH\n"), "{text}");
}
