//! Which scope answers: the documented chains, per option, exact before pattern.

mod common;

use common::*;
use config::{Lookup, Throttle};

const WORKED_EXAMPLE: &str = r#"
message_expiration = 86400                      # global
domain "a.example" { message_expiration = 120 }
binding "b1" { message_expiration = 3600 }
binding "b2" {
  domain "a.example" { max_resident_active_queue = 500 }
  domain "b.example" { message_expiration = 7200 }
}
binding_group "g" {
  message_expiration = 50
  binding "b3" { domain "a.example" { } }
  binding "b4" { message_expiration = 15  domain "a.example" { } }
}
"#;

#[test]
fn the_worked_example_of_the_reference() {
    let generation = load(WORKED_EXAMPLE).current();
    let rows = [
        ("b1", "a.example", 3600),
        ("b2", "a.example", 120),
        ("b2", "b.example", 7200),
        ("b2", "c.example", 86400),
        ("b3", "a.example", 50),
        ("b4", "a.example", 15),
        ("default", "a.example", 120),
    ];
    for (binding, domain, seconds) in rows {
        let group = generation.group_of(binding);
        assert_eq!(expiration(&generation, &queue(&group, binding, domain)), seconds, "{binding}, {domain}");
        assert_eq!(
            expiration(&generation, &queue("", binding, domain)),
            seconds,
            "{binding}, {domain}, group left to us"
        );
    }
    assert_eq!(generation.get(&MAX_RESIDENT, &queue("", "b2", "A.Example.")), 500, "domains are compared without case");
}

#[test]
fn every_step_of_the_queue_chain_beats_the_next() {
    // Each stanza alone, from the least specific up, takes the lookup over.
    let steps = [
        ("message_expiration = 1", 1),
        ("domain \"d\" { message_expiration = 2 }", 2),
        ("binding_group \"g\" { message_expiration = 3 }", 3),
        ("binding \"b\" { message_expiration = 4 }", 4),
        ("binding_group \"g\" { binding \"b\" { message_expiration = 5 } }", 5),
        ("binding_group \"g\" { domain \"d\" { message_expiration = 6 } }", 6),
        ("binding \"b\" { domain \"d\" { message_expiration = 7 } }", 7),
        ("binding_group \"g\" { binding \"b\" { domain \"d\" { message_expiration = 8 } } }", 8),
    ];
    for count in 1..=steps.len() {
        let text: Vec<_> = steps[..count].iter().map(|(text, _)| *text).collect();
        let generation = load(&text.join("\n")).current();
        assert_eq!(expiration(&generation, &queue("g", "b", "d")), steps[count - 1].1);
    }
}

#[test]
fn exact_beats_pattern_per_option_and_patterns_answer_in_file_order() {
    let generation = load(
        r#"
        domain "a.example" { message_expiration = 1 }
        domain "/(^|\.)a\.example$/" { message_expiration = 2  max_resident_active_queue = 3 }
        domain "/example/" { message_expiration = 9  max_resident_active_queue = 9  retry_interval = 9 }
        "#,
    )
    .current();
    assert_eq!(expiration(&generation, &queue("", "", "a.example")), 1);
    assert_eq!(generation.get(&MAX_RESIDENT, &queue("", "", "a.example")), 3);
    assert_eq!(expiration(&generation, &queue("", "", "M.A.EXAMPLE")), 2);
    assert_eq!(generation.get(&MAX_RESIDENT, &queue("", "", "m.a.example")), 3);
    assert_eq!(generation.get(&RETRY_INTERVAL, &queue("", "", "m.a.example")).0, 9);
    assert_eq!(expiration(&generation, &queue("", "", "b.test")), 259_200);
}

#[test]
fn many_patterns_answer_in_file_order_too() {
    let stanzas: Vec<_> =
        (0..200).map(|n| format!("domain \"/^d{n}\\./\" {{ message_expiration = {} }}", n + 1)).collect();
    let generation = load(&format!("{}\ndomain \"/^d/\" {{ message_expiration = 999 }}", stanzas.join("\n"))).current();
    assert_eq!(expiration(&generation, &queue("", "", "d17.example")), 18);
    assert_eq!(expiration(&generation, &queue("", "", "dx.example")), 999);
}

#[test]
fn domain_options_look_at_no_binding() {
    let generation = load("routes = ( \"a\" ) domain \"d\" { routes = ( \"b\" ) }").current();
    assert_eq!(generation.get(&ROUTES, &queue("g", "b", "d")), ["b"]);
    assert_eq!(generation.get(&ROUTES, &queue("g", "b", "e")), ["a"]);
    assert!(
        refusal("binding \"b\" { domain \"d\" { routes = ( \"b\" ) } }")
            .contains("option `routes` is not valid in domain \"d\"")
    );
}

#[test]
fn a_binding_outside_every_group_belongs_to_group_default() {
    let generation = load("binding_group \"default\" { message_expiration = 5 } binding \"b\" { }").current();
    assert_eq!(generation.group_of("b"), "default");
    assert_eq!(expiration(&generation, &queue("", "b", "d")), 5);
}

#[test]
fn host_limits_do_not_fall_back_to_domains_unless_the_option_says_so() {
    let text = r#"
        max_outbound_connections = 7
        cluster_max_outbound_connections = 8
        outbound_throttle_messages = "100"
        binding "b" { host "mx.example" { max_outbound_connections = 3 } }
        binding_group "g" { host "mx.example" { max_outbound_connections = 4 } }
        host "mx.example" { max_outbound_connections = 5 }
    "#;
    let generation = load(text).current();
    let host = |group, binding, host| Lookup::Host { binding_group: group, binding, domain: "d", host };
    assert_eq!(
        generation.find(&MAX_CONNECTIONS, &host("g", "b", "mx.example")),
        Some(4),
        "BG:Host stands before B:Host"
    );
    assert_eq!(generation.find(&MAX_CONNECTIONS, &host("", "b", "MX.example")), Some(3));
    assert_eq!(generation.find(&MAX_CONNECTIONS, &host("", "c", "mx.example")), Some(5));
    assert_eq!(generation.find(&MAX_CONNECTIONS, &host("", "b", "other.example")), None);
    assert_eq!(generation.find(&THROTTLE, &host("", "b", "mx.example")), None, "no host throttle");
    assert_eq!(generation.find(&CLUSTER_MAX, &host("", "b", "mx.example")), Some(8));
}

#[test]
fn a_throttle_knows_the_scope_whose_bucket_it_draws_from() {
    let text = r#"
        binding_group "g" {
          outbound_throttle_messages = "600/60"
          binding "b1" { }
          binding "b2" { outbound_throttle_messages = "10" }
        }
    "#;
    let generation = load(text).current();
    let throttle = |binding, domain| generation.get(&THROTTLE, &queue("g", binding, domain));
    let shared = throttle("b1", "d");
    assert_eq!((shared.count, shared.per_seconds), (600, 60));
    assert_eq!(shared, throttle("b3", "e"), "all members draw from the group's bucket");
    assert_ne!(shared.scope_id, throttle("b2", "d").scope_id);
    assert!(generation.get(&THROTTLE, &queue("", "other", "d")).is_unlimited());
    let again: Throttle = load(text).current().get(&THROTTLE, &queue("g", "b1", "d"));
    assert_eq!(shared, again, "a reload keeps the bucket");
}

#[test]
fn listener_options_walk_peer_listen_listener_pathway_global() {
    let generation = load(
        r#"
        open_relay = false
        max_recipients_per_message = 1
        pathway_group "pg" { max_recipients_per_message = 2  open_relay = true  pathway "inner" { } }
        pathway "outer" { max_recipients_per_message = 3 }
        ESMTP_Listener {
          Idle_Time = 10
          Peer "198.51.100.0/24" { Idle_Time = 20 }
          Peer "198.51.100.128/25" { Idle_Time = 30 }
          Listen ":25" { pathway = "outer" }
          Listen ":587" {
            Idle_Time = 40
            pathway = "inner"
            Peer "198.51.100.0/24" { Idle_Time = 50 }
            Peer "192.0.2.7" { pathway = "outer" }
          }
        }
        "#,
    )
    .current();
    let idle = |listen, peer| generation.get(&IDLE_TIME, &session(listen, peer)).0;
    assert_eq!(idle(":25", "203.0.113.1"), 10);
    assert_eq!(idle("*:25", "198.51.100.1"), 20);
    assert_eq!(idle("0.0.0.0:25", "198.51.100.200"), 30, "the longest prefix");
    assert_eq!(idle(":587", "203.0.113.1"), 40);
    assert_eq!(idle(":587", "198.51.100.200"), 50, "the nested peer beats the outer one");
    let recipients = |listen, peer| generation.get(&MAX_RECIPIENTS, &session(listen, peer));
    assert_eq!(recipients(":25", "203.0.113.1"), 3, "pathway before global");
    assert_eq!(recipients(":587", "203.0.113.1"), 2, "the pathway's own group");
    assert_eq!(recipients(":587", "192.0.2.7"), 3, "a peer chooses another pathway");
    assert_eq!(recipients(":2525", "192.0.2.7"), 1);
    assert!(generation.get(&OPEN_RELAY, &Lookup::Pathway { pathway: "inner" }));
}

#[test]
fn a_child_array_replaces_the_parents() {
    let generation = load(
        r#"relay_hosts = ( "10.0.0.0/8" ) ESMTP_Listener { Listen ":25" { relay_hosts = ( 192.0.2.0/24, "2001:db8::/32" ) } }"#,
    )
    .current();
    let nets = generation.get(&RELAY_HOSTS, &session(":25", "192.0.2.1"));
    let has = |ip: &str| nets.contains(ip.parse().expect("an address"));
    assert!(has("192.0.2.9") && has("2001:db8::1") && has("::ffff:192.0.2.9"));
    assert!(!has("10.1.1.1"));
}

#[test]
fn modules_and_pools_never_fall_back_to_global() {
    let generation = load(
        r#"ThreadPool "accept" { Concurrency = 2 } ESMTP_Listener { Listen ":25" { Concurrency = 3 } }
           ec_logger "l1" { mainlog = "/var/log/a" }"#,
    )
    .current();
    assert_eq!(generation.get(&POOL_CONCURRENCY, &Lookup::Stanza { word: "ThreadPool", name: "accept" }), 2);
    assert_eq!(generation.get(&POOL_CONCURRENCY, &Lookup::Stanza { word: "threadpool", name: "other" }), 1);
    assert_eq!(generation.get(&LISTEN_CONCURRENCY, &session(":25", "")), 3, "the same name, another declaration");
    assert_eq!(generation.get(&LISTEN_CONCURRENCY, &session(":26", "")), 4);
    assert_eq!(generation.get(&MAINLOG, &Lookup::Module { module: "ec_logger", instance: "l1" }), "/var/log/a");
    assert_eq!(
        generation.get(&MAINLOG, &Lookup::Module { module: "ec_logger", instance: "l2" }),
        "/var/log/ecelerity/mainlog.ec"
    );
}

#[test]
fn the_origin_of_a_value_is_told_with_what_it_beat() {
    let generation = load(WORKED_EXAMPLE).current();
    let why = generation.eval_why("message_expiration", &queue("g", "b4", "a.example"));
    let told: Vec<_> = why.iter().map(|origin| (origin.value.as_str(), origin.scope.as_str(), origin.line)).collect();
    assert_eq!(
        told,
        [
            ("15", "binding \"b4\"", 12),
            ("50", "binding_group \"g\"", 10),
            ("120", "domain \"a.example\"", 3),
            ("86400", "the global scope", 2),
            ("259200", "default", 0)
        ]
    );
}
