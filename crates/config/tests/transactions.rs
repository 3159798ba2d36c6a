//! Transactions: private until committed, first committer wins.

mod common;

use std::sync::Arc;

use common::*;
use config::{Author, Lookup};

fn text_of(answer: Result<config::Answer, String>) -> String {
    answer.map_or_else(|problem| problem, |answer| answer.text)
}

#[test]
fn nobody_sees_a_change_before_it_is_committed() {
    let configuration = load("retry_interval = 5");
    let mut transaction = configuration.begin(false);
    assert_eq!(apply(&mut transaction, "set retry_interval 60"), "retry_interval = 60");
    let inside = transaction.generation().expect("valid");
    assert_eq!(text_of(inside.get_text(&["retry_interval"])), "retry_interval = 60");
    assert_eq!(text_of(inside.eval_text(&["domain", "d", "retry_interval"])), "retry_interval = 60");
    assert_eq!(configuration.current().get(&RETRY_INTERVAL, &Lookup::Global).0, 5);
    let generation = configuration.commit(&mut transaction, &mut |_| Ok(())).expect("first");
    assert_eq!((generation.number(), generation.get(&RETRY_INTERVAL, &Lookup::Global).0), (2, 60));
    assert_eq!(configuration.current().number(), 2);
}

#[test]
fn the_first_to_commit_wins_and_the_other_is_told_who_it_was() {
    let configuration = load("retry_interval = 5");
    let (mut first, mut second) = (configuration.begin(false), configuration.begin(false));
    apply(&mut first, "set retry_interval 60");
    apply(&mut second, "set hostname other");
    let author = Author { who: "ann".to_owned(), when: "12:00:00".to_owned() };
    configuration
        .commit(&mut second, &mut |new| {
            new.extend(Arc::new(author.clone()));
            Ok(())
        })
        .expect("first to commit");
    let refused = configuration.commit(&mut first, &mut |_| Ok(())).expect_err("too late");
    let told = refused.render(false);
    assert!(told.contains("was changed by ann at 12:00:00 since this transaction began"), "{told}");
    assert!(told.contains("roll it back"), "{told}");
    assert_eq!(configuration.current().get(&RETRY_INTERVAL, &Lookup::Global).0, 5);
}

#[test]
fn a_reload_counts_as_a_commit() {
    let etc = Etc::new(&[("ecelerity.conf", "hostname = \"h\"")]);
    let configuration = etc.load().expect("valid");
    let mut transaction = configuration.begin(false);
    apply(&mut transaction, "set hostname other");
    configuration.reload(&mut |_| Ok(())).expect("valid");
    assert!(configuration.commit(&mut transaction, &mut |_| Ok(())).is_err());
}

#[test]
fn a_commit_that_cannot_be_prepared_changes_nothing_and_may_be_tried_again() {
    let configuration = load("");
    let mut transaction = configuration.begin(false);
    apply(&mut transaction, "set hostname a");
    let refused = configuration.commit(&mut transaction, &mut |_| Err("no such pool".to_owned())).expect_err("refused");
    assert!(refused.render(false).contains("no such pool"));
    assert_eq!(configuration.current().number(), 1);
    apply(&mut transaction, "set retry_interval 9");
    let generation = configuration.commit(&mut transaction, &mut |_| Ok(())).expect("now it can");
    assert_eq!(generation.get(&HOSTNAME, &Lookup::Global), "a");
}

#[test]
fn what_is_left_out_of_a_command_is_named() {
    let configuration = load("");
    let mut transaction = configuration.begin(false);
    for (line, told) in [
        (
            "set domain retry_interval 5",
            "'domain' is a scope, and something is left out: config set domain NAME OPTION = VALUE",
        ),
        ("set binding 5", "'binding' is a scope, and something is left out: config set binding NAME OPTION = VALUE"),
        (
            "set include missing.conf",
            "'include' is a line of a file and no option: write it into a file, then config reload",
        ),
        ("set retry_intervall 5", "Unknown option 'retry_intervall'; did you mean `retry_interval`?"),
        ("set doman a.test retry_interval 5", "Unknown option 'doman'; did you mean `domain`?"),
        ("set hostname \u{201c}h\u{201d}", "typographic quotation mark \u{201c} where a plain \" belongs: write \"h\""),
    ] {
        assert_eq!(apply(&mut transaction, line), told, "{line}");
    }
    let told = apply(&mut transaction, "set relay_hosts \"( 10.0.0.0/33 ::1 )\"");
    assert!(told.contains("`10.0.0.0/33` is not a CIDR block"), "{told}");
    assert_eq!(apply(&mut transaction, "set relay_domains ( a/b, c )"), "Relay_Domains = ( \"a/b\" c )");
}

#[test]
fn replay_gives_the_lines_that_repeat_a_transaction() {
    let configuration = load("retry_interval = 5");
    let mut transaction = configuration.begin(false);
    for line in [
        "set binding b1 message_expiration 60",
        "set esmtp_listener listen :25 concurrency = 2",
        "unset retry_interval",
    ] {
        apply(&mut transaction, line);
    }
    apply(&mut transaction, "set retry_interval wrong");
    let lines = transaction.replay().to_vec();
    assert_eq!(
        lines,
        [
            "config set binding \"b1\" Message_Expiration = 60",
            "config set esmtp_listener listen \":25\" Concurrency = 2",
            "config unset retry_interval"
        ]
    );
    let mut again = configuration.begin(false);
    for line in lines {
        apply(&mut again, line.strip_prefix("config ").expect("a config command"));
    }
    let (first, again) = (transaction.generation().expect("valid"), again.generation().expect("valid"));
    assert_eq!(first.show(&[], true), again.show(&[], true));
}

#[test]
fn from_scratch_begins_empty() {
    let configuration = load("retry_interval = 5 binding \"b\" { }");
    let mut transaction = configuration.begin(true);
    assert!(!transaction.is_empty(), "committing it empties the configuration");
    apply(&mut transaction, "set hostname a");
    assert_eq!(text_of(transaction.generation().expect("valid").show(&[], true)), "Hostname = a");
    configuration.commit(&mut transaction, &mut |_| Ok(())).expect("first");
    assert_eq!(text_of(configuration.current().show(&[], true)), "Hostname = a");
}

#[test]
fn an_empty_transaction_makes_no_generation() {
    let configuration = load("");
    let mut transaction = configuration.begin(false);
    assert!(transaction.is_empty());
    assert_eq!(configuration.commit(&mut transaction, &mut |_| Ok(())).expect("nothing to do").number(), 1);
}

#[test]
fn what_waits_for_the_next_start_is_told_at_commit() {
    let configuration = load("ec_logger \"l\" { mainlog = \"/a\" }");
    let mut transaction = configuration.begin(false);
    apply(&mut transaction, "set ec_logger l mainlog /b");
    let generation = configuration.commit(&mut transaction, &mut |_| Ok(())).expect("valid");
    let told = generation.warnings().render(false);
    assert!(told.contains("the change of `mainlog` (was \"/a\") takes effect at the next start"), "{told}");
}

#[test]
fn a_binding_is_named_once() {
    let etc = Etc::new(&[(
        "ecelerity.conf",
        "binding_group \"pool\" {\n  binding \"p1\" {\n    retry_interval = 7\n  }\n}\nbinding \"own\" {\n  retry_interval = 8\n}\n",
    )]);
    let configuration = etc.load().expect("valid");
    let mut transaction = configuration.begin(false);
    transaction.set("binding p1 message_expiration 60").expect("valid");
    transaction.set("binding:p1: retry_interval = 9").expect("valid");
    transaction.set("binding p1 domain d retry_interval 5").expect("valid");
    let generation = transaction.generation().expect("valid");
    assert_eq!(generation.group_of("p1"), "pool");
    assert_eq!(generation.instances("binding").len(), 2, "{:?}", generation.instances("binding"));
    let said = |words: &[&str]| generation.get_text(words).expect("an option").text;
    for scope in [&["binding", "p1"][..], &["binding_group", "pool", "binding", "p1"]] {
        assert_eq!(said(&[scope, &["message_expiration"]].concat()).to_lowercase(), "message_expiration = 60");
        assert_eq!(said(&[scope, &["retry_interval"]].concat()), "retry_interval = 9");
    }
    let refused = transaction.set("binding_group other binding p1 retry_interval 1").expect_err("it is in pool");
    assert!(refused.contains("write config set binding_group pool binding p1"), "{refused}");
    let refused = transaction.set("binding_group pool binding own retry_interval 1").expect_err("it is in none");
    assert!(refused.contains("write config set binding own"), "{refused}");
    transaction.set("binding_group fresh binding new retry_interval 1").expect("valid");
    transaction.set("binding new message_expiration 2").expect("valid");
    assert_eq!(transaction.generation().expect("valid").instances("binding").len(), 3);
    transaction.unset(&["binding", "p1", "retry_interval"]).expect("set in its group");
    transaction.unset(&["binding", "p1"]).expect("set in its group");
    assert_eq!(transaction.generation().expect("valid").instances("binding").len(), 2);
}
