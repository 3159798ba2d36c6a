//! What differs between two configurations, and where scopes are.

mod common;

use common::*;
use config::{differences, differences_json, differences_text};

#[test]
fn a_difference_names_scope_option_values_and_places() {
    let etc = Etc::new(&[(
        "ecelerity.conf",
        "retry_interval = 5\nhostname = \"h\"\nbinding \"b\" { domain \"d\" { retry_interval = 1 } }\nbinding \"gone\" { retry_interval = 3 }\n",
    )]);
    let configuration = etc.load().expect("valid");
    let old = configuration.current();
    etc.write("ecelerity.conf", "# moved\nhostname = \"h\"\nbinding \"b\" { domain \"d\" { retry_interval = 2 } }\nec_logger \"l\" { mainlog = \"/b\" }\n");
    let new = configuration.candidate(None).expect("valid");
    let all = differences(&old, &new);
    let text = differences_text(&all).replace(&format!("{}/", etc.dir.path().display()), "");
    assert_eq!(
        text,
        "binding \"b\" domain \"d\" retry_interval\n  - 1    ecelerity.conf:3\n  + 2    ecelerity.conf:3\n\
         ec_logger \"l\"\n  + { ... }    ecelerity.conf:4\n\
         ec_logger \"l\" mainlog  (at the next start)\n  + \"/b\"    ecelerity.conf:4\n\
         retry_interval\n  - 5    ecelerity.conf:1 when it was read, which the file does not say any more\n\
         binding \"gone\" retry_interval\n  - 3    ecelerity.conf:4 when it was read, which the file does not say any more\n\
         binding \"gone\"\n  - { ... }    ecelerity.conf:4 when it was read, which the file does not say any more\n"
    );
    let json = differences_json(&all);
    assert_eq!((&json[0]["old"]["value"], &json[0]["new"]["line"]), (&"1".into(), &3.into()));
    assert_eq!(json[2]["needs_restart"], true);
    assert!(differences(&old, &old).is_empty());
}

#[test]
fn options_without_effect_are_listed() {
    let generation = load("masterdb_file = \"/x\"\nretry_interval = 5\nadaptive { enabled = false }\n").current();
    assert!(generation.not_in_effect().contains(&"masterdb_file".to_owned()));
    assert!(!generation.not_in_effect().contains(&"retry_interval".to_owned()));
}

#[test]
fn locate_finds_scopes_and_their_paths() {
    let generation = load("Esmtp_Listener { Listen \":25\" { } Listen \":587\" { } }\nbinding_group \"g\" { binding \"bulk-1\" { } }\nbinding \"other\" { }").current();
    let said = |words: &[&str]| generation.locate(words).map_or_else(|problem| problem, |answer| answer.text);
    assert_eq!(said(&["listen", "25$"]), "Listen \":25\"\n  is at Esmtp_Listener::Listen:\\:25:");
    assert_eq!(
        said(&["Binding"]),
        "binding \"bulk-1\"\n  is at binding_group:g:binding:bulk-1:\nbinding \"other\"\n  is at binding:other:"
    );
    assert_eq!(said(&["binding", "zzz"]), "no binding matches");
    assert_eq!(said(&["bindin"]), "'bindin' is not a scope; did you mean `binding`?");
    assert!(said(&["binding", "("]).contains("not a valid regular expression"));
}

#[test]
fn completion_knows_scopes_names_and_options() {
    let generation = load("binding_group \"g\" { binding \"b1\" { } }\nec_logger \"l\" { mainlog = \"/x\" }").current();
    let next = |before: &[&str]| generation.next_words(before, true);
    assert!(next(&[]).contains(&"binding_group".to_owned()) && next(&[]).contains(&"hostname".to_owned()));
    assert_eq!(next(&["open_relay"]), ["true", "false"], "the values of an option that has few");
    assert_eq!(next(&["esmtp_listener", "open_relay"]), ["true", "false"]);
    assert!(next(&["hostname"]).is_empty() && generation.next_words(&["open_relay"], false).is_empty());
    assert_eq!(next(&["binding_group"]), ["g"]);
    assert_eq!(next(&["binding_group", "g", "binding"]), ["b1"]);
    assert!(next(&["binding_group", "g"]).contains(&"retry_interval".to_owned()));
    assert!(!next(&["binding_group", "g"]).contains(&"hostname".to_owned()));
    assert_eq!(next(&["ec_logger"]), ["l"]);
    assert!(next(&["ec_logger", "l"]).contains(&"mainlog".to_owned()));
}

#[test]
fn the_scope_that_gave_a_value_is_told_with_it() {
    let generation =
        load("retry_interval = 5 binding_group \"g\" { outbound_throttle_messages = \"10\" binding \"b\" { } }")
            .current();
    let group = generation.instances("binding_group")[0].scope_id();
    let (throttle, scope) = generation.find_scope(&THROTTLE, &queue("g", "b", "d")).expect("set in the group");
    assert_eq!((throttle.count, throttle.scope_id, scope), (10, group, group));
    assert!(generation.find_scope(&THROTTLE, &queue("", "x", "d")).is_none());
}

#[test]
fn outermost_stanzas_stand_in_file_order_across_includes() {
    let etc = Etc::new(&[
        (
            "ecelerity.conf",
            "binding \"z\" { }\ninclude \"inner\"\ndomain \"y\" { binding_test = 1 }\n"
                .replace(" binding_test = 1", "")
                .as_str(),
        ),
        ("inner", "ec_logger \"x\" { }\nbinding \"a\" { }\n"),
    ]);
    let generation = etc.load().expect("valid").current();
    let names: Vec<_> = generation.outermost().map(|stanza| stanza.name()).collect();
    assert_eq!(names, ["z", "x", "a", "y"]);
}
