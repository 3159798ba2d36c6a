//! Changes from the console: what `set` and `unset` do, say, and write.

mod common;

use common::*;
use config::{Configuration, Environment, Lookup};

/// A daemon on these files after these lines, written back; the text of the main file.
fn main_after(text: &str, lines: &[&str]) -> String {
    let etc = Etc::new(&[("ecelerity.conf", text)]);
    let configuration = etc.load().expect("valid");
    change(&configuration, lines);
    assert_eq!(etc.read("ecelerity.conf"), text, "nothing is written before a writeback");
    let written = configuration.writeback().expect("written");
    assert_eq!((written.files, written.homeless.as_str()), (vec![etc.main()], ""));
    let again = etc.load().expect("what was written is valid").current();
    assert_eq!(again.show(&[], true), configuration.current().show(&[], true), "and is what ran");
    etc.read("ecelerity.conf")
}

#[test]
fn a_value_is_replaced_where_its_last_definition_stands() {
    let text = "# mail\nretry_interval = 5\n\nRetry_Interval =   7   # seconds\ndomain \"a\" { retry_interval = 9 }\n";
    assert_eq!(main_after(text, &["set retry_interval = 60"]), text.replace("   7 ", "   60 "));
    assert_eq!(main_after(text, &["set domain a retry_interval 60"]), text.replace("= 9 }", "= 60 }"));
}

#[test]
fn a_new_option_follows_the_layout_of_its_scope() {
    let text = "binding \"b\" {\n    # keep\n    retry_interval = 5\n}\ndomain \"d\" { }\n";
    assert_eq!(
        main_after(text, &["set binding b message_expiration 60", "set domain d retry_interval 1"]),
        "binding \"b\" {\n    # keep\n    retry_interval = 5\n    message_expiration = 60\n}\ndomain \"d\" { retry_interval = 1 }\n"
            .replace("message_expiration", "Message_Expiration")
    );
    assert_eq!(
        main_after(text, &["set binding b domain x.example message_expiration 60"]),
        text.replace("= 5\n", "= 5\n    domain \"x.example\" {\n        Message_Expiration = 60\n    }\n")
    );
    assert_eq!(main_after("", &["set hostname mx.example"]), "Hostname = mx.example\n");
}

#[test]
fn values_are_lists_dictionaries_patterns_and_plain_words() {
    let text = "ESMTP_Listener {\n  Listen \":25\" {\n  }\n}\n";
    let lines = [
        "set esmtp_listener listen :25 context [ a = b ]",
        "set esmtp_listener relay_hosts ( 192.0.2.0/24 \"::1\" )",
        "set ESMTP_Listener Listen *:25 Open_Relay=on",
        "set domain '/(^|\\.)partner\\.example$/' gateway = 192.0.2.1:25",
        "set routes = \"( \\\"x\\\" )\"",
        "set routes = ()",
        "set gateway /run/lmtp",
    ];
    assert_eq!(
        main_after(text, &lines),
        "ESMTP_Listener {\n  Listen \":25\" {\n    Context = [ a = b ]\n    Open_Relay = on\n  }\n  Relay_Hosts = ( 192.0.2.0/24 \"::1\" )\n}\n\
         domain \"/(^|\\.)partner\\.example$/\" {\n  Gateway = 192.0.2.1:25\n}\nRoutes = ()\nGateway = \"/run/lmtp\"\n"
    );
}

#[test]
fn set_echoes_what_it_did_as_typed() {
    let configuration = load("suspend_delivery_test = 1".replace("suspend_delivery_test = 1", "").as_str());
    let said = change(
        &configuration,
        &["set open_relay = ON", "set binding b message_expiration 60", "set routes = ( \"a\"   'b' )"],
    );
    assert_eq!(said, ["Open_Relay = ON", "Message_Expiration = 60", "Routes = ( \"a\" 'b' )"]);
    assert!(configuration.current().get(&OPEN_RELAY, &Lookup::Global));
}

#[test]
fn a_mistake_is_told_at_once_in_the_words_a_file_gets() {
    let configuration = load("");
    let mut transaction = configuration.begin(false);
    let mut said = |line: &str| apply(&mut transaction, line);
    assert_eq!(said("set hostnam x"), "Unknown option 'hostnam'; did you mean `hostname`?");
    assert_eq!(said("set bindin b retry_interval = 5"), "'bindin' is not a scope; did you mean `binding`?");
    let text = said("set retry_interval = soon");
    assert!(text.contains("expected a number of seconds, found `soon`"), "{text}");
    let text = said("set retry_interval = 0");
    assert!(text.contains("must be at least 1 second"), "{text}");
    let text = said("set domain d hostname = x");
    assert!(
        text.contains("`Hostname` is not valid in domain \"d\"") && text.contains("valid in the global scope only"),
        "{text}"
    );
    let text = said("set esmtp_listener listen nowhere idle_time = 5");
    assert!(text.contains("nowhere"), "{text}");
    assert_eq!(said("set retry_interval"), "retry_interval needs a value; an empty one is \"\"");
    assert!(said("set hostname a } binding \"b\" {").contains("is not a value"));
    assert!(said("set hostname = a b").contains("quote it"));
    assert!(transaction.is_empty(), "none of it counts");
}

#[test]
fn unset_brings_back_what_is_below() {
    let text = "retry_interval = 5 # five\nbinding \"b\" {\n  retry_interval = 7\n  Retry_Interval = 8\n}\n";
    let configuration = load(text);
    let said = change(&configuration, &["unset binding b retry_interval"]);
    assert_eq!(said, ["\"retry_interval\" has been unset. Effective value is now:\n  retry_interval = 5"]);
    assert_eq!(
        main_after(text, &["unset binding b retry_interval", "unset retry_interval"]),
        "# five\nbinding \"b\" {\n}\n"
    );
    let mut transaction = configuration.begin(false);
    assert_eq!(
        apply(&mut transaction, "unset binding b retry_interval"),
        "Option 'retry_interval' is not set in scope 'binding:b:'."
    );
}

#[test]
fn unset_takes_a_scope_with_all_its_parts_but_never_the_global_one() {
    let text = "binding \"b\" { retry_interval = 7 domain \"d\" { } }\n# between\nbinding \"c\" { }\nBinding \"b\" {\n  retry_interval = 8\n}\n";
    assert_eq!(main_after(text, &["unset binding b"]), "# between\nbinding \"c\" { }\n");
    let configuration = load(text);
    let mut transaction = configuration.begin(false);
    let refused = transaction.unset(&[]).expect_err("the global scope");
    assert_eq!(refused, "the global scope cannot be unset; name an option or a scope");
    assert_eq!(apply(&mut transaction, "unset binding nobody"), "Scope 'binding:nobody:' does not exist.");
}

#[test]
fn a_change_goes_where_it_wins_over_what_is_closed() {
    let etc = Etc::new(&[
        ("ecelerity.conf", "include \"before\"\nreadonly_include \"closed\"\ninclude \"after\"\n"),
        ("before", "binding \"b\" { }\n"),
        ("closed", "binding \"b\" { retry_interval = 5 }\nmessage_expiration = 6\n"),
        ("after", "# mine\nbinding \"b\" { }\n"),
    ]);
    let configuration = etc.load().expect("valid");
    change(
        &configuration,
        &["set binding b retry_interval 9", "set binding b message_expiration 3", "set message_expiration 4"],
    );
    let written = configuration.writeback().expect("written").files;
    assert_eq!(written, [etc.path("before"), etc.path("after")]);
    assert_eq!(etc.read("after"), "# mine\nbinding \"b\" { retry_interval = 9 }\nmessage_expiration = 4\n");
    assert_eq!(etc.read("before"), "binding \"b\" { message_expiration = 3 }\n");
    let generation = etc.load().expect("valid").current();
    assert_eq!(generation.get(&RETRY_INTERVAL, &queue("", "b", "d")).0, 9);
    assert_eq!(expiration(&generation, &Lookup::Global), 4);

    let mut transaction = configuration.begin(false);
    let told = transaction.unset(&["binding", "b"]).expect_err("part of it is closed");
    assert!(told.contains("closed:1, which is closed to changes"), "{told}");
}

#[test]
fn a_file_included_twice_is_closed() {
    let etc = Etc::new(&[
        ("ecelerity.conf", "binding \"a\" { include \"common\" }\nbinding \"b\" { include \"common\" }\n"),
        ("common", "retry_interval = 5\n"),
    ]);
    let configuration = etc.load().expect("valid");
    change(&configuration, &["set binding a retry_interval 9"]);
    configuration.writeback().expect("written");
    assert_eq!(etc.read("common"), "retry_interval = 5\n");
    assert!(etc.read("ecelerity.conf").starts_with("binding \"a\" { include \"common\" retry_interval = 9 }\n"));
    assert_eq!(etc.load().expect("valid").current().get(&RETRY_INTERVAL, &queue("", "a", "d")).0, 9);
}

#[test]
fn text_included_inside_a_scope_takes_that_scopes_options() {
    let etc = Etc::new(&[
        ("ecelerity.conf", "readonly_include \"main.d\"\n"),
        ("main.d", "ESMTP_Listener { include \"open.conf\" }\n"),
        ("open.conf", "Idle_Time = 1\n"),
    ]);
    let configuration = etc.load().expect("valid");
    change(&configuration, &["set esmtp_listener idle_time 9"]);
    assert_eq!(configuration.writeback().expect("written").files, [etc.main()], "all below readonly_include is closed");
    let text = etc.read("ecelerity.conf");
    assert_eq!(text, "readonly_include \"main.d\"\nesmtp_listener {\n  Idle_Time = 9\n}\n");
}

#[test]
fn local_changes_file_is_read_last_and_takes_what_no_file_takes() {
    let etc = Etc::new(&[
        ("ecelerity.conf", "local_changes_file = \"local.conf\"\nreadonly_include \"closed\"\n"),
        ("closed", "binding \"b\" { retry_interval = 5 }\n"),
    ]);
    let configuration = etc.load().expect("a missing local_changes_file is empty");
    change(&configuration, &["set binding b retry_interval 9", "set hostname mx.example"]);
    configuration.writeback().expect("written");
    assert_eq!(etc.read("local.conf"), "binding \"b\" {\n  retry_interval = 9\n}\n");
    assert!(etc.read("ecelerity.conf").ends_with("Hostname = mx.example\n"), "the main file takes its own scope");
    change(&configuration, &["set binding b retry_interval 10"]);
    configuration.writeback().expect("written twice");
    assert_eq!(etc.load().expect("valid").current().get(&RETRY_INTERVAL, &queue("", "b", "d")).0, 10);
}

#[test]
fn local_changes_only_leaves_every_other_file_alone() {
    let main = "local_changes_file = local.conf\nlocal_changes_only = true\nretry_interval = 5\n";
    let etc = Etc::new(&[("ecelerity.conf", main), ("local.conf", "# by console\n")]);
    let configuration = etc.load().expect("valid");
    change(&configuration, &["set retry_interval 9"]);
    assert_eq!(configuration.writeback().expect("written").files, [etc.path("local.conf")]);
    assert_eq!(etc.read("local.conf"), "# by console\nretry_interval = 9\n");
    let mut transaction = configuration.begin(false);
    let told = apply(&mut transaction, "unset retry_interval");
    assert!(told.contains("ecelerity.conf:3, which is closed to changes"), "{told}");
}

#[test]
fn a_wrong_local_changes_file_is_refused() {
    let refused = |main: &str| Etc::new(&[("ecelerity.conf", main), ("other", "")]).refusal();
    let text = refused("local_changes_file = ecelerity.conf");
    assert!(text.contains("is read already; it must be a file of its own"), "{text}");
    assert!(refused("include other local_changes_file = other").contains("is read already"));
    assert!(refused("local_changes_only = yes").contains("local_changes_only needs a local_changes_file"));
}

#[test]
fn changes_without_a_home_are_kept_and_printed() {
    let etc = Etc::new(&[("ecelerity.conf", "hostname = \"h\"\n")]);
    let mut permissions = std::fs::metadata(etc.main()).expect("a file").permissions();
    permissions.set_readonly(true);
    std::fs::set_permissions(etc.main(), permissions).expect("chmod");
    let configuration = etc.load().expect("valid");
    change(&configuration, &["set hostname = mx.example", "set binding b retry_interval 9"]);
    change(&configuration, &["set binding b retry_interval 10"]);
    let written = configuration.writeback().expect("nothing to write");
    assert!(written.files.is_empty());
    assert_eq!(written.homeless, "hostname = mx.example\nbinding \"b\" {\n  Retry_Interval = 10\n}\n");
    assert_eq!(configuration.current().get(&HOSTNAME, &Lookup::Global), "mx.example");
}

#[test]
fn writeback_refuses_what_somebody_else_changed() {
    let etc =
        Etc::new(&[("ecelerity.conf", "hostname = \"h\"\ninclude \"other\"\n"), ("other", "retry_interval = 5\n")]);
    let configuration = etc.load().expect("valid");
    change(&configuration, &["set hostname = i", "set retry_interval = 6"]);
    etc.write("other", "retry_interval = 7\n");
    let told = configuration.writeback().expect_err("changed on disk");
    assert!(told.contains("other was changed on disk since it was read; nothing was written"), "{told}");
    assert_eq!(etc.read("ecelerity.conf"), "hostname = \"h\"\ninclude \"other\"\n", "nothing at all was written");
    let whole = configuration.writeback_to("whole.conf".as_ref()).expect("another file is free");
    assert_eq!(whole.files, [etc.path("whole.conf")]);
    assert_eq!(etc.read("whole.conf"), "hostname = i\nretry_interval = 6\n", "includes stand where they were included");
}

#[test]
fn writeback_keeps_mode_and_links() {
    use std::os::unix::fs::PermissionsExt;
    let etc = Etc::new(&[("real/ecelerity.conf", "hostname = \"h\"\n")]);
    std::fs::set_permissions(etc.path("real/ecelerity.conf"), std::fs::Permissions::from_mode(0o604)).expect("chmod");
    std::os::unix::fs::symlink("real/ecelerity.conf", etc.main()).expect("a link");
    let configuration = etc.load().expect("valid");
    change(&configuration, &["set hostname = i"]);
    configuration.writeback().expect("written");
    assert!(std::fs::symlink_metadata(etc.main()).expect("a link").is_symlink());
    let mode = std::fs::metadata(etc.path("real/ecelerity.conf")).expect("a file").permissions().mode();
    assert_eq!((mode & 0o7777, etc.read("real/ecelerity.conf").as_str()), (0o604, "hostname = i\n"));
    assert_eq!(std::fs::read_dir(etc.path("real")).expect("a directory").count(), 1, "nothing is left beside it");
}

#[test]
fn a_reload_drops_what_was_not_written() {
    let etc = Etc::new(&[("ecelerity.conf", "hostname = \"h\"\n")]);
    let configuration = etc.load().expect("valid");
    change(&configuration, &["set hostname = i"]);
    assert_eq!(configuration.current().get(&HOSTNAME, &Lookup::Global), "i");
    configuration.reload(&mut |_| Ok(())).expect("valid");
    assert_eq!(configuration.current().get(&HOSTNAME, &Lookup::Global), "h");
}

#[test]
fn a_change_brings_in_nothing_that_changed_on_disk_meanwhile() {
    let etc = Etc::new(&[("ecelerity.conf", "include \"d\"\nhostname = \"h\"\n"), ("d/a", "retry_interval = 5\n")]);
    let configuration = etc.load().expect("valid");
    etc.write("d/a", "retry_interval = nonsense\n");
    etc.write("d/b", "more nonsense\n");
    change(&configuration, &["set hostname = i"]);
    assert_eq!(configuration.current().get(&RETRY_INTERVAL, &Lookup::Global).0, 5);
}

#[test]
fn whatever_is_set_the_file_reads_back_as_what_ran() {
    let configuration = Configuration::load(registry(), Etc::new(&[("x", "")]).path("missing"), Environment::default());
    assert!(configuration.is_err());
    let text = "/* a */ binding_group \"g\" { binding \"b\" { } # c\n}\tdomain d { }\r\n";
    main_after(
        text,
        &["set binding_group g retry_interval 5", "set binding_group g binding b domain '/x/' retry_interval 6"],
    );
    main_after(
        text,
        &[
            "set domain d retry_interval 5",
            "unset binding_group g binding b",
            "set binding_group g binding b retry_interval 6",
        ],
    );
}

#[test]
fn a_path_as_locate_shows_it_names_a_scope_in_every_command() {
    let text = "ESMTP_Listener {\n  Listen \":25\" { }\n}\n";
    let lines = ["set ESMTP_Listener::Listen:\\:25: open_relay on", "set ESMTP_Listener::Listen:\\:25: idle_time = 9"];
    assert_eq!(main_after(text, &lines), "ESMTP_Listener {\n  Listen \":25\" { Open_Relay = on Idle_Time = 9 }\n}\n");
}

#[test]
fn a_scope_without_its_name_is_told_to_need_one() {
    let etc = Etc::new(&[("ecelerity.conf", "binding \"b\" { }\n")]);
    let mut transaction = etc.load().expect("valid").begin(false);
    assert_eq!(transaction.unset(&["binding"]), Err("scope 'binding' needs the name of an instance".to_owned()));
}

#[test]
fn a_file_that_is_there_is_not_replaced_by_name() {
    let etc = Etc::new(&[("ecelerity.conf", "retry_interval = 5\n"), ("precious", "other people's\n")]);
    let configuration = etc.load().expect("valid");
    for refused in [
        configuration.writeback_to(&etc.path("precious")).map(|_| ()),
        configuration.writeback_to(&etc.main()).map(|_| ()),
        configuration.dump_to(&etc.path("precious")).map(|_| ()),
    ] {
        assert!(refused.expect_err("it is there").contains("not overwritten"));
    }
    assert_eq!(std::fs::read_to_string(etc.path("precious")).expect("still there"), "other people's\n");
    configuration.writeback_to(&etc.path("new")).expect("a new file is free");
}

#[test]
fn what_is_no_regular_file_is_never_replaced() {
    let etc = Etc::new(&[("ecelerity.conf", "retry_interval = 5\n")]);
    let configuration = etc.load().expect("valid");
    let _socket = std::os::unix::net::UnixListener::bind(etc.path("socket")).expect("a socket");
    let socket = std::fs::metadata(etc.path("socket")).expect("there").file_type();
    let refused = configuration.writeback_to(&etc.path("socket")).expect_err("no regular file");
    assert!(refused.ends_with("socket is there already and is not overwritten: name a new file"), "{refused}");
    assert!(configuration.dump_to(&etc.path("socket")).is_err());
    assert_eq!(std::fs::metadata(etc.path("socket")).expect("still there").file_type(), socket);
    assert!(configuration.writeback_to(etc.main().parent().expect("a directory")).is_err());
}
