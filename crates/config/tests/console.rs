//! The reading `config` commands, in the documented shapes.

mod common;

use common::*;

const TEXT: &str = r#"
hostname = "mx.example"
Message_Expiration = 86400
ESMTP_Listener {
  Idle_Time = 300
  Relay_Hosts = ( "192.0.2.0/24" ::1 )
  Listen ":25" {
    Concurrency = 2
    Context = [ channel = "submission" ]
  }
}
binding_group "g" { binding "b" { message_expiration = 60 } }
ec_logger "ec_logger1" { mainlog = "/var/log/main" }
"#;

fn said(answer: Result<config::Answer, String>) -> String {
    answer.map_or_else(|problem| problem, |answer| answer.text)
}

#[test]
fn get_reads_one_scope_only() {
    let generation = load(TEXT).current();
    let get = |words: &[&str]| said(generation.get_text(words));
    assert_eq!(get(&["message_expiration"]), "Message_Expiration = 86400");
    assert_eq!(get(&["masterdb_file"]), "Option 'Masterdb_File' is not set in scope ''.");
    assert_eq!(get(&["esmtp_listener", "listen", "*:25", "concurrency"]), "Concurrency = 2");
    assert_eq!(get(&[r"Esmtp_Listener::Listen:\:25:", "Concurrency"]), "Concurrency = 2");
    assert_eq!(
        get(&["Esmtp_Listener", "Listen", ":26", "Concurrency"]),
        r"Option 'Concurrency' is not set in scope 'Esmtp_Listener::Listen:\:26:'."
    );
    assert_eq!(get(&["binding_group", "g", "binding", "b", "Message_Expiration"]), "Message_Expiration = 60");
    assert_eq!(get(&["ec_logger", "ec_logger1", "mainlog"]), "mainlog = \"/var/log/main\"");
    assert_eq!(get(&["hostnam"]), "Unknown option 'hostnam'; did you mean `hostname`?");
    assert_eq!(get(&["bindin", "b", "hostname"]), "'bindin' is not a scope; did you mean `binding`?");
    assert_eq!(get(&["binding", "hostname"]), "scope 'binding' needs the name of an instance");
}

#[test]
fn eval_falls_back_and_shows_the_default() {
    let generation = load(TEXT).current();
    let eval = |words: &[&str]| said(generation.eval_text(words));
    assert_eq!(eval(&["binding", "b", "domain", "any.example", "message_expiration"]), "Message_Expiration = 60");
    assert_eq!(eval(&["domain", "any.example", "message_expiration"]), "Message_Expiration = 86400");
    assert_eq!(eval(&["retry_interval"]), "Retry_Interval = 1200");
    assert_eq!(eval(&["esmtp_listener", "listen", ":25", "peer", "192.0.2.7", "idle_time"]), "Idle_Time = 300");
    assert_eq!(eval(&["threadpool", "IO", "concurrency"]), "Concurrency = 1");
    assert_eq!(eval(&["esmtp_listener", "listen", ":26", "concurrency"]), "Concurrency = 4");
    assert_eq!(eval(&["ec_logger", "ec_logger1", "mainlog"]), "mainlog = \"/var/log/main\"");
}

#[test]
fn eval_of_an_option_that_nothing_reads_shows_the_documented_default_and_says_so() {
    let text = "binding_auto_replumb_interval = 5";
    let eval = |text: &str| load(text).current().eval_text(&["binding_auto_replumb_interval"]).expect("a known option");
    let (unset, set) = (eval(""), eval(text));
    assert!(unset.text.starts_with("Binding_Auto_Replumb_Interval = 60\n  not supported here: "), "{}", unset.text);
    assert!(set.text.starts_with("binding_auto_replumb_interval = 5\n  not supported here: "), "{}", set.text);
    assert_eq!((&unset.json["in_effect"], &unset.json["value"]), (&false.into(), &60.into()));
    assert_eq!(load("").current().eval_text(&["hostname"]).expect("a known option").json["in_effect"], true);
}

#[test]
fn why_names_the_place_and_what_it_beat() {
    let etc = Etc::new(&[("ecelerity.conf", TEXT)]);
    let generation = etc.load().expect("valid").current();
    let text = said(generation.why_text(&["binding", "b", "domain", "d", "message_expiration"]));
    let text = text.replace(&format!("{}/", etc.dir.path().display()), "");
    assert_eq!(
        text,
        "Message_Expiration = 60\n  from binding \"b\", ecelerity.conf:12\n  beats 86400 (the global scope, ecelerity.conf:3)\n  beats 259200 (compiled-in default)"
    );
}

#[test]
fn why_names_what_a_later_line_of_the_same_scope_replaced() {
    let text = load("retry_interval = 900\ndomain \"d\" { }\nretry_interval = 600\n").current();
    let why = said(text.why_text(&["domain", "d", "retry_interval"]));
    let beaten: Vec<&str> = why.lines().skip(2).collect();
    assert!(why.starts_with("retry_interval = 600\n"), "{why}");
    assert!(beaten[0].starts_with("  beats 900 (the global scope, ") && beaten[0].ends_with(":1)"), "{why}");
}

#[test]
fn show_prints_one_level_and_showrecurse_all() {
    let generation = load(TEXT).current();
    assert_eq!(
        said(generation.show(&["esmtp_listener"], false)),
        "ESMTP_Listener {\n  Idle_Time = 300\n  Relay_Hosts = ( \"192.0.2.0/24\" ::1 )\n  Listen \":25\" { ... }\n}"
    );
    assert_eq!(
        said(generation.show(&[], false)),
        "hostname = \"mx.example\"\nMessage_Expiration = 86400\nESMTP_Listener { ... }\nbinding_group \"g\" { ... }\nec_logger \"ec_logger1\" { ... }"
    );
    let all = generation.show(&[], true).expect("the whole configuration");
    assert!(all.text.contains("    Context = [ channel = \"submission\" ]\n"));
    assert_eq!(all.json["scopes"][0]["options"]["idle_time"], 300);
    assert_eq!(
        load(&all.text).current().show(&[], true),
        Ok(all),
        "what is shown reads back as the same configuration"
    );
    assert_eq!(said(generation.show(&["hostname"], false)), "hostname = \"mx.example\"");
    assert_eq!(said(generation.show(&["binding", "nobody"], false)), "Scope 'binding:nobody:' does not exist.");
}
