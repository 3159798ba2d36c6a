//! Options in effect are in effect: each is set to two values in the real daemon, and the difference is seen from outside.
//!
//! Inbound options: a daemon with a Listen stanza for each value, and what a client is answered there. Outbound options: a
//! domain for each value, and what its next hop is told. What is not seen here is named in `PROVEN_ELSEWHERE` with the test
//! that sees it, or in `NOT_PROVEN`; the last test holds the three lists to what the daemon says is in effect, so that an
//! option cannot come into effect without a word on how that is known.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use e2e::{SOON, accept, ask_json, daemon, daemon_listening, letter, testimony, wait};
use testkit::{Sink, free_addr};

/// One option at two values, and what each makes of the same words of a client.
struct Inbound {
    option: &'static str,
    /// What stands in the Listen stanza, and a part of the answers that only this value draws.
    values: [(&'static str, &'static str); 2],
    says: &'static str,
}

const fn inbound(option: &'static str, values: [(&'static str, &'static str); 2], says: &'static str) -> Inbound {
    Inbound { option, values, says }
}

const OUTSIDE: &str = "EHLO c.test\r\nMAIL FROM:<ann@client.test>\r\nRCPT TO:<bob@far.test>\r\n";
const TWO_RECIPIENTS: &str =
    "EHLO c.test\r\nMAIL FROM:<ann@client.test>\r\nRCPT TO:<a@far.test>\r\nRCPT TO:<b@far.test>\r\n";
const BARE: &str =
    "EHLO c.test\r\nMAIL FROM:<ann@client.test>\r\nRCPT TO:<bob@far.test>\r\nDATA\r\nno header here\r\n.\r\n";
const NO_DATE: &str = "EHLO c.test\r\nMAIL FROM:<ann@client.test>\r\nRCPT TO:<bob@far.test>\r\nDATA\r\n\
                       From: <ann@client.test>\r\nReceived: one\r\nReceived: two\r\nSubject: s\r\n\r\nhello\r\n.\r\n\
                       MAIL FROM:<ann@client.test>\r\n";

const INBOUND: &[Inbound] = &[
    inbound(
        "banner_hostname",
        [("banner_hostname = a.test", "220 a.test"), ("banner_hostname = b.test", "220 b.test")],
        "",
    ),
    inbound(
        "static_banner",
        [("static_banner = \"220 one.test hello\"", "220 one.test hello"), ("", "220 relay.test")],
        "",
    ),
    inbound(
        "smtp_extensions",
        [
            ("smtp_extensions = ( )", "says EHLO\n250-PIPELINING"),
            ("smtp_extensions = ( ENHANCEDSTATUSCODES )", "ENHANCEDSTATUSCODES"),
        ],
        "EHLO c.test\r\n",
    ),
    inbound(
        "require_ehlo",
        [("require_ehlo = true", "550 5.5.1"), ("require_ehlo = false", "250 2.1.0")],
        "MAIL FROM:<ann@client.test>\r\n",
    ),
    inbound(
        "allow_null_envelope_sender",
        [("allow_null_envelope_sender = true", "250 2.1.0"), ("allow_null_envelope_sender = false", "550 ")],
        "EHLO c.test\r\nMAIL FROM:<>\r\n",
    ),
    inbound(
        "allow_ip_literal",
        [("allow_ip_literal = true", "250 2.1.0"), ("allow_ip_literal = false", "550 5.7.1")],
        "EHLO c.test\r\nMAIL FROM:<ann@[192.0.2.1]>\r\n",
    ),
    inbound(
        "allow_trailing_whitespace_in_commands",
        [
            ("allow_trailing_whitespace_in_commands = true", "250 2.1.0"),
            ("allow_trailing_whitespace_in_commands = false", "501 "),
        ],
        "EHLO c.test\r\nMAIL FROM:<ann@client.test> \r\n",
    ),
    inbound(
        "domain_for_unqualified_sender_address",
        [("domain_for_unqualified_sender_address = here.test", "250 2.1.0"), ("", "501 5.5.2")],
        "EHLO c.test\r\nMAIL FROM:<ann>\r\n",
    ),
    inbound(
        "domain_for_unqualified_recipient_addresses",
        [("domain_for_unqualified_recipient_addresses = here.test", "250 2.1.5"), ("", "501 ")],
        "EHLO c.test\r\nMAIL FROM:<ann@client.test>\r\nRCPT TO:<bob>\r\n",
    ),
    inbound(
        "max_message_size",
        [("max_message_size = 2000", "SIZE 2000"), ("max_message_size = 3000", "SIZE 3000")],
        "EHLO c.test\r\n",
    ),
    inbound(
        "max_recipients_per_message",
        [("max_recipients_per_message = 1", "452 4.5.3"), ("max_recipients_per_message = 2", "250 2.1.5 ")],
        TWO_RECIPIENTS,
    ),
    inbound(
        "max_recipients_per_connection",
        [("max_recipients_per_connection = 1", "452 4.5.3"), ("max_recipients_per_connection = 2", "250 2.1.5 ")],
        TWO_RECIPIENTS,
    ),
    inbound(
        "max_receptions_per_connection",
        [("max_receptions_per_connection = 1", "421 "), ("max_receptions_per_connection = 2", "250 2.1.0")],
        NO_DATE,
    ),
    inbound(
        "max_bad_commands",
        [("max_bad_commands = 1", "421 "), ("max_bad_commands = 9", "221 ")],
        "NONSENSE\r\nNONSENSE\r\n",
    ),
    inbound(
        "max_idle_commands",
        [
            ("max_idle_commands = 1 max_bad_commands = 1", "421 "),
            ("max_idle_commands = 9 max_bad_commands = 1", "221 "),
        ],
        "NOOP\r\nNOOP\r\nNOOP\r\nNOOP\r\n",
    ),
    inbound(
        "max_refusals",
        [
            ("relay_hosts = ( \"192.0.2.1\" ) max_refusals = 1", "421 "),
            ("relay_hosts = ( \"192.0.2.1\" ) max_refusals = 0", "221 "),
        ],
        "MAIL FROM:<ann@client.test>\r\nRCPT TO:<bob@other.test>\r\n",
    ),
    inbound(
        "max_header_size",
        [("max_header_size = 20", "552 5.3.4 header"), ("max_header_size = 2000", "250 2.0.0")],
        NO_DATE,
    ),
    inbound(
        "max_received_headers",
        [("max_received_headers = 1", "554 5.4.6"), ("max_received_headers = 9", "250 2.0.0")],
        NO_DATE,
    ),
    inbound(
        "relay_hosts",
        [("relay_hosts = ( 127.0.0.1 )", "250 2.1.5"), ("relay_hosts = ( 192.0.2.1 )", "550 5.7.1")],
        OUTSIDE,
    ),
    inbound(
        "open_relay",
        [("relay_hosts = ( ) open_relay = true", "250 2.1.5"), ("relay_hosts = ( ) open_relay = false", "550 5.7.1")],
        OUTSIDE,
    ),
    inbound(
        "relay_for_sending_domains",
        [
            ("relay_hosts = ( ) relay_for_sending_domains = ( client.test )", "250 2.1.5"),
            ("relay_hosts = ( ) relay_for_sending_domains = ( other.test )", "550 5.7.1"),
        ],
        OUTSIDE,
    ),
    inbound(
        "relay_domains",
        [("relay_hosts = ( ) pathway = far", "250 2.1.5"), ("relay_hosts = ( ) pathway = near", "550 5.7.1")],
        OUTSIDE,
    ),
    inbound("pathway", [("pathway = slow", "SIZE 4444"), ("pathway = fast", "SIZE 5555")], "EHLO c.test\r\n"),
    inbound("rfc2822_missing_headers", [("pathway = strict", "550 "), ("pathway = lax", "250 2.0.0")], BARE),
    inbound("rfc2822_date_header", [("pathway = dated", "550 "), ("pathway = lax", "250 2.0.0")], NO_DATE),
    inbound(
        "rfc2821_pedantic_address_rules",
        [("pathway = pedantic", "501 5.5.2"), ("pathway = relaxed", "250 2.1.0")],
        "EHLO c.test\r\nMAIL FROM:<a..b@client.test>\r\n",
    ),
    inbound(
        "rfc2821_allow_whitespace_in_envelope",
        [("pathway = relaxed", "250 2.1.0"), ("pathway = pedantic", "501 ")],
        "EHLO c.test\r\nMAIL FROM:< ann@client.test >\r\n",
    ),
    inbound("inbound_throttle_messages", [("pathway = throttled", "451 4.7.1"), ("", "250 2.1.0")], THREE_MESSAGES),
    inbound("always_deny", [("always_deny = true", "554 "), ("always_deny = false", "220 ")], ""),
    inbound(
        "proxy_protocol",
        [("proxy_protocol = true", "250 2.0.0 "), ("proxy_protocol = false", "500 ")],
        "PROXY TCP4 192.0.2.7 192.0.2.8 1 25\r\nNOOP\r\n",
    ),
];

const THREE_MESSAGES: &str = "EHLO c.test\r\n\
    MAIL FROM:<ann@client.test>\r\nRCPT TO:<bob@far.test>\r\nDATA\r\nSubject: 1\r\n\r\n.\r\n\
    MAIL FROM:<ann@client.test>\r\nRCPT TO:<bob@far.test>\r\nDATA\r\nSubject: 2\r\n\r\n.\r\n";

/// What the rows above take by name.
const PATHWAYS: &str = r#"
suspend_delivery = true
pathway "far" { relay_domains = ( far.test ) }
pathway "near" { relay_domains = ( near.test ) }
pathway "slow" { max_message_size = 4444 }
pathway "fast" { max_message_size = 5555 }
pathway "strict" { rfc2822_missing_headers = reject }
pathway "lax" { rfc2822_missing_headers = allow rfc2822_date_header = ignore }
pathway "dated" { rfc2822_date_header = pedantic }
pathway "pedantic" { rfc2821_pedantic_address_rules = true rfc2821_allow_whitespace_in_envelope = false }
pathway "relaxed" { rfc2821_pedantic_address_rules = false rfc2821_allow_whitespace_in_envelope = true }
pathway "throttled" { inbound_throttle_messages = "1/3600" }
"#;

/// Everything a listener answers to these lines, said one after the other, and to the QUIT after them. What follows DATA is
/// left out if that is refused.
fn answers(addr: SocketAddr, words: &str) -> String {
    let mut client = BufReader::new(TcpStream::connect(addr).expect("a listener"));
    client.get_ref().set_read_timeout(Some(SOON)).expect("a time limit");
    let mut heard = String::new();
    // A proxy speaks first, and hears the greeting then.
    let mut last = if words.starts_with("PROXY") { String::new() } else { reply(&mut client, &mut heard) };
    let mut lines = words.lines().chain(["QUIT"]);
    while let Some(line) = lines.next() {
        let mut said = format!("{line}\r\n");
        let in_data = last.starts_with("354");
        if in_data || line == "DATA" && !last.starts_with("250") {
            let rest: Vec<&str> = lines.by_ref().take_while(|line| *line != ".").collect();
            said = format!("{said}{}\r\n.\r\n", rest.join("\r\n"));
            if !in_data {
                continue;
            }
        }
        // Who was turned away may find the socket closed.
        let _ = client.get_mut().write_all(said.as_bytes());
        last = reply(&mut client, &mut heard);
    }
    heard
}

/// One reply, its lines added to what was heard without ids and ports; empty at the end.
fn reply(client: &mut impl BufRead, heard: &mut String) -> String {
    let mut whole = String::new();
    loop {
        let mut line = String::new();
        if !client.read_line(&mut line).is_ok_and(|octets| octets != 0) {
            return whole;
        }
        let always_other = ["250 2.0.0 OK", "250-relay.test says EHLO"];
        let same = always_other.into_iter().find(|same| line.starts_with(same)).unwrap_or(line.trim_end());
        whole.push_str(&format!("{same}\n"));
        heard.push_str(&format!("{same}\n"));
        if line.as_bytes().get(3) != Some(&b'-') {
            return whole;
        }
    }
}

#[test]
fn each_value_of_an_inbound_option_is_answered_in_its_own_way() {
    let places: Vec<[SocketAddr; 2]> = INBOUND.iter().map(|_| [free_addr(), free_addr()]).collect();
    let mut more = String::from(PATHWAYS);
    for (row, addrs) in INBOUND.iter().zip(&places) {
        for ((value, _), addr) in row.values.iter().zip(addrs) {
            let _ = writeln!(more, "esmtp_listener {{ listen \"{addr}\" {{ {value} }} }}");
        }
    }
    let daemon = daemon(&more).start();
    let mut faults = String::new();
    for (row, addrs) in INBOUND.iter().zip(&places) {
        let heard = addrs.map(|addr| answers(addr, row.says));
        for ((value, part), heard) in row.values.iter().zip(&heard) {
            if !heard.contains(part) {
                let _ = writeln!(faults, "{} with {value:?}: no {part:?} in\n{heard}", row.option);
            }
        }
        if heard[0] == heard[1] {
            let _ = writeln!(faults, "{}: both values answer\n{}", row.option, heard[0]);
        }
    }
    assert!(faults.is_empty(), "{faults}\n{}", testimony(&daemon));
}

/// One option at two values of a domain, and what its next hop hears of two messages to it.
struct Outbound {
    option: &'static str,
    values: [(&'static str, &'static str); 2],
}

const fn outbound(option: &'static str, values: [(&'static str, &'static str); 2]) -> Outbound {
    Outbound { option, values }
}

/// The rows; a part of what the next hop hears: the commands, and `connections=N` at the end.
const OUTBOUND: &[Outbound] = &[
    outbound("ehlo_hostname", [("ehlo_hostname = a.test", "EHLO a.test"), ("ehlo_hostname = b.test", "EHLO b.test")]),
    outbound(
        "max_deliveries_per_connection",
        [
            ("max_deliveries_per_connection = 1", "connections=2"),
            ("max_deliveries_per_connection = 9", "connections=1"),
        ],
    ),
    outbound(
        "max_recipients_per_connection",
        [
            ("max_recipients_per_connection = 1", "connections=4"),
            ("max_recipients_per_connection = 9", "connections=1"),
        ],
    ),
    outbound(
        "send_8bitmime",
        [("send_8bitmime = ifavailable", "BODY=8BITMIME"), ("send_8bitmime = no", "SIZE=394\nRCPT")],
    ),
];

#[test]
fn each_value_of_an_outbound_option_is_seen_by_the_next_hop() {
    let sinks: Vec<[Sink; 2]> = OUTBOUND.iter().map(|_| [Sink::start(), Sink::start()]).collect();
    let mut more = String::from("idle_timeout = 600\n");
    let domain = |row: usize, side: usize| format!("d{row}-{side}.test");
    for (number, (row, sinks)) in OUTBOUND.iter().zip(&sinks).enumerate() {
        for (side, sink) in sinks.iter().enumerate() {
            let (name, port, value) = (domain(number, side), sink.addr().port(), row.values[side].0);
            let _ = writeln!(
                more,
                "domain \"{name}\" {{ routes = ( \"127.0.0.1\" ) remote_smtp_port = {port} lmtp_port = {port} {value} }}"
            );
        }
    }
    let daemon = daemon(&more).start();
    let text = letter("Grüße");
    for round in [1, 2] {
        for (number, sinks) in sinks.iter().enumerate() {
            for (side, sink) in sinks.iter().enumerate() {
                let to = ["ann", "bob"].map(|local_part| format!("{local_part}@{}", domain(number, side)));
                accept(&daemon, "eve@client.test", &[&to[0], &to[1]], &text);
                let recipients = |messages: &[std::sync::Arc<testkit::Transaction>]| {
                    messages.iter().map(|message| message.forward_paths.len()).sum::<usize>() == 2 * round
                };
                assert!(sink.wait_until(SOON, recipients), "{}", testimony(&daemon));
            }
        }
    }
    let mut faults = String::new();
    for (row, sinks) in OUTBOUND.iter().zip(&sinks) {
        for ((value, part), sink) in row.values.iter().zip(sinks) {
            let commands: Vec<String> = sink.commands().into_iter().map(|(_, line)| line).collect();
            let heard = format!("{}\nconnections={}", commands.join("\n"), sink.connections());
            let other = row.values.iter().find(|(other, _)| other != value).map_or("", |(_, part)| part);
            if !heard.contains(part) || heard.contains(other) {
                let _ = writeln!(faults, "{} with {value:?}: no {part:?} in\n{heard}", row.option);
            }
        }
    }
    assert!(faults.is_empty(), "{faults}");
}

/// Caps on sessions are seen by the second client.
#[test]
fn session_caps_of_a_listener_and_of_its_pathway_turn_the_second_client_away() {
    for (option, in_listen, more) in [
        ("listener_sessions", "listener_sessions = @n@", ""),
        ("listener_sessions", "pathway = p", "pathway \"p\" { listener_sessions = @n@ }"),
        ("service_sessions", "service_sessions = @n@", ""),
        ("service_sessions", "pathway = p", "pathway_group \"g\" { service_sessions = @n@ pathway \"p\" { } }"),
        ("peer_sessions", "peer_sessions = @n@", ""),
    ] {
        let daemon = daemon_listening(more, in_listen).set("n", 9).start();
        let no_session = || ask_json(&daemon, &["summary"])["InboundConcurrency"] == 0;
        wait(&daemon, "the first look at it is over", no_session);
        let first = TcpStream::connect(daemon.addr()).expect("a listener");
        let mut greeting = [0; 3];
        (&first).read_exact(&mut greeting).expect("a greeting");
        assert!(answers(daemon.addr(), "").starts_with("220 "), "{option}: there is room for nine");
        wait(&daemon, "the second has left", || ask_json(&daemon, &["summary"])["InboundConcurrency"] == 1);
        let file = daemon.read("daemon.conf");
        daemon.write_config(&file.replace("sessions = 9", "sessions = 1"));
        e2e::ask(&daemon, &["config", "reload"]);
        assert!(answers(daemon.addr(), "").starts_with("421 4.4.5"), "{option}: a reload has left room for one");
        drop(first);
    }
}

/// A listener that is switched off does not listen.
#[test]
fn enable_and_file_mode_are_seen_in_the_sockets() {
    let (on, off) = (free_addr(), free_addr());
    let more = format!(
        "esmtp_listener {{ listen \"{on}\" {{ enable = true }} listen \"{off}\" {{ enable = false }}\n\
         listen \"@dir@/open.sock\" {{ file_mode = 0666 }} listen \"@dir@/closed.sock\" {{ file_mode = 0600 }} }}"
    );
    let daemon = daemon(&more).start();
    assert!(TcpStream::connect(on).is_ok() && TcpStream::connect(off).is_err());
    let mode = |name: &str| {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::metadata(daemon.dir().join(name)).expect("a socket").permissions().mode() & 0o777
    };
    assert_eq!((mode("open.sock"), mode("closed.sock")), (0o666, 0o600));
    let closer = more.replace("0666", "0640");
    daemon.write_config(&e2e::configuration(&closer, ""));
    e2e::ask(&daemon, &["config", "reload"]);
    assert_eq!((mode("open.sock"), mode("closed.sock")), (0o640, 0o600), "a reload closes it");
}

/// A host that refuses connections is in the log at once, with the error, and in the console; not so if that is turned off.
#[test]
fn notice_says_which_hosts_could_not_be_reached() {
    let dead = free_addr();
    for (flags, told) in [("", true), ("debug_flags { notice = ( ) }\n", false)] {
        let daemon = daemon(&format!("gateway = \"{dead}\"\n{flags}")).start();
        accept(&daemon, "ann@client.test", &["bob@far.test"], &letter("nobody there"));
        let shown = || e2e::ask(&daemon, &["domain", &dead.to_string()]);
        wait(&daemon, "the console shows the error", || {
            shown().contains("since failure: Connection refused (os error 111)")
        });
        let log = daemon.read("log/paniclog.ec");
        let text = format!("127.0.0.1 ({dead}) could not be reached for {dead}: Connection refused (os error 111)");
        if told {
            wait(&daemon, "the paniclog tells", || daemon.read("log/paniclog.ec").contains(&text));
        } else {
            assert!(!log.contains("could not be reached"), "{log}");
        }
    }
}

/// Two loggers of the same mail: one with every kind switched on, one with every kind switched off, and other modes.
#[test]
fn loggers_write_where_how_and_what_they_are_told() {
    let sink = Sink::start();
    sink.on("RCPT", "550 5.1.1 no such user").to("gone*");
    sink.on("RCPT", "450 4.2.1 busy").to("busy*");
    let kinds =
        ["log_receptions", "log_deliveries", "log_transient_failures", "log_permanent_failures", "log_rejections"];
    let logger = |name: &str, mode: &str, on: bool| {
        let logs = ["mainlog", "rejectlog", "paniclog", "acctlog"].map(|log| {
            let option = if log == "acctlog" { "acctlog_log_mode" } else { &format!("{log}_mode") };
            format!("{log} = \"@dir@/{name}/{log}.ec\" {option} = {mode}\n")
        });
        let kinds = kinds.map(|kind| format!("{kind} = {on}\n"));
        let bounces = ["log_inband_bounces", "log_transient_failures"].map(|kind| format!("{kind} = {on}\n"));
        format!(
            "ec_logger \"{name}\" {{\n{}{}heartbeat = 0\n}}\n\
             bounce_logger \"{name}\" {{ bouncelog = \"@dir@/{name}/bouncelog.ec\" bouncelog_mode = {mode} heartbeat = 0\n{}}}\n",
            logs.concat(),
            kinds.concat(),
            bounces.concat()
        )
    };
    let more =
        format!("gateway = \"{}\"\n{}{}", sink.addr(), logger("all", "0600", true), logger("none", "0644", false));
    let daemon = daemon(&more).start();
    accept(&daemon, "", &["ann@far.test", "gone@far.test", "busy@far.test"], &letter("to three"));
    assert!(answers(daemon.addr(), "MAIL FROM:<ann@client.test\r\n").contains("501 "));
    let kinds_in = |file: &str| -> BTreeSet<String> {
        daemon.read(file).lines().filter_map(|line| line.split('@').nth(4).map(str::to_owned)).collect()
    };
    let wanted: BTreeSet<String> = ["D", "P", "R", "T"].map(str::to_owned).into();
    wait(&daemon, "every kind in the one", || kinds_in("all/mainlog.ec").is_superset(&wanted));
    wait(&daemon, "the refusal in the one", || daemon.read("all/rejectlog.ec").contains("E=501"));
    wait(&daemon, "the bounces in the one", || 2 <= daemon.read("all/bouncelog.ec").lines().count());
    assert!(kinds_in("none/mainlog.ec").is_disjoint(&wanted), "{}", daemon.read("none/mainlog.ec"));
    assert_eq!((daemon.read("none/rejectlog.ec"), daemon.read("none/bouncelog.ec")), (String::new(), String::new()));
    for log in ["mainlog", "rejectlog", "paniclog", "acctlog", "bouncelog"] {
        for (logger, wanted) in [("all", 0o600), ("none", 0o644)] {
            use std::os::unix::fs::PermissionsExt as _;
            let file = daemon.dir().join(logger).join(format!("{log}.ec"));
            // A log that nothing was written to need not be there.
            let mode = std::fs::metadata(&file).map(|file| file.permissions().mode() & 0o777);
            assert!(mode.is_err() && logger == "none" || mode.is_ok_and(|mode| mode == wanted), "{logger} {log}");
        }
    }
}

/// What this machine is called in trace fields and in the words a session ends with.
#[test]
fn received_fields_and_the_farewell_of_a_reload_say_what_they_are_told() {
    let sink = Sink::start();
    let (one, other) = (free_addr(), free_addr());
    let more = format!(
        "gateway = \"{}\"\nesmtp_listener {{\n listen \"{one}\" {{ received_hostname = one.test pathway = plain }}\n \
         listen \"{other}\" {{ received_hostname = other.test }}\n}}\npathway \"plain\" {{ rfc2822_trace_headers = false }}\n",
        sink.addr()
    );
    let daemon = daemon(&more).start();
    for addr in [one, other] {
        assert!(answers(addr, NO_DATE).contains("250 2.0.0 OK"));
    }
    let texts: Vec<String> = sink.wait_for(2, SOON).iter().map(|message| message.text()).collect();
    assert_eq!(texts.iter().filter(|text| text.contains("by other.test")).count(), 1, "{texts:#?}");
    assert!(!texts.iter().any(|text| text.contains("by one.test")), "rfc2822_trace_headers is off there: {texts:#?}");
    for words in ["4.3.2 come back", "4.3.2 later"] {
        let mut session = BufReader::new(TcpStream::connect(other).expect("a listener"));
        reply(&mut session, &mut String::new());
        let file = daemon
            .read("daemon.conf")
            .lines()
            .filter(|line| !line.starts_with("esmtp_listener { rec"))
            .collect::<Vec<_>>()
            .join("\n");
        // The session is told in the words of the generation it began with, so they are set first.
        daemon.write_config(&format!("{file}\nesmtp_listener {{ reconfig_message = \"{words}\" }}\n"));
        e2e::ask(&daemon, &["config", "reload"]);
        let mut session = BufReader::new(TcpStream::connect(other).expect("a listener"));
        reply(&mut session, &mut String::new());
        daemon.write_config(&daemon.read("daemon.conf").replace("other.test }", "other.test max_message_size = 77 }"));
        e2e::ask(&daemon, &["config", "reload"]);
        session.get_mut().write_all(b"MAIL FROM:<ann@client.test>\r\n").expect("it is open");
        let mut heard = String::new();
        while !reply(&mut session, &mut heard).is_empty() {}
        assert!(heard.contains(&format!("421 {words}")), "{heard}");
        daemon.write_config(&daemon.read("daemon.conf").replace(" max_message_size = 77", ""));
    }
}

/// The address a connection comes from is seen by the next hop.
#[test]
fn bind_address_is_where_connections_come_from() {
    let next_hop = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let gateway = next_hop.local_addr().expect("bound");
    for own in ["127.0.0.2", "127.0.0.3"] {
        let daemon = daemon(&format!("gateway = \"{gateway}\"\nbind_address = {own}\n")).start();
        accept(&daemon, "ann@client.test", &["bob@far.test"], &letter("from where"));
        let (_connection, peer) = next_hop.accept().expect("a connection");
        assert_eq!(peer.ip().to_string(), own);
    }
}

/// Whom a notification comes from, and how much of the mail it returns, as the domain of the failed mail says.
#[test]
fn notifications_come_from_whom_and_return_what_they_are_told() {
    let (refusing, back) = (Sink::start(), Sink::start());
    refusing.on("RCPT", "550 5.1.1 no such user");
    let (port, route) = (refusing.addr().port(), "routes = ( \"127.0.0.1\" )");
    let more = format!(
        "domain \"one.test\" {{ {route} remote_smtp_port = {port} mailerdaemon = \"one@relay.test\" bounces_inline_original = all }}\n\
         domain \"two.test\" {{ {route} remote_smtp_port = {port} mailerdaemon = \"two@relay.test\" bounces_inline_original = none }}\n\
         domain \"back.test\" {{ {route} remote_smtp_port = {} }}\n",
        back.addr().port()
    );
    let daemon = daemon(&more).start();
    for domain in ["one.test", "two.test"] {
        accept(&daemon, "ann@back.test", &[&format!("bob@{domain}")], &letter("lost"));
    }
    assert!(back.wait_until(SOON, |messages| messages.len() == 2), "{}", testimony(&daemon));
    let texts: Vec<String> = back.messages().iter().map(|message| message.text()).collect();
    let of = |sender: &str| {
        texts.iter().find(|text| text.contains(sender)).unwrap_or_else(|| panic!("{sender}: {texts:#?}"))
    };
    assert!(of("one@relay.test").contains("Dear reader"), "{texts:#?}");
    assert!(!of("two@relay.test").contains("Dear reader"), "{texts:#?}");
}

/// Options that are seen above without a row of a table.
const ALSO_LIVE: &[&str] = &[
    "acctlog",
    "acctlog_log_mode",
    "bind_address",
    "bouncelog",
    "bouncelog_mode",
    "bounces_inline_original",
    "enable",
    "file_mode",
    "gateway",
    "listener_sessions",
    "log_deliveries",
    "log_inband_bounces",
    "log_permanent_failures",
    "log_receptions",
    "log_rejections",
    "log_transient_failures",
    "mainlog",
    "mailerdaemon",
    "mainlog_mode",
    "notice",
    "paniclog",
    "paniclog_mode",
    "peer_sessions",
    "received_hostname",
    "reconfig_message",
    "rejectlog",
    "rejectlog_mode",
    "remote_smtp_port",
    "rfc2822_trace_headers",
    "routes",
    "service_sessions",
];

/// Options that other tests see, each with its file from the root of the tree and the test.
const PROVEN_ELSEWHERE: &[(&str, &str, &str)] = &[
    (
        "require_tls",
        "tests/e2e/tests/tls_inbound.rs",
        "commands_in_the_clear_behind_starttls_end_the_session_and_mail_without_tls_is_refused_where_it_is_required",
    ),
    (
        "starttls_injection_policy",
        "crates/smtp/tests/server/transcripts.rs",
        "nothing_that_came_in_the_clear_behind_starttls_is_obeyed",
    ),
    (
        "tls_certificate",
        "tests/e2e/tests/tls_inbound.rs",
        "a_renewed_certificate_comes_with_a_reload_and_closes_nobody",
    ),
    ("tls_key", "tests/e2e/tests/tls_inbound.rs", "a_renewed_certificate_comes_with_a_reload_and_closes_nobody"),
    (
        "tls_ciphers",
        "crates/tls/tests/handshakes.rs",
        "a_handshake_tells_what_it_came_to_and_plaintext_is_what_is_readable",
    ),
    (
        "tls_protocols",
        "crates/tls/tests/handshakes.rs",
        "a_handshake_tells_what_it_came_to_and_plaintext_is_what_is_readable",
    ),
    (
        "tlsv13_ciphersuites",
        "crates/tls/tests/handshakes.rs",
        "a_handshake_tells_what_it_came_to_and_plaintext_is_what_is_readable",
    ),
    (
        "tls_client_ca",
        "crates/tls/tests/handshakes.rs",
        "a_clients_certificate_counts_if_it_leads_to_the_ca_and_ends_the_handshake_only_where_it_is_required",
    ),
    (
        "tls_verify_mode",
        "crates/tls/tests/handshakes.rs",
        "a_clients_certificate_counts_if_it_leads_to_the_ca_and_ends_the_handshake_only_where_it_is_required",
    ),
    (
        "tls_verified_peer_can_relay",
        "tests/e2e/tests/tls_inbound.rs",
        "a_client_whose_certificate_leads_to_the_ca_may_relay",
    ),
    ("use_ssl", "tests/e2e/tests/tls_inbound.rs", "a_port_of_its_own_begins_with_the_handshake"),
    (
        "accept_ineffective",
        "tests/e2e/tests/unfit_configurations.rs",
        "what_the_operator_accepts_is_told_at_every_start_and_reload",
    ),
    ("_unsafe_spool", "tests/e2e/tests/spool_modules.rs", "suppressed_mail_is_refused_without_the_switch"),
    (
        "accept_queue_backlog",
        "crates/reception/tests/esmtp/listeners.rs",
        "without_a_whole_proxy_header_in_time_a_connection_is_closed_without_a_word",
    ),
    ("blackhole", "crates/delivery/tests/simulation/methods.rs", "a_blackhole_fails_what_is_queued_and_what_comes"),
    (
        "body_timeout",
        "tests/e2e/tests/hostile_next_hops.rs",
        "a_next_hop_that_never_reads_holds_up_neither_others_nor_the_end_of_the_daemon",
    ),
    (
        "bounce_behavior",
        "tests/e2e/tests/bounces_inbound.rs",
        "one_that_is_discarded_is_accepted_logged_and_gone_also_after_a_crash",
    ),
    (
        "bounce_domains",
        "tests/e2e/tests/bounces_inbound.rs",
        "a_bounce_is_taken_from_anyone_logged_for_each_recipient_and_delivered",
    ),
    (
        "bounce_pattern",
        "crates/queue/src/bounce_addresses.rs",
        "the_domain_of_the_address_says_which_of_its_addresses_are_meant",
    ),
    (
        "bounce_suppress_list",
        "tests/e2e/tests/bounces_inbound.rs",
        "a_bounce_is_taken_from_anyone_logged_for_each_recipient_and_delivered",
    ),
    (
        "capabilities",
        "tests/e2e/tests/inbound_security.rs",
        "started_as_root_it_becomes_the_user_on_every_thread_and_owns_what_it_writes",
    ),
    (
        "concurrency",
        "crates/netlistener/tests/listening.rs",
        "concurrency_says_how_many_loops_serve_a_listener_and_a_reload_moves_nobody",
    ),
    ("connect_timeout", "crates/delivery/tests/simulation/main.rs", "a_silent_host_costs_connect_timeout"),
    ("context", "crates/reception/tests/esmtp/policy.rs", "the_phases_are_called_in_the_documented_order"),
    ("data_block_timeout", "tests/e2e/tests/hostile_crowds.rs", "a_client_that_says_nothing_is_told_421"),
    (
        "data_timeout",
        "tests/e2e/tests/hostile_crowds.rs",
        "a_client_that_sends_an_octet_now_and_then_is_told_421_and_the_others_are_served_meanwhile",
    ),
    (
        "debug_level",
        "crates/module/tests/life_cycle.rs",
        "a_singleton_with_a_name_and_an_unknown_debug_level_are_refused",
    ),
    (
        "default_binding",
        "tests/e2e/tests/outbound_default_binding.rs",
        "it_is_refused_kept_or_delivered_as_default_binding_says",
    ),
    ("default_facility", "tests/e2e/tests/iowrap_logs.rs", "options_of_the_modules_are_known_and_the_modules_listed"),
    ("delivery_method", "crates/delivery/tests/simulation/methods.rs", "lmtp_gives_each_recipient_its_own_fate"),
    ("delivery_pool", "tests/e2e/tests/pools.rs", "a_pool_that_does_not_exist_is_refused_by_name"),
    (
        "disk_queue_drain_rate",
        "crates/delivery/tests/simulation/residency.rs",
        "what_the_spool_held_does_not_keep_new_mail_waiting",
    ),
    ("dns_expire_interval", "crates/dns/tests/lookups.rs", "a_sweep_renews_what_was_used_once_and_forgets_the_rest"),
    (
        "dns_failure_retry",
        "crates/delivery/tests/simulation/lookups.rs",
        "failed_lookups_count_as_rounds_that_delay_a_domain",
    ),
    (
        "dns_failures_to_purge",
        "crates/delivery/tests/simulation/lookups.rs",
        "a_domain_without_a_host_is_retried_and_purged_after_dns_failures_to_purge",
    ),
    ("dns_fallback_to_tcp", "crates/dns/tests/lookups.rs", "without_tcp_a_truncated_answer_is_no_answer"),
    (
        "drop_body_after_trans_fail",
        "crates/delivery/tests/simulation/residency.rs",
        "a_message_leaves_memory_after_drop_body_after_trans_fail_failures",
    ),
    (
        "ehlo_timeout",
        "crates/delivery/tests/simulation/main.rs",
        "a_host_that_stalls_at_any_stage_is_left_when_its_time_is_over",
    ),
    (
        "enabled",
        "crates/module/tests/life_cycle.rs",
        "a_disabled_module_does_nothing_unless_others_call_it_and_then_passively",
    ),
    (
        "error_file",
        "modules/pipe_io/tests/programs.rs",
        "output_goes_where_the_options_say_and_the_environment_can_be_empty",
    ),
    ("event_loop", "tests/e2e/tests/pools.rs", "listeners_and_deliveries_run_on_the_pools_named_for_them"),
    (
        "fully_resolve_before_smtp",
        "crates/delivery/tests/simulation/resolving.rs",
        "without_it_the_best_host_known_so_far_is_tried_at_once",
    ),
    (
        "generate_bounces",
        "crates/bounce/src/bouncer_tests.rs",
        "nobody_is_told_of_mail_from_the_null_reverse_path_or_against_the_options",
    ),
    (
        "generate_bounces_for_multi_recipient_policy_rejections",
        "crates/reception/tests/esmtp/policy.rs",
        "without_notifications_a_refused_recipient_is_dropped_and_logged",
    ),
    (
        "group",
        "tests/e2e/tests/inbound_security.rs",
        "started_as_root_it_becomes_the_user_on_every_thread_and_owns_what_it_writes",
    ),
    ("heartbeat", "tests/e2e/tests/logging.rs", "heartbeats_keep_their_type_in_the_fifth_field"),
    (
        "host_failure_retry",
        "crates/delivery/tests/simulation/main.rs",
        "the_next_host_is_tried_at_once_and_a_failed_one_left_alone",
    ),
    ("hostname", "tests/e2e/tests/outbound_follow.rs", "a_reload_changes_the_name_in_ehlo_and_in_mailbox_files"),
    ("ident", "tests/e2e/tests/iowrap_logs.rs", "options_of_the_modules_are_known_and_the_modules_listed"),
    ("idle_time", "tests/e2e/tests/hostile_crowds.rs", "a_client_that_says_nothing_is_told_421"),
    ("idle_timeout", "tests/e2e/tests/delivering.rs", "idle_connections_are_closed_with_quit"),
    ("importlog", "tests/e2e/tests/spool_backends.rs", "another_spool_is_imported_and_its_messages_removed"),
    (
        "large_message_threshold",
        "crates/queue/src/queues/tests.rs",
        "a_large_message_stays_in_memory_only_where_it_is_the_next_of_its_queue",
    ),
    (
        "local_changes_file",
        "crates/config/tests/changes.rs",
        "local_changes_file_is_read_last_and_takes_what_no_file_takes",
    ),
    ("local_changes_only", "crates/config/tests/changes.rs", "local_changes_only_leaves_every_other_file_alone"),
    ("log_hires_timestamp", "tests/e2e/tests/logging.rs", "stamps_can_have_microseconds"),
    ("log_outofband_bounces", "modules/bounce_logger/src/tests.rs", "each_kind_can_be_switched_off"),
    (
        "mail_queue_check_vm_interval",
        "crates/delivery/tests/simulation/residency.rs",
        "bodies_leave_memory_when_it_is_short_and_the_mail_is_delivered_all_the_same",
    ),
    ("maildir_path", "crates/delivery/tests/simulation/main.rs", "maildir_takes_mail_of_its_domains"),
    (
        "mailfrom_timeout",
        "crates/delivery/tests/simulation/main.rs",
        "a_host_that_stalls_at_any_stage_is_left_when_its_time_is_over",
    ),
    (
        "max_outbound_connections",
        "crates/delivery/tests/simulation/limits.rs",
        "a_host_stanza_limits_the_connections_of_all_queues_to_each_host",
    ),
    (
        "max_recipients_per_batch",
        "tests/e2e/tests/delivering.rs",
        "recipients_of_one_message_share_a_transaction_up_to_the_limit",
    ),
    (
        "max_resident_active_queue",
        "crates/delivery/tests/simulation/main.rs",
        "mail_beyond_the_resident_limit_is_read_back_and_delivered_in_order",
    ),
    (
        "max_resident_bytes",
        "crates/queue/src/queues/tests.rs",
        "bodies_beyond_the_octets_that_may_stay_are_only_on_disk_until_others_have_left",
    ),
    ("max_resident_messages", "crates/queue/src/queues/tests.rs", "mail_beyond_the_resident_limits_is_only_on_disk"),
    ("max_retries", "crates/queue/src/options.rs", "retry_options_are_resolved_for_a_queue"),
    ("max_retry_interval", "crates/queue/src/retry.rs", "the_interval_doubles_up_to_its_ceiling"),
    (
        "memory_hwm",
        "tests/e2e/tests/inbound_resources.rs",
        "above_memory_hwm_mail_and_clients_are_put_off_and_below_it_they_are_taken_again",
    ),
    ("message_expiration", "crates/queue/src/options.rs", "retry_options_are_resolved_for_a_queue"),
    ("min_dns_ttl", "crates/dns/tests/lookups.rs", "a_plan_ends_with_its_ttl"),
    (
        "minimum_size",
        "tests/e2e/tests/spool_modules.rs",
        "compressed_mail_survives_kill_9_byte_for_byte_and_is_read_with_the_module_off",
    ),
    (
        "mx_failures_fallback_to_a",
        "crates/delivery/tests/simulation/methods.rs",
        "a_domain_whose_mail_hosts_cannot_be_learnt_is_tried_at_its_own_address_in_the_end",
    ),
    (
        "mx_failures_to_delay",
        "crates/delivery/tests/simulation/orders.rs",
        "a_domain_whose_hosts_are_left_alone_for_anothers_failure_has_not_failed",
    ),
    (
        "never_attempt_expired_messages",
        "crates/queue/src/queues/tests.rs",
        "an_expired_message_fails_with_the_reason_of_its_last_failure",
    ),
    ("never_retry", "tests/e2e/tests/retries.rs", "never_retry_fails_mail_at_its_first_transient_failure"),
    ("num_retries", "tests/e2e/tests/spool_modules.rs", "suppressed_mail_is_refused_without_the_switch"),
    (
        "only_use_best_mx_for_relay_domains",
        "crates/delivery/tests/simulation/methods.rs",
        "mail_of_relay_domains_goes_to_the_best_mail_hosts_alone",
    ),
    (
        "outbound_throttle_connections",
        "crates/delivery/tests/simulation/throttles.rs",
        "connections_are_begun_at_the_rate_whatever_becomes_of_them",
    ),
    (
        "outbound_throttle_messages",
        "tests/e2e/tests/outbound_throttles.rs",
        "one_throttle_holds_for_all_loops_and_a_reload_lifts_it",
    ),
    (
        "output_file",
        "modules/pipe_io/tests/programs.rs",
        "output_goes_where_the_options_say_and_the_environment_can_be_empty",
    ),
    ("persist_path", "tests/e2e/tests/iowrap_logs.rs", "options_of_the_modules_are_known_and_the_modules_listed"),
    ("pidfile", "tests/e2e/tests/console.rs", "the_process_tells_about_itself"),
    (
        "policy_timeout",
        "crates/reception/tests/esmtp/policy.rs",
        "a_provider_that_does_not_answer_is_given_up_and_the_session_goes_on",
    ),
    (
        "prefer_ipv6_mxs",
        "crates/delivery/src/route.rs",
        "ipv6_comes_first_inside_one_preference_and_only_if_it_is_preferred",
    ),
    (
        "prohibited_hosts",
        "tests/e2e/tests/routing.rs",
        "prohibited_hosts_fail_the_domain_and_skipped_hosts_are_passed_over",
    ),
    (
        "proxy_protocol_timeout",
        "crates/reception/tests/esmtp/listeners.rs",
        "without_a_whole_proxy_header_in_time_a_connection_is_closed_without_a_word",
    ),
    (
        "rcptto_timeout",
        "crates/delivery/tests/simulation/main.rs",
        "a_host_that_stalls_at_any_stage_is_left_when_its_time_is_over",
    ),
    ("resolv_conf", "crates/dns/src/settings.rs", "the_options_lead_to_the_servers"),
    ("retry_interval", "crates/queue/src/options.rs", "retry_options_are_resolved_for_a_queue"),
    (
        "retry_nonexistent_domains",
        "crates/delivery/tests/simulation/lookups.rs",
        "mail_for_a_domain_that_does_not_exist_waits_where_the_operator_wants_that",
    ),
    (
        "rfc2822_lone_lf_in_body",
        "crates/reception/tests/esmtp/conformance.rs",
        "a_lone_cr_or_lf_is_refused_or_becomes_a_line_end",
    ),
    (
        "rfc2822_lone_lf_in_headers",
        "crates/reception/tests/esmtp/conformance.rs",
        "a_lone_cr_or_lf_is_refused_or_becomes_a_line_end",
    ),
    ("rfc2822_max_line_length", "crates/reception/tests/esmtp/conformance.rs", "a_long_line_is_refused_broken_or_left"),
    (
        "rfc2822_max_line_length_policy",
        "crates/reception/tests/esmtp/conformance.rs",
        "a_long_line_is_refused_broken_or_left",
    ),
    (
        "rfc2822_messageid_header",
        "crates/reception/tests/esmtp/messages.rs",
        "without_trace_headers_a_message_is_kept_as_it_came",
    ),
    (
        "migrate_connections_between_sibling_domains",
        "crates/delivery/tests/simulation/limits.rs",
        "an_idle_connection_takes_the_mail_of_siblings_and_they_open_none",
    ),
    (
        "rset_timeout",
        "crates/delivery/tests/simulation/main.rs",
        "a_host_that_stalls_at_any_stage_is_left_when_its_time_is_over",
    ),
    (
        "scope_max_outbound_connections",
        "crates/delivery/tests/simulation/limits.rs",
        "scope_max_outbound_connections_is_one_total_for_all_that_falls_back_to_it",
    ),
    (
        "server_max_file_descriptors",
        "tests/e2e/tests/inbound_resources.rs",
        "the_limit_of_descriptors_is_raised_as_far_as_it_is_asked_and_allowed",
    ),
    (
        "server_max_outbound_connections",
        "crates/delivery/tests/simulation/limits.rs",
        "a_binding_has_a_limit_of_its_own",
    ),
    (
        "server_reserve_outbound_connections",
        "crates/delivery/tests/simulation/limits.rs",
        "the_servers_limit_leaves_a_reserve_to_queues_without_a_connection",
    ),
    ("skip_hosts", "tests/e2e/tests/routing.rs", "prohibited_hosts_fail_the_domain_and_skipped_hosts_are_passed_over"),
    (
        "spool_backend",
        "tests/e2e/tests/spool_backends.rs",
        "killed_at_random_moments_under_load_no_back_end_loses_anything",
    ),
    ("spool_segment_bytes", "tests/e2e/tests/crash.rs", "killed_at_every_named_point_of_the_spool_it_loses_nothing"),
    (
        "spoolbase",
        "tests/e2e/tests/damaged_spool.rs",
        "a_second_daemon_on_the_same_spool_is_refused_and_told_who_owns_it",
    ),
    (
        "supplemental_groups",
        "tests/e2e/tests/inbound_security.rs",
        "started_as_root_it_becomes_the_user_on_every_thread_and_owns_what_it_writes",
    ),
    ("suspend_delivery", "tests/e2e/tests/reload.rs", "a_reload_lets_suspended_mail_go"),
    (
        "swap_out_meta_after_each_tempfail",
        "crates/delivery/tests/simulation/residency.rs",
        "the_retry_state_is_written_unless_that_is_turned_off_and_counts_either_way",
    ),
    ("timeout", "tests/e2e/tests/iowrap_logs.rs", "options_of_the_modules_are_known_and_the_modules_listed"),
    ("trace_smtp_mode", "tests/e2e/tests/console_reports.rs", "a_dialogue_with_a_host_is_recorded_in_a_file"),
    ("transform_8bitmime_content", "crates/delivery/tests/simulation/eight_bit.rs", "with_no_content_goes_as_it_is"),
    ("use_ipv6", "crates/dns/tests/lookups.rs", "ipv6_is_asked_for_only_when_wanted"),
    (
        "user",
        "tests/e2e/tests/inbound_security.rs",
        "started_as_root_it_becomes_the_user_on_every_thread_and_owns_what_it_writes",
    ),
    (
        "warning",
        "tests/e2e/tests/logging.rs",
        "trouble_with_the_dns_is_in_the_paniclog_at_once_unless_that_is_turned_off",
    ),
];

/// Options that code reads and whose effect no test of this tree sees yet.
const NOT_PROVEN: &[&str] = &[
    "backlog",
    "compress",
    "connect_timeout_to_delay",
    "connection_allocation_aggressiveness",
    "critical",
    "debug",
    "dirmode",
    "disable_nagle_algorithm",
    "error",
    "error_mode",
    "filemode",
    "force_fsync",
    "importlog_mode",
    "info",
    "keep_message_dicts_in_memory",
    "listen_backlog",
    "lmtp_port",
    "log_errors",
    "maintainer_pool",
    "max_dns_ttl",
    "max_session_time",
    "memory_goal",
    "output_mode",
    "read_only",
    "spool_mode",
    "spool_unlink_backlog",
    "spool_waiting_bytes",
    "stack_size",
    "tcp_recv_buffer_size",
    "tcp_send_buffer_size",
    "timestampformat",
    "unlink_on_spool_in_failure",
    "watchdog_interval",
];

/// What the daemon says is in effect and what the lists of this file say are the same, and every test that is named is there.
#[test]
fn every_option_in_effect_is_proven_here_or_elsewhere_or_said_not_to_be() {
    let daemon = daemon("").start();
    let described = ask_json(&daemon, &["config", "options", "in effect"]);
    let described = described["options"].as_array().expect("a list");
    let in_effect: BTreeSet<&str> = described
        .iter()
        .filter(|one| one["kind"] == "option" && one["state"] == "in effect")
        .filter_map(|one| one["name"].as_str())
        .collect();
    assert!(100 < in_effect.len(), "{in_effect:?}");
    let rows = INBOUND.iter().map(|row| row.option).chain(OUTBOUND.iter().map(|row| row.option));
    let here: BTreeSet<&str> = rows.chain(ALSO_LIVE.iter().copied()).collect();
    let elsewhere: BTreeSet<&str> = PROVEN_ELSEWHERE.iter().map(|(option, ..)| *option).collect();
    let not: BTreeSet<&str> = NOT_PROVEN.iter().copied().collect();
    let listed: BTreeSet<&str> = here.iter().chain(&elsewhere).chain(&not).copied().collect();
    let new: Vec<_> = in_effect.difference(&listed).collect();
    assert!(new.is_empty(), "in effect, and in no list of this file: add a row, or the test that sees it: {new:?}");
    let gone: Vec<_> = listed.difference(&in_effect).collect();
    assert!(gone.is_empty(), "listed, and not in effect: {gone:?}");
    let twice: Vec<_> = here
        .iter()
        .filter(|option| elsewhere.contains(*option))
        .chain(elsewhere.union(&here).filter(|option| not.contains(*option)))
        .collect();
    assert!(twice.is_empty(), "in two lists: {twice:?}");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for (option, file, test) in PROVEN_ELSEWHERE {
        let text = std::fs::read_to_string(root.join(file)).unwrap_or_else(|error| panic!("{option}: {file}: {error}"));
        assert!(text.contains(&format!("fn {test}(")), "{option}: there is no test {test} in {file}");
    }
}
