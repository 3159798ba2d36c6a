//! Values from the environment and from secret files: where they may stand, what they mean, who gets to see them.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use common::*;
use config::{Configuration, Lookup};

fn load_in(variables: &[(&str, &str)], text: &str) -> Configuration {
    let etc = Etc::new(&[("ecelerity.conf", text)]);
    etc.load_with(variables).unwrap_or_else(|refused| panic!("refused:\n{}", refused.render(false)))
}

fn refusal_in(variables: &[(&str, &str)], text: &str) -> String {
    let etc = Etc::new(&[("ecelerity.conf", text)]);
    etc.tidy(&etc.load_with(variables).expect_err("the configuration should be refused"))
}

fn hostname(configuration: &Configuration) -> String {
    configuration.current().get(&HOSTNAME, &Lookup::Global)
}

#[test]
fn a_variable_stands_wherever_a_scalar_stands() {
    let variables = [
        ("NODE", "mx 1"),
        ("SECONDS", "60"),
        ("NET", "10.0.0.0/8"),
        ("CHANNEL", "bulk"),
        ("PORT", "2525"),
        ("DOMAIN", "A.example"),
        ("SITE", "site"),
    ];
    let text = r#"
        hostname = ${NODE}
        relay_hosts = ( "127.0.0.1" ${NET}, $"192.0.2.${OCTET:-7}" )
        domain ${DOMAIN} { message_expiration = ${SECONDS} }
        domain $"/\.${DOMAIN}$/" { message_expiration = 61 }
        ESMTP_Listener { Listen $":${PORT}" { Context = [ channel = ${CHANNEL} ] } }
        include $"${SITE}.conf"
    "#;
    let etc = Etc::new(&[("ecelerity.conf", text), ("site.conf", "retry_interval = ${SECONDS}")]);
    let configuration = etc.load_with(&variables).unwrap_or_else(|refused| panic!("{}", refused.render(false)));
    let generation = configuration.current();
    assert_eq!(hostname(&configuration), "mx 1");
    let nets = generation.get(&RELAY_HOSTS, &session(":2525", ""));
    assert!(["127.0.0.1", "10.1.1.1", "192.0.2.7"].iter().all(|ip| nets.contains(ip.parse().expect("an address"))));
    assert_eq!(expiration(&generation, &queue("", "", "a.example")), 60);
    assert_eq!(
        expiration(&generation, &queue("", "", "mx.a.example")),
        61,
        "the dot of the pattern keeps its backslash"
    );
    assert_eq!(generation.get(&CONTEXT, &session("*:2525", "")).get("channel"), Some("bulk"));
    assert_eq!(generation.get(&RETRY_INTERVAL, &Lookup::Global).0, 60);
}

#[test]
fn a_default_takes_the_place_of_a_variable_that_is_unset_or_empty() {
    let text = |value: &str| format!("hostname = {value}");
    for (variables, value, expected) in [
        (&[][..], "${H:-mx.example}", "mx.example"),
        (&[("H", "")], "${H:-mx.example}", "mx.example"),
        (&[("H", "set")], "${H:-mx.example}", "set"),
        (&[("H", "")], "${H}", ""),
        (&[], "${H:-}", ""),
        (&[], "${H:-two words, # ( \" '}", "two words, # ( \" '"),
        (&[], r#"$"${H:-a\tb}\t\${H}\$\d""#, "a\tb\t${H}$\\d"),
        (&[("H", "${X} \\t\"")], r#"$"<${H}>""#, "<${X} \\t\">"),
    ] {
        assert_eq!(hostname(&load_in(variables, &text(value))), expected, "{value}");
    }
}

#[test]
fn ordinary_strings_are_never_interpolated() {
    let configuration = load_in(&[("H", "x")], "hostname = '${H}' relay_domains = ( \"${H}\" $H a$ )");
    assert_eq!(hostname(&configuration), "${H}");
    assert_eq!(configuration.current().get(&RELAY_DOMAINS, &session("", "")), ["${H}", "$H", "a$"]);
    let said = configuration.current().warnings().render(false);
    assert!(said.contains("`${H` stands in plain quotes and is taken literally"), "{said}");
    assert!(said.contains("write $\"${H}\"; if it is meant so, use single quotes"), "{said}");
    assert_eq!(said.matches("stands in plain quotes").count(), 1, "single quotes mean it: {said}");
}

#[test]
fn a_variable_of_several_words_becomes_elements() {
    let text = "relay_hosts = ( \"127.0.0.1\" ${NETS...} 192.0.2.1 ) relay_domains = ( ${DOMAINS...:-a b} )";
    let configuration = load_in(&[("NETS", " 10.0.0.0/8,192.168.0.0/16\n\t::1 ,")], text);
    let generation = configuration.current();
    assert_eq!(generation.get(&RELAY_HOSTS, &session("", "")).nets().len(), 5);
    assert_eq!(generation.get(&RELAY_DOMAINS, &session("", "")), ["a", "b"]);
    let none = load_in(&[("NETS", "")], "relay_hosts = ( ${NETS...} )");
    assert!(none.current().get(&RELAY_HOSTS, &session("", "")).is_empty(), "no word, no element");
    let shown = generation.show(&[], true).expect("the whole configuration");
    assert!(shown.text.contains("relay_hosts = ( \"127.0.0.1\" ${NETS...} 192.0.2.1 )"), "{}", shown.text);
    assert_eq!(shown.json["options"]["relay_hosts"].as_array().map(Vec::len), Some(5));
    let refused = refusal_in(&[("NETS", "10.0.0.0/8 10.0.0.0/33")], text);
    assert!(refused.contains("`10.0.0.0/33` is not a CIDR block"), "{refused}");
    assert!(refused.contains("${NETS...} stands for \"10.0.0.0/33\""), "{refused}");
    assert!(refusal_in(&[], "hostname = ${A...}").contains("write ( ${A...} ), or ${A} for one value"));
    let unset = refusal_in(&[], "relay_hosts = ( ${NETS...} )");
    assert!(unset.contains("give a default: ${NETS...:-a b}, or ${NETS...:-} for no elements"), "{unset}");
    let none = load_in(&[], "relay_hosts = ( ${NETS...:-} )");
    assert!(none.current().get(&RELAY_HOSTS, &session("", "")).is_empty(), "as the help says");
}

#[test]
fn a_variable_that_is_not_set_is_named_with_its_place_and_the_remedies() {
    assert_eq!(
        refusal_in(&[], "retry_interval = 5\nhostname = ${MAIL_NAME}\n"),
        "Error: the variable `MAIL_NAME` is not set\n   ,-[ ecelerity.conf:2:12 ]\n   |\n 2 | hostname = ${MAIL_NAME}\n   |            ^^^^^^|^^^^^\n   |                  `------- here\n   |\n   | Help: set MAIL_NAME in the environment of the daemon, or give a default: ${MAIL_NAME:-value}\n---'\n"
    );
    let inside = refusal_in(&[("A", "x")], "hostname = $\"${A}.${B}\"");
    assert!(inside.contains("ecelerity.conf:1:19") && inside.contains("`B` is not set"), "{inside}");
}

#[test]
fn a_wrong_value_shows_what_is_written_and_what_it_stands_for() {
    let refused =
        refusal_in(&[("EVERY", "soon")], "retry_interval = ${EVERY}\ndomain \"a\" { retry_interval = $\"1${EVERY}\" }");
    assert!(refused.contains("retry_interval: expected a number of seconds, found `soon`"), "{refused}");
    assert!(refused.contains("${EVERY} stands for soon"), "{refused}");
    assert!(refused.contains("$\"1${EVERY}\" stands for 1soon"), "{refused}");
    let refused = refusal_in(&[("LISTEN", "25")], "ESMTP_Listener { Listen ${LISTEN} { } }");
    assert!(refused.contains("`25` lacks a port") && refused.contains("${LISTEN} stands for 25"), "{refused}");
}

#[test]
fn mistakes_in_a_reference_say_what_to_write() {
    for (text, help) in [
        ("hostname = ${A", "end it with } on the same line"),
        ("hostname = ${A\ngateway = ${A}", "end it with } on the same line"),
        ("hostname = ${A}.example", "write $\"${A}.example\""),
        ("hostname = mx.${A}.example", "write $\"mx.${A}.example\""),
        ("hostname = $\"${A\"", "end it with }; for the characters themselves write \\${"),
        ("hostname = $\"${A}\nretry_interval = 5", "put the closing \" at its end: $\"${A}\""),
        ("hostname = ${A:?wrong}", "write ${A}, or ${A:-default} with a default"),
        ("hostname = ${A:-\"b\"}", "write ${A:-b}; it reaches to the brace"),
        ("hostname = $\"${A:-${B}}\"", "end the first one with }"),
        ("relay_domains = ( $\"${A...}\" )", "write ${A} here, or ( ${A...} ) without quotes"),
        ("hostname = ${}", "a name has letters, digits and _"),
    ] {
        let said = refusal_in(&[("A", "x")], text);
        assert!(said.contains(help), "{text}\n{said}");
        assert_eq!(said.matches("Error:").count(), 1, "{text}\n{said}");
    }
}

#[test]
fn commands_show_what_is_written_and_evaluate_what_it_stands_for() {
    let text = "hostname = $\"mx.${DOMAIN}\"\ndomain ${DOMAIN} { retry_interval = ${EVERY:-60} }";
    let configuration = load_in(&[("DOMAIN", "a.example")], text);
    let generation = configuration.current();
    assert_eq!(generation.get_text(&["hostname"]).expect("set").text, "hostname = $\"mx.${DOMAIN}\"");
    assert_eq!(generation.eval_text(&["hostname"]).expect("set").text, "hostname = mx.a.example");
    assert_eq!(generation.eval_text(&["domain", "a.example", "retry_interval"]).expect("set").json["value"], 60);
    let shown = generation.show(&[], true).expect("the whole configuration").text;
    assert_eq!(shown, "hostname = $\"mx.${DOMAIN}\"\ndomain ${DOMAIN} {\n  retry_interval = ${EVERY:-60}\n}");
}

/// A directory with a secret of this mode.
fn with_secret(text: &str, secret: &[u8], mode: u32) -> Etc {
    let etc = Etc::new(&[("ecelerity.conf", text)]);
    fs::write(etc.path("key"), secret).expect("write a secret");
    fs::set_permissions(etc.path("key"), fs::Permissions::from_mode(mode)).expect("chmod");
    etc
}

#[test]
fn a_secret_is_the_content_of_a_file_and_is_never_shown() {
    let text = "hostname = ${file:key} gateway = $\"u:${file:key}@h\"";
    let etc = with_secret(text, b"s3cr\\tt\n", 0o640);
    let configuration = etc.load().unwrap_or_else(|refused| panic!("{}", refused.render(false)));
    assert_eq!(hostname(&configuration), "s3cr\\tt", "the final newline is not part of it, nor are escapes decoded");
    let generation = configuration.current();
    assert_eq!(generation.get(&GATEWAY, &queue("", "", "d")), "u:s3cr\\tt@h");
    let shown = generation.show(&[], true).expect("the whole configuration");
    assert_eq!(shown.text, "hostname = ${file:key}\ngateway = $\"u:${file:key}@h\"");
    let told = [
        shown.json.to_string(),
        generation.get_text(&["hostname"]).expect("set").json.to_string(),
        generation.eval_text(&["hostname"]).expect("set").text,
        generation.eval_text(&["gateway"]).expect("set").json.to_string(),
        generation.why_text(&["gateway"]).expect("set").text,
        format!("{:?}", generation.eval_why("hostname", &Lookup::Global)),
    ];
    for text in told {
        assert!(!text.contains("s3cr") && text.contains("<redacted>"), "{text}");
    }
}

#[test]
fn a_secret_of_the_wrong_type_is_not_told_either() {
    let etc = with_secret("retry_interval = ${file:key}\nrelay_hosts = ( $\"${file:key}/8\" )", b"hunter2", 0o600);
    let said = etc.refusal();
    assert!(said.contains("retry_interval: the content of the secret is not a number of seconds"), "{said}");
    assert!(said.contains("correct the file that ${file:key} names"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
    assert!(!etc.load().expect_err("refused").to_json().to_string().contains("hunter2"));
}

#[test]
fn a_secret_that_is_none_is_refused_with_the_command_to_run() {
    let said = |secret: &[u8], mode: u32| with_secret("hostname = ${file:key}", secret, mode).refusal();
    let open = said(b"x", 0o644);
    assert!(open.contains("cannot use the secret key: everyone on this machine may use it (mode 0644)"), "{open}");
    assert!(open.contains("run: chmod o-rwx key"), "{open}");
    assert!(said(b"x", 0o602).contains("mode 0602"));
    assert!(said(b"\xff\xfe", 0o600).contains("it is not UTF-8"));
    assert!(said(&[b'x'; (64 << 10) + 1], 0o600).contains("it is larger than 64 KiB"));
    assert!(refusal("hostname = ${file:key}").contains("there is no such file"));
    assert!(refusal("hostname = ${file:/dev/null}").contains("it is not a regular file"));
    assert!(refusal("hostname = ${file:/}").contains("it is not a regular file"));
    assert!(refusal("binding ${file:key} { }").contains("cannot be a secret"));
    assert!(refusal("include ${file:key}").contains("cannot be a secret"));
}

#[test]
fn a_relative_secret_is_looked_for_beside_its_file() {
    let etc = Etc::new(&[("ecelerity.conf", "include \"sub/a.conf\""), ("sub/a.conf", "hostname = ${file:key}")]);
    etc.write("sub/key", "below\r\n");
    fs::set_permissions(etc.path("sub/key"), fs::Permissions::from_mode(0o400)).expect("chmod");
    assert_eq!(hostname(&etc.load().expect("valid")), "below");
}

#[test]
fn what_the_references_stand_for_is_bounded() {
    let large = "x".repeat(100_000);
    let said = refusal_in(&[("LARGE", &large)], &format!("relay_domains = ( {})", "${LARGE} ".repeat(200)));
    assert!(said.contains("the references of this configuration stand for more than 16 MiB"), "{said}");
}

#[test]
fn nothing_of_a_value_is_in_a_debug_text() {
    let configuration = load_in(&[("A", "hunter2")], "hostname = ${A}");
    assert!(!format!("{configuration:?} {:?}", config::Variables::of([("A", "hunter2")])).contains("hunter2"));
    assert_eq!(format!("{:?}", config::Variables::of_process()), "Variables(of the process)");
}

#[test]
fn a_change_from_the_console_is_kept_as_it_was_written() {
    let etc = Etc::new(&[("ecelerity.conf", "if_env \"NODE\" { binding \"b\" { retry_interval = 5 } }\n")]);
    let configuration = etc.load_with(&[("NODE", "7")]).expect("valid");
    change(&configuration, &["set hostname = $\"mx${NODE}\"", "set binding b retry_interval ${NODE}"]);
    assert_eq!(hostname(&configuration), "mx7");
    assert_eq!(configuration.current().get(&RETRY_INTERVAL, &queue("", "b", "d")).0, 7);
    configuration.writeback().expect("written");
    let written = etc.read("ecelerity.conf");
    assert!(written.contains("{ retry_interval = ${NODE} }"), "changed inside the stanza that holds: {written}");
    assert!(written.contains("= $\"mx${NODE}\""), "{written}");
}

#[test]
fn a_secret_that_changed_is_a_difference_without_its_content() {
    let etc = with_secret("hostname = ${file:key}", b"hunter2", 0o600);
    let old = etc.load().expect("valid").current();
    assert!(config::differences(&old, &etc.load().expect("valid").current()).is_empty());
    etc.write("key", "hunter3");
    let all = config::differences(&old, &etc.load().expect("valid").current());
    let text = config::differences_text(&all);
    assert!(all.len() == 1 && text.contains("<redacted>") && !text.contains("hunter"), "{text}");
}
