//! What the logs promise to those who read them with programs.

use std::os::unix::fs::PermissionsExt as _;

use e2e::{
    MAILDIR, Names, SOON, accept, ask, bouncelog, configuration, daemon, letter, log_lines, mainlog, wait,
    wait_for_lines,
};
use testkit::{Daemon, Sink};

/// A daemon whose base configuration is changed before it starts.
fn start(change: impl Fn(String) -> String) -> Daemon {
    let mut daemon = daemon("").prepare();
    daemon.write_config(&change(configuration(MAILDIR, "")));
    daemon.start();
    daemon
}

#[test]
fn heartbeats_keep_their_type_in_the_fifth_field() {
    let daemon = start(|text| text.replace("heartbeat = 0", "heartbeat = 1"));
    wait(&daemon, "a heartbeat in each log", || {
        let beats = |name: &str| daemon.read(&format!("log/{name}")).ends_with('\n');
        ["mainlog.ec", "bouncelog.ec", "rejectlog.ec"].into_iter().all(beats)
    });
    for name in ["mainlog.ec", "bouncelog.ec"] {
        let beat = log_lines(&daemon, name).remove(0);
        assert_eq!(beat[1..], ["", "", "", "M1"], "{name}");
        assert!(beat[0].parse::<u64>().is_ok(), "{name}");
    }
    let marker = daemon.read("log/rejectlog.ec");
    assert!(marker.lines().next().is_some_and(|line| line.ends_with(": Marker 1")), "{marker}");
}

#[test]
fn receptions_can_be_left_out_of_the_mainlog() {
    let daemon = start(|text| text.replacen("heartbeat = 0", "heartbeat = 0\n  log_receptions = false", 1));
    accept(&daemon, "ann@client.test", &["bob@here.test"], &letter("unheard"));
    wait_for_lines(&daemon, "D", 1);
    assert_eq!(daemon.read("log/mainlog.ec").lines().count(), 1);
}

/// Dots that stuffing added, and the line that ends a message on its way, are no part of it (RFC 1870 2).
#[test]
fn each_size_is_that_of_the_message_as_a_receiver_counts_it() {
    let sink = Sink::start();
    let daemon = daemon(&format!("{MAILDIR}domain \"sink.test\" {{ gateway = \"{}\" }}\n", sink.addr())).start();
    let text = "Subject: dots\r\n\r\n.one\r\n..two\r\n...\r\nlast\r\n";
    let newest = |kind: &str, n: usize, field: usize| wait_for_lines(&daemon, kind, n)[n - 1][field].clone();
    accept(&daemon, "ann@client.test", &["bob@sink.test"], text);
    let size = sink.wait_for(1, SOON)[0].body.len().to_string();
    assert_eq!((newest("R", 1, 10), newest("D", 1, 6)), (size.clone(), size.clone()));
    assert_eq!(
        sink.messages()[0].parameters.iter().find(|word| word.starts_with("SIZE=")),
        Some(&format!("SIZE={size}"))
    );
    accept(&daemon, "ann@client.test", &["bob@here.test"], text);
    let received = newest("R", 2, 10);
    assert_eq!(newest("D", 2, 6), received, "a mailbox counts alike");
    sink.on("RCPT", "550 5.1.1 no such user");
    accept(&daemon, "ann@client.test", &["bob@sink.test"], text);
    wait(&daemon, "a bounce is logged", || !bouncelog(&daemon, "B").is_empty());
    // The field before the address of the host.
    assert_eq!(bouncelog(&daemon, "B")[0][13], mainlog(&daemon, "R")[2][10]);
}

#[test]
fn stamps_can_have_microseconds() {
    let daemon = start(|text| text + "log_hires_timestamp = true\n");
    accept(&daemon, "ann@client.test", &["bob@here.test"], &letter("precisely"));
    let received = wait_for_lines(&daemon, "R", 1);
    assert_eq!(received[0][0].len(), 16, "{received:?}");
}

#[test]
fn logs_are_made_with_the_mode_that_is_asked_for() {
    let daemon = start(|text| text.replacen("heartbeat = 0", "heartbeat = 0\n  mainlog_mode = 0600", 1));
    let mode = |name: &str| {
        std::fs::metadata(daemon.dir().join("log").join(name)).map(|file| file.permissions().mode() & 0o777)
    };
    wait(&daemon, "the logs are there", || mode("mainlog.ec").is_ok() && mode("bouncelog.ec").is_ok());
    assert_eq!(mode("mainlog.ec").ok(), Some(0o600));
}

#[test]
fn separators_in_addresses_cannot_be_taken_for_separators_of_the_log() {
    let daemon = start(|text| text);
    accept(&daemon, "\"a@b\\\\c\"@client.test", &["\"x@y\"@here.test"], &letter("odd names"));
    wait(&daemon, "a line R", || daemon.read("log/mainlog.ec").contains("@R@"));
    let line = daemon.read("log/mainlog.ec").lines().next().unwrap_or_default().to_owned();
    assert!(line.contains("\\@") && line.ends_with("@esmtp@default@default"), "{line}");
    // A backslash takes the meaning from the octet behind it; what is left are the separators.
    let mut separators = 0;
    let mut octets = line.bytes();
    while let Some(octet) = octets.next() {
        match octet {
            b'\\' => drop(octets.next()),
            b'@' => separators += 1,
            _ => {}
        }
    }
    assert_eq!(separators, 13, "{line}");
}

#[test]
fn trouble_with_the_dns_is_in_the_paniclog_at_once_unless_that_is_turned_off() {
    let names = Names::start("shop.test A 127.0.0.1");
    names.server.behave("*", testkit::dns::Behaviour::ServFail);
    for (more, told) in [("", true), ("Debug_Flags { WARNING = ( ) }", false)] {
        let daemon = daemon(more).set("resolv_conf", names.resolv_conf()).start();
        accept(&daemon, "ann@client.test", &["bob@shop.test"], &letter("to a broken zone"));
        let failed = || {
            ask(&daemon, &["meters"]).lines().any(|line| line.starts_with("dns.failures ") && line != "dns.failures 0")
        };
        wait(&daemon, "a lookup that failed", failed);
        let says =
            || daemon.read("log/paniclog.ec").contains("no host for mail to shop.test: lookup of shop.test MX failed");
        if told {
            wait(&daemon, "the paniclog names the domain", says);
        }
        assert_eq!(says(), told);
    }
}

/// What ends a line for some reader, turns it for another, or is obeyed by a terminal.
const HOSTILE: &str = "550 5.1.1 no\u{85}forged@line\u{2028}and\u{2029}more\u{9b}31m \u{feff}\u{202e}gone Bo\u{ee}te";

#[test]
fn a_reply_that_holds_line_separators_stays_one_line_in_every_log_listing_and_notification() {
    let (shop, client) = (Sink::start(), Sink::start());
    shop.on("RCPT", HOSTILE).to("gone@*");
    shop.on("RCPT", HOSTILE.replacen("550 5", "450 4", 1).as_str()).to("later@*");
    let more = format!("domain \"shop.test\" {{ gateway = \"{}\" }}\ngateway = \"{}\"\n", shop.addr(), client.addr());
    let daemon = daemon(&more).start();
    accept(&daemon, "ann@client.test", &["gone@shop.test", "later@shop.test"], &letter("hostile"));
    let notification = client.wait_for(1, SOON).remove(0);
    assert!(notification.body.is_ascii(), "{}", notification.text());
    wait_for_lines(&daemon, "T", 1);
    wait_for_lines(&daemon, "P", 1);
    let mainlog = daemon.read("log/mainlog.ec");
    let (failure, notified) = (mainlog.find("@P@"), mainlog.find("@internal@"));
    assert!(failure.is_some() && failure < notified, "a notification comes behind its cause: {mainlog}");
    let said = " no forged@line and more 31m   gone Bo\u{ee}te";
    for (name, lines) in [("mainlog.ec", 2), ("bouncelog.ec", 2)] {
        let told = || daemon.read(&format!("log/{name}")).matches(said).count();
        wait(&daemon, "both failures are told", || told() == lines);
        assert_one_line_each(&daemon.read(&format!("log/{name}")));
    }
    let message = wait_for_lines(&daemon, "T", 1)[0][1].clone();
    for words in [&["message", "details", &message][..], &["message", "details", &message, "--json"]] {
        let shown = ask(&daemon, words);
        assert!(shown.contains("forged@line"), "{shown}");
        assert_one_line_each(&shown);
    }
}

/// Every line ends where LF does, for readers that split at Unicode's separators too.
fn assert_one_line_each(text: &str) {
    let ends = |c: char| c != '\n' && (c.is_control() || "\u{2028}\u{2029}\u{feff}\u{202e}".contains(c));
    assert!(!text.contains(ends), "{text:?}");
}
