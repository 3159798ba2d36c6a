//! The language to the letter: each rule of the reference that no other test speaks of, in the order of the manual.

mod common;

use common::*;
use config::{Address, Configuration, Declared, Lookup, Opt, Registry, Scope, Throttle, scopes};

const MAX_RETRIES: Opt<i64> = Opt::new("max_retries", "-1", scopes::QUEUE, "Attempts.");
const PORT: Opt<u16> = Opt::new("statsd_port", "0", scopes::GLOBAL, "A port.");
const SHARE: Opt<f64> = Opt::new("share_test", "0", scopes::GLOBAL, "A fraction.");
const NAS: Opt<String> = Opt::new("nas-ip-address", "", &[Scope::Module("auth_radius")], "A name with dashes.");
const MORE: &[&dyn Declared] = &[&MAX_RETRIES, &PORT, &SHARE, &NAS];

fn read(text: &str) -> std::sync::Arc<config::Generation> {
    let mut registry = registry();
    registry.add_all(MORE);
    let read = Configuration::of_text(registry, text);
    read.unwrap_or_else(|refused| panic!("{}", refused.render(false))).current()
}

fn hostname(text: &str) -> String {
    read(text).get(&HOSTNAME, &Lookup::Global)
}

fn global<T: config::OptionType>(text: &str, option: &Opt<T>) -> T {
    read(text).get(option, &Lookup::Global)
}

// ---- words, values, comments ----

#[test]
fn statements_need_no_separator() {
    let text = "domain \"a\" { message_expiration = 5 retry_interval = 6 } hostname = x retry_interval = 7";
    assert_eq!(expiration(&read(text), &queue("", "", "a")), 5);
    assert_eq!(hostname("hostname\n=\n\"x\"\n\nmessage_expiration\n=5"), "x");
}

#[test]
fn comments_reach_to_the_end_of_the_line_or_to_their_mark() {
    assert_eq!(hostname("hostname = a# b\n# hostname = c"), "a");
    assert_eq!(hostname("hostname = \"a # b\" /* hostname = c\n hostname = d */"), "a # b");
    assert_eq!(hostname("/* one /* not nested */ hostname = /* between */ a"), "a");
}

#[test]
fn options_and_scopes_ignore_case_and_are_shown_as_first_written() {
    let generation = read("HostName = a\nHOSTNAME = b\nDOMAIN \"d\" { Retry_Interval = 5 }\nDomain \"e\" { }");
    let shown = generation.show(&[], true).expect("shown").text;
    assert_eq!(shown, "HostName = b\nDOMAIN \"d\" {\n  Retry_Interval = 5\n}\nDOMAIN \"e\" { }");
}

#[test]
fn bare_words_hold_addresses_domains_numbers_and_blocks() {
    for word in [
        "LMTP",
        "-1",
        "10.0.0.1",
        "192.0.2.2:8162",
        "*.example.com",
        "yahoo.com",
        "127.0.0.0/8",
        "2001:db8::/32",
        "a_b-c.d",
    ] {
        assert_eq!(global(&format!("relay_domains = ( {word} )"), &RELAY_DOMAINS), [word]);
        assert_eq!(hostname(&format!("hostname = {word}")), word);
    }
}

#[test]
fn names_may_hold_dashes_and_dots() {
    let generation = read("auth_radius { NAS-IP-Address = 192.0.2.1 } snmp { odd.name = 5 }");
    assert_eq!(generation.get(&NAS, &Lookup::Module { module: "auth_radius", instance: "" }), "192.0.2.1");
    assert_eq!(generation.get_text(&["snmp", "odd.name"]).expect("kept").text, "odd.name = 5");
}

#[test]
fn escapes_are_decoded_in_double_quotes_only_and_others_are_kept() {
    assert_eq!(hostname(r#"hostname = "220-Hi\r\n\t\"\\\d\-""#), "220-Hi\r\n\t\"\\\\d\\-");
    assert_eq!(hostname(r"hostname = '220-Hi\r\n\\'"), r"220-Hi\r\n\\");
    assert_eq!(hostname("hostname = \"two\nlines\""), "two\nlines");
    assert_eq!(hostname("hostname = \"%{macro} $x\""), "%{macro} $x", "what a module expands is plain text");
    let pattern = global(r#"bounce_pattern = "^b-\d+\\\.\"@""#, &BOUNCE_PATTERN);
    assert_eq!(pattern.regex().map(regex_text), Some(r#"^b-\d+\\\."@"#.to_owned()));
}

fn regex_text(regex: &impl ToString) -> String {
    regex.to_string()
}

#[test]
fn every_value_may_be_quoted() {
    let text = "message_expiration = \"5\" open_relay = 'yes' relay_hosts = ( \"10.0.0.0/8\" ) outbound_throttle_messages = \"7\"";
    let generation = read(text);
    assert_eq!(expiration(&generation, &Lookup::Global), 5);
    assert!(generation.get(&OPEN_RELAY, &Lookup::Global));
}

// ---- types ----

#[test]
fn booleans_have_five_words_for_each_side() {
    for (words, value) in [("true yes on enabled 1 TRUE Yes", true), ("false no off disabled 0 False OFF", false)] {
        for word in words.split(' ') {
            assert_eq!(global(&format!("open_relay = {word}"), &OPEN_RELAY), value, "{word}");
        }
    }
}

#[test]
fn numbers_are_decimal_and_may_be_negative_or_have_a_fraction() {
    assert_eq!(global("max_retries = -1", &MAX_RETRIES), -1);
    assert_eq!(global("statsd_port = 65535", &PORT), 65535, "ports above 32767 too");
    assert_eq!(global("share_test = 0.25", &SHARE), 0.25);
    for (text, told) in [
        ("max_resident_active_queue = -1", "not negative, found `-1`"),
        ("max_resident_active_queue = 0x10", "found `0x10`"),
        ("retry_interval = 1.5", "expected a number of seconds, found `1.5`"),
        ("retry_interval = \"\"", "expected a number of seconds, found ``"),
        ("retry_interval = 99999999999999999999", "expected a number of seconds"),
    ] {
        let said = refusal(text);
        assert!(said.contains(told), "{said}");
    }
}

#[test]
fn permissions_are_octal_quoted_or_not() {
    for text in ["0640", "\"0640\"", "640"] {
        let generation = read(&format!("Control_Listener {{ Listen \"/tmp/x\" {{ File_Mode = {text} }} }}"));
        assert_eq!(generation.instances("listen")[0].get(&FILE_MODE).0, 0o640);
    }
}

#[test]
fn a_rate_is_a_number_a_second_or_in_so_many_seconds() {
    let rate = |text: &str| {
        let Throttle { count, per_seconds, .. } = global(&format!("outbound_throttle_messages = {text}"), &THROTTLE);
        (count, per_seconds)
    };
    assert_eq!((rate("10"), rate("\"10\""), rate("\"600/60\""), rate("0")), ((10, 1), (10, 1), (600, 60), (0, 1)));
    assert!(refusal("outbound_throttle_messages = \"5/0\"").contains("at least one second"));
}

#[test]
fn a_time_no_clock_can_count_to_is_refused() {
    assert!(read("retry_interval = 4294967295").get(&RETRY_INTERVAL, &Lookup::Global).0 == 4_294_967_295);
    assert!(refusal("retry_interval = 4294967296").contains("at most 4294967295 seconds"));
    assert!(refusal("outbound_throttle_messages = \"1/18446744073709551615\"").contains("at most 4294967295 seconds"));
}

#[test]
fn socket_addresses_take_brackets_or_the_older_dot() {
    let address =
        |text: &str| global(&format!("statsd_test = {text}"), &STATSD).map(|Address(address)| address.to_string());
    assert_eq!(address("192.0.2.2:8162"), Some("192.0.2.2:8162".to_owned()));
    assert_eq!(address("\"[2001:DB8::1]:25\""), Some("[2001:db8::1]:25".to_owned()));
    assert_eq!(address("2001:db8::1.25"), Some("[2001:db8::1]:25".to_owned()));
}

#[test]
fn lists_take_blanks_or_commas_and_may_be_empty() {
    let list = |text: &str| global(&format!("relay_domains = {text}"), &RELAY_DOMAINS).join("|");
    assert_eq!(list("( a b \"c d\" )"), "a|b|c d");
    assert_eq!(list("(\"from\", \"to\",x,y)"), "from|to|x|y");
    assert_eq!((list("()"), list("( )"), list("alone")), (String::new(), String::new(), "alone".to_owned()));
    assert!(refusal("relay_domains = ( a ( b ) )").contains("lists do not nest"));
}

#[test]
fn dictionaries_have_words_strings_domains_and_addresses_as_keys() {
    let dict = global("context = [ yahoo.net = \"yahoo.com\", 0.0.0.1 = hit \"k k\" = 'v' A = 1 a = 2 ]", &CONTEXT);
    assert_eq!(
        (dict.get("yahoo.net"), dict.get("0.0.0.1"), dict.get("K K")),
        (Some("yahoo.com"), Some("hit"), Some("v"))
    );
    assert_eq!((dict.get("a"), dict.0.len()), (Some("2"), 4), "a later key replaces an earlier one");
    assert!(global("context = []", &CONTEXT).0.is_empty());
    assert!(refusal("context = [ a = [ b = c ] ]").contains("lists do not nest"));
}

// ---- scopes and names ----

#[test]
fn a_word_can_be_both_a_scope_and_an_option() {
    let generation = read("pathway \"p\" { open_relay = yes } ESMTP_Listener { pathway = \"p\" Listen \":25\" { } }");
    assert!(generation.get(&OPEN_RELAY, &session(":25", "")));
}

#[test]
fn binding_names_keep_their_case_and_domains_do_not() {
    let generation = read("binding \"B\" { message_expiration = 5 } domain \"D.Example\" { message_expiration = 6 }");
    assert_eq!(expiration(&generation, &queue("", "B", "x")), 5);
    assert_eq!(expiration(&generation, &queue("", "b", "d.eXAMPLE.")), 6);
}

#[test]
fn the_default_binding_and_group_need_not_be_written() {
    let generation = read("message_expiration = 1");
    assert_eq!(expiration(&generation, &queue("default", "default", "d")), 1);
    let generation =
        read("binding_group \"default\" { message_expiration = 2 } binding \"default\" { retry_interval = 3 }");
    assert_eq!(expiration(&generation, &queue("", "default", "d")), 2);
    assert_eq!(generation.get(&RETRY_INTERVAL, &queue("", "default", "d")).0, 3);
}

#[test]
fn hosts_may_be_patterns_and_the_exact_one_comes_first() {
    let text = r#"host "/^mx\d+\.big\.example$/" { max_outbound_connections = 2 outbound_throttle_messages = "3" }
                  host "mx1.big.example" { max_outbound_connections = 9 }"#;
    let generation = read(text);
    let host = |host| Lookup::Host { binding_group: "", binding: "b", domain: "d", host };
    assert_eq!(generation.find(&MAX_CONNECTIONS, &host("MX7.big.example")), Some(2));
    assert_eq!(generation.find(&MAX_CONNECTIONS, &host("mx1.big.example")), Some(9));
    let [one, two] = ["mx7.big.example", "mx8.big.example"].map(|name| generation.get(&THROTTLE, &host(name)).scope_id);
    assert_eq!(one, two, "a pattern is one instance, so all names it matches draw from one bucket");
}

#[test]
fn an_unanchored_pattern_matches_inside_and_equal_patterns_merge() {
    let text = "domain \"/example/\" { message_expiration = 5 } domain \"/example/\" { retry_interval = 6 }";
    let generation = read(text);
    assert_eq!(expiration(&generation, &queue("", "", "an.example.test")), 5);
    assert_eq!(generation.get(&RETRY_INTERVAL, &queue("", "", "an.example.test")).0, 6);
    assert_eq!(generation.instances("domain").len(), 1);
    assert_eq!(read("domain \"/\" { }").instances("domain").len(), 1, "one slash is a name");
}

#[test]
fn spellings_of_an_address_are_one_instance() {
    let text = r#"
        domain "[IPv6:2001:db8:0::5]" { message_expiration = 5 }
        domain "2001:DB8::5" { retry_interval = 6 }
        domain "192.0.2.10" { message_expiration = 7 }
        ESMTP_Listener {
          Listen "[2001:db8:0:0::25]:25" { Idle_Time = 8 }
          Listen "[2001:DB8::25]:25" { }
          Peer "2001:db8:0::/48" { open_relay = yes }
          Peer "2001:DB8::/48" { max_recipients_per_message = 9 }
        }"#;
    let generation = read(text);
    assert_eq!((generation.instances("domain").len(), generation.instances("listen").len()), (2, 1));
    assert_eq!(generation.instances("peer").len(), 1);
    for name in ["2001:db8::5", "[2001:db8::5]", "[IPv6:2001:0DB8::0005]"] {
        let lookup = queue("", "", name);
        assert_eq!((expiration(&generation, &lookup), generation.get(&RETRY_INTERVAL, &lookup).0), (5, 6), "{name}");
    }
    assert_eq!(expiration(&generation, &queue("", "", "[192.0.2.10]")), 7);
    let inbound = session("2001:db8::25.25", "2001:db8::77");
    assert!(generation.get(&OPEN_RELAY, &inbound));
    assert_eq!((generation.get(&IDLE_TIME, &inbound).0, generation.get(&MAX_RECIPIENTS, &inbound)), (8, 9));
}

#[test]
fn peers_are_hosts_or_blocks_and_the_longest_that_sets_the_option_answers() {
    let text = r#"ESMTP_Listener { Listen ":25" { }
        Peer "0.0.0.0/0" { Idle_Time = 1 max_recipients_per_message = 1 }
        Peer "192.0.2.0/24" { Idle_Time = 2 max_recipients_per_message = 2 }
        Peer "192.0.2.128/25" { Idle_Time = 3 }
        Peer "192.0.2.200" { open_relay = yes }
        Peer "::/0" { Idle_Time = 6 } }"#;
    let generation = read(text);
    let idle = |peer| generation.get(&IDLE_TIME, &session(":25", peer)).0;
    assert_eq!((idle("198.51.100.1"), idle("192.0.2.1"), idle("192.0.2.200"), idle("2001:db8::1")), (1, 2, 3, 6));
    assert_eq!(idle("::ffff:192.0.2.1"), 2, "an IPv4 peer of a dual-stack socket");
    assert_eq!(generation.get(&MAX_RECIPIENTS, &session(":25", "192.0.2.200")), 2);
}

#[test]
fn stanzas_stand_only_where_the_nesting_table_says() {
    for (text, told) in [
        ("ESMTP_Listener { domain \"d\" { } }", "`domain` cannot stand in esmtp_listener"),
        ("binding \"b\" { binding \"c\" { } }", "`binding` cannot stand in binding \"b\""),
        ("binding_group \"g\" { binding_group \"h\" { } }", "`binding_group` cannot stand in binding_group \"g\""),
        ("Peer \"10.0.0.1\" { }", "`Peer` cannot stand in the global scope"),
        ("pathway \"p\" { pathway_group \"g\" { } }", "`pathway_group` cannot stand in pathway \"p\""),
        ("domain \"d\" { host \"h\" { } }", "`host` cannot stand in domain \"d\""),
        ("binding_group \"g\" { ESMTP_Listener { } }", "`ESMTP_Listener` cannot stand in binding_group \"g\""),
    ] {
        let said = refusal(text);
        assert!(said.contains(told), "{text}\n{said}");
    }
}

#[test]
fn modules_may_be_named_or_not() {
    let text = "mxip { enabled = no } httpsrv { } auth_ds { enabled = no scheme \"x\" { querygroups { } } } alerting \"a\" { cidrdb \"c\" { } }";
    assert_eq!(read(text).instances("mxip")[0].name(), "");
}

// ---- repetition, order, fallback ----

#[test]
fn the_last_setting_wins_whole_lists_included() {
    let text = "relay_domains = ( a b ) relay_domains = ( c ) context = [ a = 1 ] context = [ b = 2 ] hostname = x hostname = y";
    let generation = read(text);
    assert_eq!(generation.get(&RELAY_DOMAINS, &Lookup::Global), ["c"]);
    assert_eq!(generation.get(&CONTEXT, &Lookup::Global).0, [("b".to_owned(), "2".to_owned())]);
    assert_eq!(generation.get(&HOSTNAME, &Lookup::Global), "y");
}

#[test]
fn stanzas_keep_the_order_of_the_text_across_includes() {
    let etc = Etc::new(&[
        (
            "ecelerity.conf",
            "ec_logger \"a\" { }\ninclude \"d\"\nec_logger \"d\" { }\nec_logger \"b\" { mainlog = \"/b\" }",
        ),
        ("d/1", "ec_logger \"b\" { }"),
        ("d/2", "include \"../more\" ec_logger \"e\" { }"),
        ("more", "ec_logger \"c\" { }"),
    ]);
    let generation = etc.load().expect("valid").current();
    let names: Vec<_> = generation.instances("ec_logger").iter().map(|module| module.name()).collect();
    assert_eq!(names, ["a", "b", "c", "e", "d"], "a module stands where it is first named");
}

#[test]
fn unset_is_not_zero_and_get_looks_in_one_scope_only() {
    let generation = read("message_expiration = 5 domain \"d\" { retry_interval = 1 max_resident_active_queue = 0 }");
    assert_eq!(generation.get(&MAX_RESIDENT, &queue("", "", "d")), 0);
    let get = |words: &[&str]| generation.get_text(words).expect("answered").text;
    assert_eq!(
        get(&["domain", "d", "message_expiration"]),
        "Option 'message_expiration' is not set in scope 'domain:d:'."
    );
    let eval = |words: &[&str]| generation.eval_text(words).expect("answered").text;
    assert_eq!(eval(&["domain", "d", "message_expiration"]), "message_expiration = 5");
    assert_eq!(eval(&["domain", "nowhere.example", "message_expiration"]), "message_expiration = 5", "no such scope");
}

#[test]
fn a_bindings_group_is_where_its_stanza_stands() {
    let text = "binding_group \"g\" { message_expiration = 5 binding \"b\" { } } binding_group \"h\" { message_expiration = 6 }";
    let generation = read(text);
    assert_eq!((generation.group_of("b"), expiration(&generation, &queue("", "b", "d"))), ("g".to_owned(), 5));
}

#[test]
fn a_child_without_a_throttle_draws_from_the_bucket_it_inherits() {
    let text =
        "outbound_throttle_messages = \"10\" domain \"a\" { } domain \"b\" { outbound_throttle_messages = \"10\" }";
    let generation = read(text);
    let bucket = |domain| generation.get(&THROTTLE, &queue("", "", domain)).scope_id;
    assert_eq!(bucket("a"), bucket("c"));
    assert_ne!(bucket("a"), bucket("b"), "the same number again is a bucket of its own");
}

#[test]
fn a_path_of_the_console_escapes_colons() {
    let generation = read("ESMTP_Listener { Listen \":25\" { Concurrency = 3 } }");
    let path = generation.scope_path(&["Esmtp_Listener", "Listen", ":25"]).expect("a path").to_string();
    assert_eq!(path, r"Esmtp_Listener::Listen:\:25:");
    assert_eq!(generation.get_text(&[&path, "concurrency"]).expect("set").text, "Concurrency = 3");
}

#[test]
fn a_text_that_says_nothing_is_a_configuration() {
    let registry: Registry = registry();
    assert!(Configuration::of_text(registry, "\u{feff}\r\n # nothing\n").is_ok());
}

#[test]
fn a_part_of_a_value_that_has_no_effect_is_told() {
    const WORDS: config::Opt<Vec<String>> =
        config::Opt::new("words_for_tests", "()", config::scopes::GLOBAL, "For this test.").idle(|words| {
            let idle = |told: &str| config::Idle { class: config::Class::Harmless, told: told.to_owned() };
            words.contains(&"b".to_owned()).then(|| idle("`b` does nothing yet"))
        });
    const OPTIONS: &[&dyn config::Declared] = &[&WORDS];
    let warnings = |text: &str| {
        let mut registry = config::Registry::new();
        registry.add_all(OPTIONS);
        let configuration = config::Configuration::of_text(registry, text).expect("valid");
        configuration.current().warnings().iter().map(|one| one.message.clone()).collect::<Vec<_>>()
    };
    assert_eq!(warnings("words_for_tests = ( a )\n"), [""; 0]);
    assert_eq!(warnings("words_for_tests = ( a b )\n"), ["words_for_tests: `b` does nothing yet"]);
    assert_eq!(warnings("if_env \"NEVER_SET_BY_ANYBODY\" { words_for_tests = ( b ) }\n"), [""; 0]);
}
