//! What stays in memory and what does not, on the real daemon: the marks of memory under load, the limits on resident mail,
//! and that nothing is lost or changed by leaving memory.
//!
//! The daemon runs under prlimit(1): what `ulimit -m` allows is the whole that the marks are shares of. The kernel does not
//! enforce it, the daemon measures against it.

use std::collections::BTreeMap;

use e2e::{
    SOON, accept, ask, ask_json, binary, block_on, configuration, daemon, letter, log_lines, program, testimony, wait,
};
use testkit::{Action, Daemon, DaemonSetup, Dialogue, Sink};

/// A daemon that may have so many bytes of memory, with these lines at the end of its configuration.
fn limited(bytes: u64, more: &str) -> DaemonSetup {
    let daemon = binary("postriderd").display().to_string();
    let arguments = [&format!("--rss={bytes}"), &daemon, "-d", "-c", "@config@"];
    DaemonSetup::new(program("prlimit", "util-linux"), &configuration(more, ""))
        .console(binary("ec_console"))
        .set("resolv_conf", "/dev/null")
        .arguments(&arguments.map(|argument| argument as &str))
}

/// Configuration lines: all mail goes to `sink`, and stays active while that is dead.
fn to(sink: &Sink) -> String {
    format!(
        "gateway = \"{}\"\nhost_failure_retry = 1\nmx_failures_to_delay = 0\nconnect_timeout_to_delay = 1000\n\
         mail_queue_check_vm_interval = 1\n",
        sink.addr()
    )
}

/// Octets that one owner of memory is charged with.
fn held(daemon: &Daemon, owner: &str) -> u64 {
    let answer = ask_json(daemon, &["memory", owner]);
    let of_owner = &answer["variable"][0];
    assert_eq!(of_owner["type"], owner, "{answer}");
    of_owner["current_bytes"].as_u64().expect("a number")
}

/// Messages in memory with their body.
fn resident(daemon: &Daemon) -> u64 {
    ask_json(daemon, &["summary"])["ResidentMessages"].as_u64().expect("a number")
}

fn memory(daemon: &Daemon, figure: &str) -> u64 {
    ask_json(daemon, &["memory"])[figure].as_u64().expect("a number")
}

/// A message of about `octets`, no two of them alike.
fn long_letter(number: usize, octets: usize) -> String {
    let line =
        format!("line of message {number:05}, which no other message has, to see that each arrives as it came\n");
    letter(&format!("message {number}")) + &line.repeat(octets / line.len())
}

/// Sends messages, each of which must be accepted.
fn flood(daemon: &Daemon, numbers: std::ops::Range<usize>, octets: usize) {
    block_on(async {
        let mut client = Dialogue::greeted(daemon.addr()).await;
        for number in numbers {
            let reply = client.mail("ann@client.test", &["bob@sink.test"], &long_letter(number, octets)).await;
            assert!(reply.starts_with("250 "), "message {number}: {reply}\n{}", testimony(daemon));
        }
        client.ask("QUIT", "221").await;
    });
}

/// Waits until the sink has every message of a flood once, as it was sent.
fn arrives_as_it_came(daemon: &Daemon, sink: &Sink, messages: usize, octets: usize) {
    wait(daemon, "all mail arrives", || messages <= sink.count());
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for message in sink.messages() {
        *seen.entry(message.header("Subject").unwrap_or_default()).or_default() += 1;
    }
    assert_eq!(seen.len(), messages);
    assert!(seen.values().all(|&times| times == 1), "{seen:?}");
    for message in sink.messages() {
        let number = message.header("Subject").and_then(|subject| subject.strip_prefix("message ")?.parse().ok());
        let sent = long_letter(number.expect("a number"), octets).replace('\n', "\r\n");
        assert!(message.body.ends_with(sent.as_bytes()), "message {number:?} is not as it was sent");
    }
}

/// Waits until nothing is charged for mail any more.
fn all_is_given_back(daemon: &Daemon) {
    for owner in ["bodies", "queue:envelopes", "queue:contexts", "reception:messages", "delivery:connections"] {
        wait(daemon, &format!("{owner} is charged with nothing"), || held(daemon, owner) == 0);
    }
}

#[test]
fn bodies_stay_below_memory_goal_and_every_message_arrives_as_it_came() {
    const OCTETS: usize = 100_000;
    const PORTION: usize = 100;
    let limits = "memory_goal = 4\nmemory_hwm = 90\nmax_resident_active_queue = -1\ndebug_flags {\n warning = ( \"MEMORY\" )\n}\n";
    let sink = Sink::start();
    sink.refuse_connections();
    // Goal 4 MB, high-water mark 90 MB.
    let daemon_limited = limited(100_000_000, &(to(&sink) + limits)).start();
    let mut unlimited = daemon(&(to(&sink) + "max_resident_active_queue = -1\n")).start();
    for portion in 0..5 {
        let numbers = portion * PORTION..(portion + 1) * PORTION;
        flood(&daemon_limited, numbers.clone(), OCTETS);
        flood(&unlimited, numbers, OCTETS);
        wait(&daemon_limited, "bodies leave memory", || held(&daemon_limited, "bodies") <= 4_000_000);
    }
    let all = (5 * PORTION * OCTETS) as u64;
    let (mine, others) = (daemon_limited.memory_bytes().0, unlimited.memory_bytes().0);
    println!("resident with 50 MB queued: {mine} with the goal, {others} without");
    assert!(all <= held(&unlimited, "bodies"), "without the goal all of it is in memory");
    assert!(mine + all / 2 < others, "{mine} against {others}");
    assert_eq!(memory(&unlimited, "bodies_dropped"), 0);
    // Bodies may have half of it, so that they never pass it.
    assert!(!daemon_limited.read("log/paniclog.ec").contains("over memory_goal"));

    unlimited.kill();
    sink.accept_connections();
    arrives_as_it_came(&daemon_limited, &sink, 5 * PORTION, OCTETS);
    all_is_given_back(&daemon_limited);
    wait(&daemon_limited, "memory is no longer short", || ask_json(&daemon_limited, &["memory"])["exceeded"] == "none");
    let blocked = ask(&daemon_limited, &["meters"]);
    let blocked: Vec<&str> = blocked.lines().filter(|line| line.contains("blocked")).collect();
    assert!(blocked.iter().all(|line| line.ends_with(" 0")), "no loop was held up: {blocked:?}");
}

/// Asks with MAIL, again and again, until the reply is of that kind: the marks are looked at now and then. The last reply.
async fn mail_until(client: &mut Dialogue, code: &str) -> String {
    let mut reply = String::new();
    for _ in 0..SOON.as_millis() / 50 {
        client.send("MAIL FROM:<ann@client.test>").await;
        reply = client.reply().await.unwrap_or_default();
        client.ask("RSET", "250").await;
        if reply.starts_with(code) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    reply
}

#[test]
fn large_mail_for_a_host_that_stalls_is_bounded_after_a_start_and_holds_up_no_other() {
    const OCTETS: usize = 4_000_000;
    const MESSAGES: usize = 40;
    let (sink, quick) = (Sink::start(), Sink::start());
    let more =
        format!("max_resident_bytes = 16000000\ndomain \"quick.test\" {{\n gateway = \"{}\"\n}}\n", quick.addr());
    let mut daemon = daemon(&(to(&sink) + &more)).start();
    sink.on("MAIL", Action::Stall);
    flood(&daemon, 0..MESSAGES, OCTETS);
    daemon.restart();
    let before = daemon.memory_bytes().0;
    wait(&daemon, "bodies are read", || 8_000_000 <= held(&daemon, "bodies"));
    accept(&daemon, "ann@client.test", &["bob@quick.test"], &long_letter(1, OCTETS));
    quick.wait_for(1, SOON);
    let (_, peak) = daemon.memory_bytes();
    let peak_of_bodies = ask_json(&daemon, &["memory", "bodies"])["variable"][0]["peak_bytes"].as_u64();
    println!(
        "{} bytes of mail: {peak} resident at most, {before} at first, bodies {peak_of_bodies:?}",
        OCTETS * MESSAGES
    );
    assert!(peak_of_bodies.is_some_and(|bytes| bytes <= 16_000_000 + 2 * OCTETS as u64), "{peak_of_bodies:?}");
    assert!(peak < 100_000_000, "{peak}");
    daemon.kill();
}

#[test]
fn messages_that_come_side_by_side_never_take_the_daemon_over_its_limit() {
    let sink = Sink::start();
    // As a control group of so little would be: all that comes here is more than that.
    const WHOLE: u64 = 100_000_000;
    let daemon = limited(WHOLE, &to(&sink)).start();
    let replies = block_on(async {
        let line = "a line of a message that takes long to come\r\n".repeat(1000);
        let mut clients = Vec::new();
        for _ in 0..10 {
            let mut client = Dialogue::greeted(daemon.addr()).await;
            client.ask("MAIL FROM:<ann@client.test>", "250").await;
            client.ask("RCPT TO:<bob@sink.test>", "250").await;
            client.ask("DATA", "354").await;
            client.send_raw(letter("slow").replace('\n', "\r\n").as_bytes()).await;
            clients.push(client);
        }
        for _ in 0..300 {
            for client in &mut clients {
                client.send_raw(line.as_bytes()).await;
            }
        }
        let mut replies = Vec::new();
        for client in &mut clients {
            client.send_raw(b".\r\n").await;
            replies.push(client.reply().await.unwrap_or_default());
        }
        replies
    });
    let (taken, refused): (Vec<_>, Vec<_>) = replies.iter().partition(|reply| reply.starts_with("250 2.0.0"));
    assert!(refused.iter().all(|reply| *reply == "452 4.3.1 insufficient system memory"), "{replies:?}");
    assert!(!taken.is_empty() && !refused.is_empty(), "{replies:?}");
    sink.wait_for(taken.len(), SOON);
    let (_, peak) = daemon.memory_bytes();
    assert!(peak < WHOLE, "{peak} bytes were resident");
    assert_eq!(ask(&daemon, &["meters"]).contains("reception.messages.without_memory 0\n"), false);
    all_is_given_back(&daemon);
}

#[test]
fn above_memory_hwm_mail_is_put_off_and_what_cannot_be_let_go_is_what_counts() {
    let sink = Sink::start();
    let daemon = limited(100_000_000, &(to(&sink) + "memory_goal = 10\nmemory_hwm = 20\n")).start();
    let pid = daemon.read("pid").trim().to_owned();
    let allow = |bytes: u64| {
        let limit = format!("--rss={bytes}:100000000");
        assert!(std::process::Command::new("prlimit").args(["--pid", &pid, &limit]).status().unwrap().success());
    };
    block_on(async {
        let mut waiting = Dialogue::greeted(daemon.addr()).await;
        let line = "a line of a message that takes long to come\r\n".repeat(1000);
        let mut slow = Dialogue::greeted(daemon.addr()).await;
        slow.ask("MAIL FROM:<ann@client.test>", "250").await;
        slow.ask("RCPT TO:<bob@sink.test>", "250").await;
        slow.ask("DATA", "354").await;
        slow.send_raw(letter("slow").replace('\n', "\r\n").as_bytes()).await;
        for _ in 0..60 {
            slow.send_raw(line.as_bytes()).await;
        }
        wait(&daemon, "what is being received counts", || 2_600_000 < held(&daemon, "reception:messages"));
        // A fifth of it is less than what is being received, which cannot be let go.
        allow(8_000_000);
        wait(&daemon, "the mark is passed", || ask_json(&daemon, &["memory"])["exceeded"] == "memory_hwm");
        let refused = mail_until(&mut waiting, "452").await;
        assert!(refused.starts_with("452 4.3.1 insufficient system memory"), "{refused}\n{}", testimony(&daemon));
        // The command measures for itself; the gauge that listeners read follows at the next look.
        let mut greeting = String::new();
        for _ in 0..SOON.as_millis() / 50 {
            greeting = Dialogue::connect(daemon.addr()).await.reply().await.unwrap_or_default();
            if greeting.starts_with("421") {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        assert_eq!(greeting, "421 4.3.1 insufficient system memory", "{}", testimony(&daemon));
        // What has begun is finished, if it needs no more, and then there is room again.
        slow.send_raw(b".\r\n").await;
        slow.expect("250 2.0.0").await;
        let again = mail_until(&mut waiting, "250").await;
        assert!(again.starts_with("250"), "{again}\n{}", testimony(&daemon));
    });
    sink.wait_for(1, SOON);
    let told = |log: &str, text: &str| log_lines(&daemon, log).iter().any(|fields| fields.join("@").contains(text));
    wait(&daemon, "the rejectlog tells", || told("rejectlog.ec", "4.3.1 insufficient system memory"));
    assert!(told("paniclog.ec", "over memory_hwm (20 %)"), "{}", testimony(&daemon));
    all_is_given_back(&daemon);
}

#[test]
fn max_resident_active_queue_and_max_resident_messages_each_limit_what_they_say() {
    let sink = Sink::start();
    let held_up = |limits: &str| {
        let more = format!("gateway = \"{}\"\nsuspend_delivery = true\n{limits}\n", sink.addr());
        // One loop, so that its share of max_resident_messages is all of it.
        let house = daemon(&(more + "eventloop \"default\" { concurrency = 1 }\n")).start();
        for number in 0..8 {
            for domain in ["a.test", "b.test"] {
                let text = long_letter(number, 1000);
                accept(&house, "ann@client.test", &[&format!("bob@{domain}")], &text);
            }
        }
        house
    };
    for (limits, expected) in [
        ("gateway = \"\"\nmax_resident_active_queue = 3", 6),
        ("gateway = \"\"\nmax_resident_active_queue = 0", 0),
        ("gateway = \"\"\nmax_resident_active_queue = -1", 16),
        ("gateway = \"\"\nmax_resident_messages = 5", 5),
        ("gateway = \"\"\nmax_resident_messages = 0", 16),
        ("gateway = \"\"\ndomain \"a.test\" { max_resident_active_queue = 2 }", 10),
    ] {
        let house = held_up(limits);
        wait(&house, limits, || resident(&house) == expected);
        // What is being received by the client is no longer: the charge is for what stays.
        wait(&house, limits, || (held(&house, "bodies") == 0) == (expected == 0));
    }
}

#[test]
fn a_body_leaves_memory_after_drop_body_after_trans_fail_failures_and_arrives_whole_all_the_same() {
    for (limit, resident_after) in [(0, [0, 0]), (1, [0, 0]), (2, [1, 0]), (3, [1, 1])] {
        let sink = Sink::start();
        sink.on("MAIL", "451 4.3.0 not now").times(2);
        let more =
            format!("gateway = \"{}\"\nretry_interval = 3600\ndrop_body_after_trans_fail = {limit}\n", sink.addr());
        let house = daemon(&more).start();
        flood(&house, 0..1, 20_000);
        for (failures, expected) in (1..).zip(resident_after) {
            wait(&house, "it is delayed", || e2e::mainlog(&house, "T").len() == failures);
            wait(&house, &format!("limit {limit}, {failures} failures"), || resident(&house) == expected);
            ask(&house, &["flush", "domain", "all"]);
        }
        arrives_as_it_came(&house, &sink, 1, 20_000);
        all_is_given_back(&house);
    }
}

#[test]
fn contexts_stay_with_keep_message_dicts_in_memory_and_else_leave_with_the_body() {
    for (keep, kept) in [("true", true), ("false", false)] {
        let sink = Sink::start();
        sink.refuse_connections();
        let limits = format!("max_resident_active_queue = 0\nkeep_message_dicts_in_memory = {keep}\n");
        let setup = e2e::daemon_listening(&(to(&sink) + &limits), "context = [ tenant = \"a customer with a name\" ]");
        let house = setup.start();
        flood(&house, 0..40, 20_000);
        wait(&house, "bodies leave memory", || held(&house, "bodies") == 0);
        for owner in ["queue:envelopes", "queue:contexts"] {
            wait(&house, &format!("{owner}, keep = {keep}"), || (held(&house, owner) != 0) == kept);
        }
        assert_eq!(resident(&house), 0);
        sink.accept_connections();
        arrives_as_it_came(&house, &sink, 40, 20_000);
        all_is_given_back(&house);
    }
}
