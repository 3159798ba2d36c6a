//! Where a value comes from when it was set from the console, what a reload drops, and what waits for the next start.

mod common;

use common::*;
use config::{Author, Configuration, differences, differences_text, dropped_changes};
use std::sync::Arc;

/// One change by jan, at the console's own door.
fn set(configuration: &Configuration, line: &str) {
    change(configuration, |transaction| transaction.set(line).map(drop));
}

fn change(configuration: &Configuration, edit: impl FnOnce(&mut config::Transaction) -> Result<(), String>) {
    let mut transaction = configuration.begin(false);
    edit(&mut transaction).unwrap_or_else(|problem| panic!("{problem}"));
    let mut by_jan = |new: &mut config::NewGeneration| {
        new.extend(Arc::new(Author { who: "jan (uid 7)".into(), when: "2026-09-21 14:13:20 UTC".into() }));
        Ok(())
    };
    configuration.commit(&mut transaction, &mut by_jan).expect("valid");
}

fn why(configuration: &Configuration, words: &[&str]) -> String {
    configuration.current().why_text(words).expect("an option").text
}

const FILE: &str = "retry_interval = 5\ndomain \"d\" {\n  retry_interval = 61\n}\nmessage_expiration = 600\n";

#[test]
fn what_the_console_set_says_so_and_what_the_file_says_instead() {
    let etc = Etc::new(&[("ecelerity.conf", FILE)]);
    let configuration = etc.load().expect("valid");
    set(&configuration, "domain d retry_interval 77");
    let told = why(&configuration, &["domain", "d", "retry_interval"]);
    let by = "set from the console at 2026-09-21 14:13:20 UTC by jan (uid 7)";
    assert!(told.contains(&format!("= 77\n  from domain \"d\", {by}\n")), "{told}");
    assert!(told.contains("in place of 61 (") && told.contains("ecelerity.conf:3), until config reload"), "{told}");
    let json = configuration.current().why_text(&["domain", "d", "retry_interval"]).expect("an option").json;
    assert_eq!(
        (&json["origins"][0]["console"]["who"], &json["origins"][0]["line"]),
        (&"jan (uid 7)".into(), &0.into())
    );
    // A second change keeps what the file says, and the others keep the lines they have on disk.
    set(&configuration, "domain d retry_interval 78");
    assert!(why(&configuration, &["domain", "d", "retry_interval"]).contains("in place of 61 ("));
    set(&configuration, "domain d message_expiration 3");
    set(&configuration, "domain e retry_interval 9");
    assert!(why(&configuration, &["message_expiration"]).contains("ecelerity.conf:5"), "the line of the file");
    assert!(why(&configuration, &["domain", "e", "retry_interval"]).contains(by));
    configuration.writeback().expect("written");
    let told = why(&configuration, &["domain", "d", "retry_interval"]);
    assert!(!told.contains("console") && told.contains("ecelerity.conf:3"), "it is in the file now: {told}");
    set(&configuration, "message_expiration 700");
    assert!(why(&configuration, &["domain", "d", "retry_interval"]).contains("ecelerity.conf:3"));
    assert!(why(&configuration, &["message_expiration"]).contains("in place of 600 ("));
}

#[test]
fn a_change_that_no_file_takes_comes_from_the_console_and_from_no_file() {
    let etc = Etc::new(&[("ecelerity.conf", "readonly_include \"more.conf\"\n"), ("more.conf", FILE)]);
    let configuration = etc.load().expect("valid");
    set(&configuration, "domain d retry_interval 77");
    let told = why(&configuration, &["domain", "d", "retry_interval"]);
    assert!(told.contains("set from the console at 2026") && told.contains("in place of 61 ("), "{told}");
    let mut transaction = configuration.begin(false);
    transaction.set("message_expiration 9").expect("valid");
    let inside = transaction.generation().expect("valid");
    let told = inside.why_text(&["message_expiration"]).expect("an option").text;
    assert!(told.contains("set from the console, in this transaction"), "{told}");
}

#[test]
fn a_reload_tells_which_changes_it_drops() {
    let etc = Etc::new(&[("ecelerity.conf", FILE)]);
    let configuration = etc.load().expect("valid");
    set(&configuration, "domain d retry_interval 77");
    set(&configuration, "message_expiration 700");
    change(&configuration, |transaction| transaction.unset(&["retry_interval"]).map(drop));
    change(&configuration, |transaction| transaction.set("binding b retry_interval 3").map(drop));
    change(&configuration, |transaction| transaction.unset(&["binding", "b"]).map(drop));
    // One of them was made in the file as well.
    etc.write("ecelerity.conf", &FILE.replace("600", "700"));
    let candidate = configuration.candidate(None).expect("valid");
    let dropped = dropped_changes(&configuration.current(), &candidate);
    let told: Vec<String> = dropped.iter().map(ToString::to_string).collect();
    let by = "from the console at 2026-09-21 14:13:20 UTC by jan (uid 7)";
    assert_eq!(told, [format!("domain \"d\" retry_interval = 77, set {by}"), format!("retry_interval, removed {by}")]);
    let diff = differences_text(&differences(&candidate, &configuration.current()));
    assert!(diff.contains(&format!("  + 77    {by}\n")), "{diff}");
    let reloaded = configuration.reload(&mut |_| Ok(())).expect("valid");
    assert!(reloaded.console_changes().is_empty());
}

#[test]
fn only_what_the_process_does_not_run_with_waits_for_the_next_start() {
    let etc = Etc::new(&[("ecelerity.conf", "ec_logger \"l\" {\n  mainlog = \"/a\"\n}\n")]);
    let configuration = etc.load().expect("valid");
    let waits = |configuration: &Configuration| configuration.current().warnings().render(false).contains("next start");
    set(&configuration, "ec_logger l mainlog /b");
    assert!(waits(&configuration));
    set(&configuration, "message_expiration 700");
    assert!(waits(&configuration), "it still does");
    set(&configuration, "ec_logger l mainlog /a");
    assert!(!waits(&configuration), "it runs with that: {}", configuration.current().warnings().render(false));
    etc.write("ecelerity.conf", "ec_logger \"l\" {\n  mainlog = \"/c\"\n}\n");
    let candidate = configuration.candidate(None).expect("valid");
    assert!(differences(&configuration.current(), &candidate)[0].needs_restart);
    configuration.reload(&mut |_| Ok(())).expect("valid");
    etc.write("ecelerity.conf", "ec_logger \"l\" {\n  mainlog = \"/a\"\n}\n");
    let candidate = configuration.candidate(None).expect("valid");
    assert!(!differences(&configuration.current(), &candidate)[0].needs_restart);
}

#[test]
fn a_word_that_the_file_accepts_without_effect_can_be_set_from_the_console() {
    let etc = Etc::new(&[
        ("ecelerity.conf", "accept_ineffective = ( \"tls\" )\ninclude \"more.conf\"\n"),
        ("more.conf", "domain \"d\" {\n  tls = \"required\"\n}\n"),
    ]);
    let configuration = etc.load().expect("valid");
    set(&configuration, "domain e tls required");
    let mut transaction = configuration.begin(false);
    let refused = transaction.set("domain e tls_verify host").expect_err("nobody accepts that");
    assert!(refused.contains("accept_ineffective = ( \"tls_verify\" )"), "{refused}");
    // The way on that the refusal names is one, in the same transaction too.
    transaction.set("accept_ineffective ( tls tls_verify )").expect("valid");
    transaction.set("domain e tls_verify host").expect("accepted now");
    transaction.generation().expect("valid");
}

#[test]
fn a_word_in_a_wrong_place_is_told_each_place_once() {
    let told = Configuration::of_text(registry(), "replicate { class = x }\n").expect_err("not there").render(false);
    let help = told.lines().find(|line| line.contains("it belongs in")).unwrap_or_else(|| panic!("{told}"));
    assert_eq!(help.matches("cluster").count(), 1, "{help}");
}

#[test]
fn a_value_that_waits_for_the_next_start_is_not_told_as_in_effect() {
    let etc = Etc::new(&[("ecelerity.conf", "ec_logger \"l\" {\n  mainlog = \"/a\"\n}\n")]);
    let configuration = etc.load().expect("valid");
    let words = ["ec_logger", "l", "mainlog"];
    let eval = |configuration: &Configuration| configuration.current().eval_text(&words).expect("an option");
    assert!(!eval(&configuration).text.contains("start") && !why(&configuration, &words).contains("start"));
    set(&configuration, "ec_logger l mainlog /b");
    let told = eval(&configuration);
    assert_eq!(told.text, "mainlog = \"/a\"\n  mainlog = \"/b\" takes effect at the next start");
    assert_eq!((&told.json["value"], &told.json["at_next_start"]), (&"/a".into(), &"/b".into()));
    let told = why(&configuration, &words);
    assert!(told.contains("at the next start: until then the process runs with \"/a\""), "{told}");
    change(&configuration, |transaction| transaction.unset(&words).map(drop));
    assert!(why(&configuration, &words).contains("until then the process runs with \"/a\""));
    set(&configuration, "ec_logger l mainlog '/a'");
    let (told, warned) = (eval(&configuration), configuration.current().warnings().render(false));
    assert!(!told.text.contains("next start") && !warned.contains("next start"), "{told:?} {warned}");
}

#[test]
fn quoting_makes_no_difference() {
    let etc = Etc::new(&[("ecelerity.conf", "hostname = \"mx.example\"\nec_logger \"l\" {\n  mainlog = \"log\"\n}\n")]);
    let configuration = etc.load().expect("valid");
    let old = configuration.current();
    set(&configuration, "hostname mx.example");
    set(&configuration, "ec_logger l mainlog log");
    let differing = differences(&old, &configuration.current());
    assert!(differing.is_empty(), "{}", differences_text(&differing));
    set(&configuration, "hostname other.example");
    assert_eq!(differences(&old, &configuration.current()).len(), 1);
}

#[test]
fn what_stands_beside_a_change_in_one_line_keeps_its_place() {
    let etc = Etc::new(&[("ecelerity.conf", "# one\ndomain \"d\" { message_expiration = 61 }\n")]);
    let configuration = etc.load().expect("valid");
    set(&configuration, "domain d retry_interval 7");
    let told = why(&configuration, &["domain", "d", "message_expiration"]);
    assert!(told.contains("  from domain \"d\", ") && told.contains("ecelerity.conf:2\n"), "{told}");
    assert!(why(&configuration, &["domain", "d", "retry_interval"]).contains("set from the console at"));
}

#[test]
fn lines_are_those_of_the_file_as_it_is_now() {
    let etc = Etc::new(&[("ecelerity.conf", FILE)]);
    let configuration = etc.load().expect("valid");
    assert!(why(&configuration, &["message_expiration"]).contains("ecelerity.conf:5"));
    etc.write("ecelerity.conf", &format!("# 1\n# 2\n# 3\n{}", FILE.replace("61", "62")));
    assert!(why(&configuration, &["message_expiration"]).contains("ecelerity.conf:8"));
    let told = differences_text(&differences(&configuration.candidate(None).expect("valid"), &configuration.current()));
    assert!(told.contains("ecelerity.conf:6\n") && !told.contains("ecelerity.conf:3\n"), "{told}");
    etc.write("ecelerity.conf", "retry_interval = 5\n");
    let told = why(&configuration, &["message_expiration"]);
    assert!(told.contains("ecelerity.conf:5 when it was read, which the file does not say any more"), "{told}");
}

#[test]
fn a_scope_that_the_console_made_says_so_and_goes_with_its_only_option() {
    let etc = Etc::new(&[("ecelerity.conf", "domain \"kept\" {\n  retry_interval = 3\n}\n")]);
    let configuration = etc.load().expect("valid");
    let differing =
        || differences_text(&differences(&configuration.candidate(None).expect("valid"), &configuration.current()));
    set(&configuration, "binding b domain e retry_interval 9");
    let told = differing();
    let by = "from the console at 2026-09-21 14:13:20 UTC by jan (uid 7)";
    assert!(told.contains(&format!("binding \"b\" domain \"e\"\n  + {{ ... }}    {by}\n")), "{told}");
    assert!(!told.contains("not on disk"), "{told}");
    change(&configuration, |transaction| {
        transaction.unset(&["binding", "b", "domain", "e", "retry_interval"]).map(drop)
    });
    assert_eq!(differing(), "");
    change(&configuration, |transaction| transaction.unset(&["domain", "kept", "retry_interval"]).map(drop));
    let told = differing();
    assert!(!told.contains("{ ... }"), "what a file has stays: {told}");
}
