//! Reload: one atomic swap, or nothing.

mod common;

use std::sync::Arc;

use common::*;
use config::{Lookup, NewGeneration};

struct Compiled(String);

fn prepare(new: &mut NewGeneration) -> Result<(), String> {
    let hostname = new.get(&HOSTNAME, &Lookup::Global);
    new.extend(Arc::new(Compiled(hostname)));
    Ok(())
}

#[test]
fn a_reload_swaps_and_whoever_holds_the_old_generation_keeps_it() {
    let etc = Etc::new(&[("ecelerity.conf", "hostname = \"one\"")]);
    let configuration = etc.load().expect("valid");
    let old = configuration.current();
    etc.write("ecelerity.conf", "hostname = \"two\"");
    let new = configuration.reload(&mut prepare).expect("valid");
    assert_eq!((old.number(), new.number(), configuration.current().number()), (1, 2, 2));
    assert_eq!(old.get(&HOSTNAME, &Lookup::Global), "one");
    assert_eq!(configuration.clone().current().get(&HOSTNAME, &Lookup::Global), "two");
    assert_eq!(new.extension::<Compiled>().map(|compiled| compiled.0.clone()), Some("two".to_owned()));
    assert!(old.extension::<Compiled>().is_none());
}

#[test]
fn a_broken_file_changes_nothing() {
    let etc = Etc::new(&[("ecelerity.conf", "hostname = \"one\"")]);
    let configuration = etc.load().expect("valid");
    etc.write("ecelerity.conf", "hostname = \"two\"\nhostnam = \"three\"");
    let refused = configuration.reload(&mut prepare).expect_err("a misspelt option");
    assert!(etc.tidy(&refused).contains("did you mean `hostname`?"));
    assert_eq!(configuration.current().number(), 1);
    assert_eq!(configuration.current().get(&HOSTNAME, &Lookup::Global), "one");
    assert!(configuration.check(&etc.main()).is_err());
}

#[test]
fn a_preparation_that_fails_changes_nothing() {
    let etc = Etc::new(&[("ecelerity.conf", "hostname = \"one\"")]);
    let configuration = etc.load().expect("valid");
    let refused = configuration.reload(&mut |_| Err("module \"x\" does not start".to_owned())).expect_err("refused");
    assert_eq!(refused.render(false), "Error: configuration: module \"x\" does not start\n");
    assert_eq!(configuration.current().number(), 1);
}

#[test]
fn stanzas_are_listed_with_their_parents() {
    let generation = load(
        r#"ESMTP_Listener { Listen ":25" { Concurrency = 2 } Listen ":587" { } }
           Control_Listener { Listen "/tmp/2025" { File_Mode = 0600 } }
           eventloop "swift" { }
           binding_group "g" { binding "b" { } } binding "c" { }"#,
    )
    .current();
    let listens: Vec<_> =
        generation.stanzas("listen").map(|stanza| (stanza.parents()[0].0.clone(), stanza.name())).collect();
    let expected = [("esmtp_listener", ":25"), ("esmtp_listener", ":587"), ("control_listener", "/tmp/2025")];
    assert_eq!(listens, expected.map(|(word, name)| (word.to_owned(), name.to_owned())));
    let first = generation.instances("Listen")[0];
    assert_eq!((first.get(&LISTEN_CONCURRENCY), first.find(&FILE_MODE)), (2, None));
    assert_eq!(generation.instances("listen")[2].get(&FILE_MODE).0, 0o600);
    assert_eq!(generation.instances("esmtp_listener")[0].children("listen").len(), 2);
    assert_eq!(generation.instances("binding").iter().map(|binding| binding.name()).collect::<Vec<_>>(), ["b", "c"]);
    assert_eq!(generation.instances("eventloop")[0].name(), "swift");
}

#[test]
fn stanzas_of_one_name_merge_and_the_last_setting_wins() {
    let generation = load(
        r#"binding_group "g" { message_expiration = 1 retry_interval = 5 } Binding_Group "g" { MESSAGE_EXPIRATION = 2 }
           ESMTP_Listener { Listen ":25" { Idle_Time = 3 } } esmtp_listener { Listen "0.0.0.0:25" { open_relay = yes } }"#,
    )
    .current();
    assert_eq!(generation.get(&RETRY_INTERVAL, &queue("g", "b", "d")).0, 5);
    assert_eq!(expiration(&generation, &queue("g", "b", "d")), 2);
    assert!(generation.get(&OPEN_RELAY, &session(":25", "")));
    assert_eq!(generation.get(&IDLE_TIME, &session(":25", "")).0, 3);
    assert_eq!(generation.instances("listen").len(), 1);
}

#[test]
fn every_declared_default_passes_its_own_check() {
    assert_eq!(registry().check_defaults(), Vec::<String>::new());
}

#[test]
fn a_change_that_waits_for_the_next_start_is_told() {
    let etc = Etc::new(&[("ecelerity.conf", "ec_logger \"l\" { mainlog = \"/a\" }")]);
    let configuration = etc.load().expect("valid");
    etc.write("ecelerity.conf", "ec_logger \"l\" { mainlog = \"/b\" }");
    let new = configuration.reload(&mut |_| Ok(())).expect("a warning refuses nothing");
    let told: Vec<_> = new.warnings().iter().map(|warning| warning.message.as_str()).collect();
    assert_eq!(told, ["the change of `mainlog` (was \"/a\") takes effect at the next start"]);
    etc.write("ecelerity.conf", "");
    let told = configuration.check(&etc.main()).expect("valid");
    assert!(told.render(false).contains("the removal of `mainlog` takes effect at the next start"));
}

#[test]
fn a_change_that_closes_the_console_is_told() {
    let etc = Etc::new(&[("ecelerity.conf", "Control_Listener { Listen \"/run/c\" { } }\n")]);
    let configuration = etc.load().expect("valid");
    let told = |text: &str| {
        etc.write("ecelerity.conf", text);
        configuration.check(&etc.main()).expect("valid").iter().map(|one| one.message.clone()).collect::<Vec<_>>()
    };
    assert_eq!(told("Control_Listener { Listen \"/run/d\" { } }\n"), [""; 0]);
    let closed = "no Control_Listener is left: the console is out of reach once this is in effect";
    assert_eq!(told("ESMTP_Listener { Listen \":25\" { } }\n"), [closed]);
    assert_eq!(told("Control_Listener { }\n"), [closed]);
    configuration.reload(&mut |_| Ok(())).expect("a warning refuses nothing");
    assert_eq!(told(""), [""; 0], "there was none before");
}
