//! A whole configuration of the usual shape: an outbound relay and inbound gateway, read as documented.

use std::sync::Arc;

use config::{Class, Configuration, Environment, Generation, OptionState};
use declarations::Declarations;

const EXAMPLE: &str = r#"
# relay.example.net: outbound relay and inbound gateway
accept_ineffective = ( "smtp_extensions" "AuthLoginParameters" "opendkim" "opendkim_sign" "auth_ds" )
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
    let etc = tempfile::tempdir().expect("a directory");
    std::fs::create_dir(etc.path().join("site.d")).expect("a directory");
    std::fs::write(etc.path().join("ecelerity.conf"), EXAMPLE).expect("a file");
    let local = "domain \"local.example\" { retry_interval = 1 }";
    std::fs::write(etc.path().join("site.d/10-local.conf"), local).expect("a file");
    let path = etc.path().join("ecelerity.conf");
    let loaded = Configuration::load(declarations().registry, &path, Environment::default());
    let generation = loaded.unwrap_or_else(|refused| panic!("{}", refused.render(false))).current();
    let bulk = ["binding_group", "bulk", "binding", "bulk-2", "domain", "slow.example"];
    assert_eq!(value(&generation, &bulk, "max_outbound_connections"), "2");
    assert_eq!(value(&generation, &["binding", "bulk-1", "domain", "slow.example"], "max_outbound_connections"), "20");
    for binding in ["bulk-1", "bulk-2"] {
        let path = ["binding_group", "bulk", "binding", binding, "domain", "any.example"];
        assert_eq!(value(&generation, &path, "outbound_throttle_messages"), "\"600/60\"");
    }
    assert_eq!(value(&generation, &["domain", "mx.Partner.Example"], "retry_interval"), "60");
    assert_eq!(value(&generation, &["domain", "local.example"], "retry_interval"), "1");
    assert_eq!(value(&generation, &["domain", "hub.example.org"], "gateway"), "\"[2001:db8:20::5]:2525\"");
    let session =
        |listen, option| value(&generation, &["esmtp_listener", "listen", listen, "peer", "192.0.2.77"], option);
    assert_eq!((session(":587", "open_relay"), session(":25", "open_relay")), ("true".to_owned(), "false".to_owned()));
    assert_eq!(session(":587", "max_recipients_per_message"), "100");
    assert_eq!(session("[2001:db8:10:0::25]:25", "max_recipients_per_message"), "1000");
    assert_eq!(value(&generation, &["threadpool", "accept"], "concurrency"), "2");
}

#[test]
fn what_has_no_effect_is_named_once_each_with_its_reason() {
    let described = declarations().registry.describe();
    let find = |of: fn(&OptionState) -> bool, kind: &str| {
        let global = |one: &&config::Description| one.kind == kind && one.scopes.first().is_some_and(|s| s == "global");
        let is_harmless = |one: &&config::Description| one.ineffective.is_some_and(|own| own.class == Class::Harmless);
        let mut harmless = described.iter().filter(global).filter(is_harmless);
        harmless.find(|one| of(&one.state)).expect("one of the kind").name
    };
    let is_awaited = |state: &OptionState| *state == OptionState::NotYet;
    let is_unsupported = |state: &OptionState| matches!(state, OptionState::NotSupported(_));
    let (awaited, unsupported) = (find(is_awaited, "option"), find(is_unsupported, "option"));
    let (module, foreign) = (find(is_awaited, "module"), find(is_unsupported, "module"));
    let text = format!(
        "{awaited} = 1\n{unsupported} = 1\n{awaited} = 2\ndomain \"d.example\" {{ {awaited} = 3 }}\n{module} \"a\" {{ anything = 1 }}\n{module} \"b\" {{ }}\n{foreign} {{ }}\n"
    );
    let configuration = Configuration::of_text(declarations().registry, &text).expect("valid");
    let generation = configuration.current();
    let warnings: Vec<_> = generation.warnings().iter().collect();
    let messages: Vec<&str> = warnings.iter().map(|warning| warning.message.as_str()).collect();
    let expected = [
        format!("option `{unsupported}` is not supported here"),
        format!("option `{awaited}` is accepted, not yet in effect (set 2 times)"),
        format!("{awaited} is set in line 1 already, and what stands further down wins"),
        format!("the content of {module} \"a\" is accepted, not yet in effect (written 2 times)"),
        format!("the content of {foreign} is not supported here"),
    ];
    assert_eq!(messages, expected);
    let mut unsupported = warnings.iter().filter(|warning| warning.message.ends_with("not supported here"));
    assert!(unsupported.all(|warning| warning.help.contains("it served")), "{warnings:?}");
}

fn declarations() -> Declarations {
    Declarations::offline().expect("sound declarations")
}

/// What `config eval` says, without the name.
fn value(generation: &Arc<Generation>, scope: &[&str], option: &str) -> String {
    let answer = generation.eval_text(&[scope, &[option]].concat()).unwrap_or_else(|problem| panic!("{problem}"));
    answer.text.split_once(" = ").map_or(answer.text.clone(), |(_, value)| value.to_owned())
}
