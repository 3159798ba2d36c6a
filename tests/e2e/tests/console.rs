//! What an operator types into `ec_console`, and the shapes scripts have learned to read.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use e2e::{MAILDIR, SOON, accept, ask, ask_json, binary, daemon, figure, letter, testimony, wait, wait_for_lines};
use testkit::{Daemon, Ended, Sink, free_addr};

/// A daemon with one delivered message (`here.test`) and one delayed one (`shop.test` through the sink), and the delayed
/// message's id and routing domain.
fn start() -> (Daemon, Sink, String, String) {
    let sink = Sink::start();
    sink.on("RCPT", "452 4.2.2 mailbox full");
    let queue = sink.addr().to_string();
    let daemon = daemon(&format!("{MAILDIR}domain \"shop.test\" {{ gateway = \"{queue}\" }}")).start();
    accept(&daemon, "ann@client.test", &["bob@here.test"], &letter("delivered"));
    wait_for_lines(&daemon, "D", 1);
    accept(&daemon, "ann@client.test", &["bob@shop.test"], &letter("delayed"));
    let id = wait_for_lines(&daemon, "T", 1)[0][1].clone();
    wait(&daemon, "one message is delayed", || {
        let summary = ask_json(&daemon, &["summary"]);
        summary["DelayedQueueSize"] == 1 && summary["TotalQueueSize"] == 1
    });
    (daemon, sink, id, queue)
}

/// Expects a failure and returns what was said on standard error.
fn refused(daemon: &Daemon, words: &[&str]) -> String {
    let Ended { status, stdout, stderr } = daemon.console(words);
    assert_eq!(status.code(), Some(1), "{words:?}: {stdout}{stderr}");
    assert_eq!(stdout, "", "{words:?}: a failure goes to standard error");
    assert!(!stderr.trim().is_empty(), "{words:?}");
    stderr
}

/// The labels of lines `label: value`, in order.
fn labels(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| Some(line.split_once(':')?.0.trim())).collect()
}

#[test]
fn summary_has_its_lines_in_the_documented_order() {
    let (daemon, ..) = start();
    let summary = ask(&daemon, &["summary"]);
    assert_eq!(summary.lines().next(), Some("Summary Statistics"));
    assert!(
        summary.lines().skip(1).all(|line| line.starts_with("        ") && !line.starts_with("         ")),
        "{summary}"
    );
    assert_eq!(
        labels(&summary),
        [
            "Outbound Concurrency",
            "Inbound Concurrency",
            "Active Domains",
            "Active Queue Size",
            "Delayed Queue Size",
            "Total Queue Size",
            "DNS Resolver",
            "DNS A Queries",
            "DNS A Timeouts",
            "DNS AAAA Queries",
            "DNS AAAA Timeouts",
            "DNS MX Queries",
            "DNS MX Timeouts",
            "DNS TXT Queries",
            "DNS TXT Timeouts",
            "Pending DNS Queries",
            "Query Rate",
            "DNS Response Time Peak",
            "DNS Response Time Average",
            "DNS Rate Limiter",
            "Successfully Delivered Messages",
            "Failed Messages",
            "Rejected Messages",
            "Received Messages",
            "Delivery Rate",
            "Reception Rate",
            "Statistics Last Reset",
            "Uptime",
            // Not documented, and so the last: without it nobody sees that mail is being delayed.
            "Transient Failures",
        ]
    );
    assert_eq!(figure(&summary, "Received Messages"), "2");
    assert_eq!(ask_json(&daemon, &["summary"])["TransientFailures"], 1);
}

#[test]
fn summary_reset_starts_the_totals_anew_and_leaves_the_queues() {
    let (daemon, ..) = start();
    assert_eq!(ask(&daemon, &["summary", "reset"]), "statistics cleared.\n");
    let summary = ask(&daemon, &["summary"]);
    for (label, value) in
        [("Received Messages", "0"), ("Successfully Delivered Messages", "0"), ("Delayed Queue Size", "1")]
    {
        assert_eq!(figure(&summary, label), value, "{summary}");
    }
}

#[test]
fn domains_are_listed_by_what_they_hold() {
    let (daemon, _sink, _, queue) = start();
    let delayed = ask(&daemon, &["delayed", "0"]);
    let row = |connections: &str, name: &str, delayed: &str, delivered: &str| {
        format!("Domain: {name:>30}  C: {connections:>2}  A:      0  D: {delayed:>5}  S: {delivered:>5}")
    };
    let lines: Vec<&str> = delayed.lines().collect();
    let [line, total] = lines[..] else { panic!("{delayed}") };
    assert!([row("0", &queue, "1", "0"), row("1", &queue, "1", "0")].contains(&line.to_owned()), "{delayed}");
    assert!(
        total.trim_start().starts_with("Total:  C: ") && total.ends_with("A:      0  D:     1  S:     1"),
        "{delayed}"
    );
    assert_eq!(ask(&daemon, &["delayed", "1"]).lines().count(), 1, "strictly more than N");
    assert_eq!(ask(&daemon, &["active", "0"]).lines().count(), 1);

    let all = ask(&daemon, &["domain", "all"]);
    assert!(all.starts_with("Domain summary:\n") && all.contains(&row("0", "here.test", "0", "1")), "{all}");
    assert!(
        all.lines().last().is_some_and(|line| line.starts_with("Totals: C: ") && line.ends_with(" A: 0 D: 1 S: 1")),
        "{all}"
    );
    assert_eq!(ask(&daemon, &["domains"]), all);
    assert_eq!(ask_json(&daemon, &["delayed", "0"])["domains"][0]["domain"], *queue);
}

#[test]
fn a_domain_shows_its_configuration_hosts_and_queue() {
    let (daemon, _sink, _, queue) = start();
    let report = ask(&daemon, &["domain", &queue]);
    assert!(report.contains(&format!("Domain '{queue}' ")) && report.contains("127.0.0.1"), "{report}");
    let queue_part = report.split_once("Queue:\n").unwrap_or_else(|| panic!("{report}")).1;
    assert_eq!(
        labels(queue_part)[..5],
        ["Active", "Delayed", "Deliveries", "Failures", "Active Connections"],
        "{report}"
    );
    assert_eq!(figure(queue_part, "Delayed"), "1");
    assert_eq!(ask_json(&daemon, &["domain", &queue])["delayed"], 1);
    let local = ask(&daemon, &["domain", "here.test"]);
    assert!(local.to_lowercase().starts_with("domain \"here.test\" {\n") && local.contains("maildir"), "{local}");
    assert!(
        local.contains("\nDomain 'here.test' is delivered into ") && local.contains("/maildir/%{domain}/"),
        "{local}"
    );
    assert_eq!(figure(&local, "Deliveries"), "1");
    let gated = ask(&daemon, &["domain", "shop.test"]);
    let pointer = format!("\nDomain 'shop.test' has the gateway {queue}, its mail is under: domain {queue}\n");
    assert!(gated.contains(&pointer), "{gated}");
}

#[test]
fn mailq_lists_queues_biggest_first_and_can_be_narrowed() {
    let (daemon, _sink, _, queue) = start();
    let mailq = ask(&daemon, &["mailq"]);
    let lines: Vec<&str> = mailq.lines().collect();
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words(lines[0]), ["Group/Binding", "Domain", "AQ", "DQ"]);
    assert!(lines[1].chars().all(|c| c == '-'), "{mailq}");
    assert_eq!(words(lines[2]), ["default/default", &queue, "0", "1", "for", "shop.test", "1"]);
    assert_eq!(lines.len(), 3, "{mailq}");
    let unknown = "\nNo queue is known for other.test: no mail waits there.\n";
    assert!(ask(&daemon, &["mailq", "-d", "other.test"]).ends_with(unknown));
    assert_eq!(ask(&daemon, &["mailq", "--domain", &queue, "--limit", "5"]).lines().count(), 3);
    let json = ask_json(&daemon, &["mailq"]);
    assert_eq!((&json["QueueSummary"][0]["dq"], &json["QueueSummary"][0]["domain"]), (&1.into(), &queue.into()));
}

#[test]
fn message_details_show_the_envelope_the_text_or_both() {
    let (daemon, _sink, id, _) = start();
    let metadata = ask(&daemon, &["message", "details", &id]);
    assert_eq!(
        labels(&metadata),
        [
            "Message",
            "Message Type",
            "Created",
            "Next Attempt",
            "Retries",
            "Received Via",
            "Sender",
            "Recipient",
            "Code",
            "Size"
        ],
        "{metadata}"
    );
    assert!(
        metadata.starts_with(&format!("Message: {id}\nMessage Type: full message\n               Created: 2")),
        "{metadata}"
    );
    for (label, value) in [
        ("Retries", "1"),
        ("Received Via", "SMTP 127.0.0.1 (IPv4)"),
        ("Sender", "ann@client.test"),
        ("Recipient", "bob@shop.test"),
        ("Code", "452 4.2.2 mailbox full"),
    ] {
        assert_eq!(figure(&metadata, label), value);
    }
    let body = ask(&daemon, &["message", "details", "body", &id]).replace("\r\n", "\n");
    assert!(body.starts_with("Return-Path: <ann@client.test>\n") && body.ends_with(&letter("delayed")), "{body}");
    let full = ask(&daemon, &["message", "details", "full", &id]).replace("\r\n", "\n");
    assert!(full.starts_with("Message: ") && full.ends_with(&letter("delayed")), "{full}");
    assert!(ask_json(&daemon, &["message", "details", &id]).is_object());

    assert!(refused(&daemon, &["message", "details", "10/00-00001-00000001"]).contains("10/00-00001-00000001"));
    refused(&daemon, &["message", "details", "no-id"]);
}

#[test]
fn flush_and_fail_say_how_many_messages_they_touched() {
    let (daemon, sink, _, queue) = start();
    let told = ask(&daemon, &["flush", "domain", "other.test"]);
    let unknown = "No queue is known for other.test: no mail waits there.\n";
    assert_eq!(told, format!("other.test flushed.  0 messages requeued.\n{unknown}"));
    assert_eq!(ask(&daemon, &["flush", "domain", "all"]), "All domains flushed.  1 messages requeued.\n");
    wait_for_lines(&daemon, "T", 2);
    wait(&daemon, "it is delayed again", || ask_json(&daemon, &["delayed", "0"])["total"]["delayed"] == 1);
    assert_eq!(ask_json(&daemon, &["fail", "domain", "quiet", &queue])["failed"], 1);
    wait_for_lines(&daemon, "P", 1);
    assert_eq!(ask(&daemon, &["fail", "domain", &queue]), format!("{queue} purged. 0 messages failed.\n"));
    assert_eq!(sink.count(), 0);
}

#[test]
fn the_configuration_can_be_read_in_every_form() {
    let (daemon, _sink, _, queue) = start();
    assert_eq!(
        ask(&daemon, &["config", "get", "domain", "shop.test", "gateway"]).to_lowercase(),
        format!("gateway = \"{queue}\"\n")
    );
    assert_eq!(
        ask(&daemon, &["config", "get", "retry_interval"]).to_lowercase(),
        "option 'retry_interval' is not set in scope ''.\n"
    );
    assert_eq!(ask(&daemon, &["config", "eval", "retry_interval"]).to_lowercase(), "retry_interval = 1200\n");
    let of_domain = ask(&daemon, &["config", "eval", "domain", "shop.test", "retry_interval"]).to_lowercase();
    let of_gateway =
        format!("retry_interval = 1200\n  of domain \"{queue}\": the mail of shop.test goes under its gateway (");
    assert!(of_domain.starts_with(&of_gateway), "{of_domain}");
    let shown = ask(&daemon, &["config", "show", "domain", "shop.test"]).to_lowercase();
    assert!(shown.contains("gateway") && shown.contains(&queue), "{shown}");
    let all = ask(&daemon, &["config", "show"]).to_lowercase();
    assert!(all.contains("hostname = \"relay.test\"") && all.contains("{ ... }"), "{all}");
    assert_eq!(ask_json(&daemon, &["config", "eval", "retry_interval"])["value"], 1200);

    assert!(refused(&daemon, &["config", "eval", "retry_intervall"]).to_lowercase().contains("retry_interval"));
    refused(&daemon, &["config", "show", "domain", "nosuch.test"]);
}

#[test]
fn a_reload_of_the_same_file_changes_nothing() {
    let (daemon, ..) = start();
    assert!(!ask(&daemon, &["config", "reload"]).trim().is_empty());
    assert_eq!(figure(&ask(&daemon, &["summary"]), "Delayed Queue Size"), "1");
    assert!(ask_json(&daemon, &["config", "reload"]).is_object());
}

#[test]
fn the_process_tells_about_itself() {
    let (daemon, ..) = start();
    let pid = ask(&daemon, &["pid"]);
    assert_eq!(pid, daemon.read("pid"), "as in the pidfile");
    assert_eq!(ask_json(&daemon, &["pid"])["pid"].to_string(), pid.trim());
    let version = ask(&daemon, &["version"]);
    assert!(version.starts_with("Postrider ") && version.contains(env!("CARGO_PKG_VERSION")), "{version}");

    let threads = ask(&daemon, &["threads", "stats"]);
    for pool in
        ["CPU thread pool: concurrency 4", "IO thread pool: concurrency 50", "SWAPIN thread pool: concurrency 5"]
    {
        assert!(threads.lines().any(|line| line == pool), "{pool:?} is missing in:\n{threads}");
    }
    // The message for the Maildir was written in the IO pool.
    assert!(
        threads.contains("               Total invocations: ") && threads.contains("  [inactive threads]\n"),
        "{threads}"
    );
    assert_eq!(ask(&daemon, &["threads"]).lines().next(), threads.lines().next());
    assert!(ask_json(&daemon, &["threads", "stats"])["pools"].as_array().is_some_and(|pools| 7 < pools.len()));

    let memory = ask(&daemon, &["memory"]);
    for head in
        ["memory type", "buf size", "active objects", "peak objects", "allocd objects", "current bytes", "mmap count"]
    {
        assert!(memory.contains(head), "{head:?} is missing in:\n{memory}");
    }
    assert!(memory.lines().any(|line| line.starts_with("RSS: ") && line.ends_with('%')), "{memory}");
    assert!(memory.lines().any(|line| line.starts_with("System RSS: ")), "{memory}");
    assert!(ask_json(&daemon, &["memory"])["system_rss"].as_u64().is_some_and(|bytes| 1_000_000 < bytes));
}

#[test]
fn help_lists_every_command_and_explains_each() {
    let (daemon, ..) = start();
    let help = ask(&daemon, &["help"]);
    for command in [
        "help",
        "version",
        "pid",
        "summary",
        "summary reset",
        "domain NAME",
        "active N",
        "delayed N",
        "mailq",
        "message details",
        "flush domain",
        "fail domain",
        "config get",
        "config eval",
        "config show",
        "config reload",
        "reopen logs",
        "threads",
        "memory",
        "shutdown",
    ] {
        assert!(help.lines().any(|line| line.starts_with(command)), "{command:?} is missing in:\n{help}");
    }
    let one = ask(&daemon, &["help", "flush", "domain"]);
    assert!(one.starts_with("usage: flush domain "), "{one}");
    assert!(ask_json(&daemon, &["help"]).is_array());
    assert!(refused(&daemon, &["help", "flsh"]).contains("flush domain"));
}

#[test]
fn a_wrong_command_is_refused_with_what_was_probably_meant() {
    let (daemon, ..) = start();
    assert!(refused(&daemon, &["sumary"]).contains("summary"));
    assert!(refused(&daemon, &["mailqq"]).contains("mailq"));
    let incomplete = refused(&daemon, &["flush"]);
    assert!(incomplete.contains("incomplete") && incomplete.contains("flush domain NAME|all"), "{incomplete}");
    assert!(refused(&daemon, &["delayed", "many"]).contains("usage: delayed N"));
    assert!(refused(&daemon, &["pid", "please"]).contains("usage: pid"));
    let Ended { status, stdout, .. } = daemon.console(&["sumary", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}"));
    assert!(json.is_object() && status.code() == Some(1), "{stdout}");
}

#[test]
fn commands_come_from_the_arguments_or_from_standard_input() {
    let (daemon, ..) = start();
    assert_eq!(ask(&daemon, &["config eval retry_interval"]), ask(&daemon, &["config", "eval", "retry_interval"]));

    let console = binary("ec_console");
    let fed = |lines: &str| {
        let mut child = Command::new(&console)
            .arg(daemon.value("control"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("ec_console runs");
        child.stdin.take().expect("a pipe").write_all(lines.as_bytes()).expect("ec_console reads");
        child.wait_with_output().expect("a child of ours can be waited for")
    };
    let pid = daemon.read("pid");
    let good = fed("# two commands\n\npid\nversion\n");
    assert!(good.status.success(), "{good:?}");
    assert_eq!(String::from_utf8_lossy(&good.stdout), format!("{pid}{}", ask(&daemon, &["version"])));
    let mixed = fed("nonsense\npid\n");
    assert_eq!(mixed.status.code(), Some(1), "one failed");
    assert_eq!(String::from_utf8_lossy(&mixed.stdout), pid, "and the others ran all the same");
    assert_eq!(fed("pid\nquit\nnonsense\n").status.code(), Some(0), "quit ends");
}

#[test]
fn a_console_without_a_daemon_says_where_it_looked() {
    let nowhere = tempfile::tempdir().expect("a scratch directory");
    let socket = nowhere.path().join("control.sock");
    let ended = testkit::run(Command::new(binary("ec_console")).arg(&socket).arg("pid"));
    assert_eq!(ended.status.code(), Some(2), "{ended:?}");
    assert!(ended.stderr.contains(&socket.display().to_string()), "{}", ended.stderr);
}

#[test]
fn shutdown_ends_the_daemon_in_order() {
    let (mut daemon, ..) = start();
    assert_eq!(ask(&daemon, &["shutdown"]), "Shutting down.\n");
    let status = daemon.wait(SOON).unwrap_or_else(|| panic!("still running\n{}", testimony(&daemon)));
    assert_eq!(status.code(), Some(0), "{}", testimony(&daemon));
    assert!(!daemon.dir().join("pid").exists(), "the pidfile is gone");
}

#[test]
fn control_sockets_have_the_mode_that_is_asked_for() {
    let daemon = daemon("Control_Listener { Listen \"@dir@/narrow\" { File_Mode = 0600 } }").start();
    let narrow = daemon.dir().join("narrow");
    let Ended { status, stdout, stderr } = testkit::run(Command::new(binary("ec_console")).arg(&narrow).arg("pid"));
    assert!(status.success(), "{stderr}");
    assert_eq!(stdout, daemon.read("pid"));
    let mode = |path: &Path| std::fs::metadata(path).map(|file| file.permissions().mode() & 0o777).ok();
    assert_eq!(mode(&narrow), Some(0o600));
    assert_eq!(mode(Path::new(daemon.value("control"))), Some(0o660));
}

#[test]
fn a_console_open_to_the_network_is_refused_while_it_has_no_authentication() {
    let mut daemon = daemon("Control_Listener { Listen \"@tcp@\" { } }").set("tcp", free_addr()).prepare();
    daemon.spawn();
    let status = daemon.wait(SOON).unwrap_or_else(|| panic!("it runs\n{}", testimony(&daemon)));
    assert!(!status.success());
    let said = daemon.stderr();
    assert!(said.contains(daemon.value("tcp")) && said.contains("no authentication"), "{said}");
}
