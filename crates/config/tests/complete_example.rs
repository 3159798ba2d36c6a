//! A whole configuration of the usual shape: an outbound relay and inbound gateway, read as documented.

mod common;

use common::*;
use config::Lookup;

const EXAMPLE: &str = r#"
# relay.example.net: outbound relay and inbound gateway
hostname = "relay.example.net"
pidfile = "/var/run/ecelerity.pid"
local_changes_file = "/etc/mta/local_changes.conf"
Security { user = "ecuser"  group = "ecuser"  Capabilities = "cap_net_bind_service+ep" }
Debug_Flags {
  WARNING = ( SSL DNS )
  ERROR = ( ALL )
}
ThreadPool "accept" { Concurrency = 2 }
relay_domains = ( "example.net" "*.example.net" )
relay_hosts = ( "127.0.0.0/8" "::1" "192.0.2.0/24" "2001:db8:10::/48" )
message_expiration = 172800
retry_interval = 900
max_retries = "none"
max_outbound_connections = 20
pathway "submission" { max_recipients_per_message = 100 }
ESMTP_Listener {
  SMTP_Extensions = ( "ENHANCEDSTATUSCODES" "STARTTLS" )
  Idle_Time = 300
  Peer "198.51.100.0/24" { Listener_Sessions = 10 }
  Listen ":25" {
    Concurrency = 2
    Pool_Name = "accept"
  }
  Listen "[2001:db8:10::25]:25" { }
  Listen ":587" {
    pathway = "submission"
    SMTP_Extensions = ( "ENHANCEDSTATUSCODES" "AUTH LOGIN" )
    AuthLoginParameters = [ uri = "ecauth://"  log_authentication = "true" ]
    Context = [ channel = "submission" ]
    Peer "192.0.2.77" { Open_Relay = true }
  }
}
Control_Listener {
  Timeout = 120
  Listen "/tmp/2025" { File_Mode = 0660 }
}
binding_group "bulk" {
  outbound_throttle_messages = "600/60"          /* shared by both bindings */
  binding "bulk-1" { bind_address = "192.0.2.21"  ehlo_hostname = "b1.example.net" }
  binding "bulk-2" {
    bind_address = "192.0.2.22"
    domain "slow.example" { max_outbound_connections = 2 }
  }
}
binding "transactional" { bind_address = "192.0.2.30"  opendkim_sign = true }
domain "/(^|\.)partner\.example$/" { retry_interval = 60 }
domain "hub.example.org" { gateway = "[2001:db8:20::5]:2525" }
host "mx.big.example" { outbound_throttle_connections = "5" }
ec_logger "ec_logger" {
  mainlog = "/var/log/ecelerity/mainlog.ec"
  mainlog_mode = 0640
}
bounce_logger "bounce_logger" { bouncelog = "/var/log/ecelerity/bouncelog.ec" }
opendkim "opendkim1" {
  headerlist = ( "from" "to", "subject" )
  key = "/etc/mta/dkim/%{d}/%{s}.key"
  dkim_domain "example.net" { selector = "s1" }
}
auth_ds {
  Scheme "ecauth" {
    query = "SELECT password FROM users WHERE name = :user"
    map = [ user = "%{username}" ]
    returns_password = true
  }
}
Datasource "users" { uri = ( "sqlite:/etc/mta/users.db" )  cache_life = 60 }
readonly_include "site.d"
"#;

#[test]
fn the_complete_example_is_read_as_written() {
    let etc = Etc::new(&[
        ("ecelerity.conf", EXAMPLE),
        ("site.d/10-local.conf", "domain \"local.example\" { retry_interval = 1 }"),
    ]);
    let configuration = etc.load().unwrap_or_else(|refused| panic!("{}", refused.render(false)));
    let generation = configuration.current();
    assert_eq!(generation.get(&MAX_CONNECTIONS, &queue("bulk", "bulk-2", "slow.example")), 2);
    assert_eq!(generation.get(&MAX_CONNECTIONS, &queue("bulk", "bulk-1", "slow.example")), 20);
    let bulk = |binding| generation.get(&THROTTLE, &queue("", binding, "any.example"));
    assert_eq!(bulk("bulk-1"), bulk("bulk-2"));
    assert_eq!((bulk("bulk-1").count, bulk("bulk-1").per_seconds), (600, 60));
    assert!(bulk("transactional").is_unlimited());
    assert_eq!(generation.get(&RETRY_INTERVAL, &queue("", "", "mx.Partner.Example")).0, 60);
    assert_eq!(generation.get(&RETRY_INTERVAL, &queue("", "", "local.example")).0, 1);
    assert_eq!(generation.get(&GATEWAY, &queue("", "transactional", "hub.example.org")), "[2001:db8:20::5]:2525");
    assert!(generation.get(&OPEN_RELAY, &session(":587", "192.0.2.77")));
    assert!(!generation.get(&OPEN_RELAY, &session(":25", "192.0.2.77")));
    assert_eq!(generation.get(&MAX_RECIPIENTS, &session(":587", "192.0.2.77")), 100);
    assert_eq!(generation.get(&MAX_RECIPIENTS, &session("[2001:db8:10:0::25]:25", "192.0.2.77")), 1000);
    assert_eq!(generation.get(&CONTEXT, &session(":587", "")).get("Channel"), Some("submission"));
    assert_eq!(generation.get(&POOL_CONCURRENCY, &Lookup::Stanza { word: "threadpool", name: "accept" }), 2);
    let nets = generation.get(&RELAY_HOSTS, &session(":25", ""));
    assert!(nets.contains("2001:db8:10::9".parse().expect("an address")));
}

#[test]
fn what_has_no_effect_yet_is_named_once_each() {
    let etc = Etc::new(&[("ecelerity.conf", EXAMPLE), ("site.d/x", "")]);
    let configuration = etc.load().expect("valid");
    let generation = configuration.current();
    let warnings: Vec<_> = generation.warnings().iter().map(|warning| warning.message.as_str()).collect();
    assert!(
        warnings.contains(&"option `SMTP_Extensions` is accepted, not yet in effect (set 2 times)"),
        "{warnings:?}"
    );
    assert!(warnings.contains(&"the content of opendkim \"opendkim1\" is accepted, not yet in effect"), "{warnings:?}");
    assert!(
        !warnings.iter().any(|warning| warning.contains("dkim_domain") || warning.contains("mainlog`")),
        "{warnings:?}"
    );
    assert_eq!(
        generation.get_text(&["opendkim", "opendkim1", "dkim_domain", "example.net", "selector"]).map(|a| a.text),
        Ok("selector = \"s1\"".to_owned())
    );
}
