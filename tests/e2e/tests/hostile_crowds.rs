//! Clients that want too much: connections, recipients, time. Every bound answers, and what it protects stays in use.

use std::net::SocketAddr;
use std::time::Duration;

use e2e::{SOON, accept, binary, block_on, configuration, daemon_listening, letter, program, relay, wait};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use testkit::{DaemonSetup, Dialogue, Sink};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

fn limited(sink: &Sink, in_listen: &str) -> DaemonSetup {
    daemon_listening(&format!("gateway = \"{}\"", sink.addr()), in_listen)
}

/// Room for thousands of sockets here and in the daemon, which inherits it.
fn raise_descriptor_limit(wanted: u64) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_some_and(|current| current < wanted) {
        let current = Some(maximum.map_or(wanted, |maximum| maximum.min(wanted)));
        setrlimit(Resource::Nofile, Rlimit { current, maximum }).expect("raising the soft limit needs no privilege");
    }
}

#[test]
fn two_thousand_idle_sessions_are_greeted_and_cost_little() {
    const SESSIONS: usize = 2000;
    raise_descriptor_limit(8192);
    let sink = Sink::start();
    let daemon = relay(&sink).start();
    accept(&daemon, "ann@client.test", &["bob@sink.test"], &letter("warm"));
    let (before, _) = daemon.memory_bytes();
    block_on(async {
        let mut sessions = Vec::with_capacity(SESSIONS);
        for _ in 0..SESSIONS {
            sessions.push(Dialogue::greeted(daemon.addr()).await);
        }
        let (after, _) = daemon.memory_bytes();
        let each = after.saturating_sub(before) / SESSIONS as u64;
        println!("an idle session costs {each} bytes of resident memory");
        assert!(each < 60_000, "{each} bytes for each idle session");

        accept_in(&mut Dialogue::greeted(daemon.addr()).await).await;
        for session in &mut sessions {
            session.ask("NOOP", "250").await;
        }
    });
    sink.wait_for(2, SOON);
}

async fn accept_in(client: &mut Dialogue) {
    let reply = client.mail("ann@client.test", &["bob@sink.test"], &letter("in the crowd")).await;
    assert!(reply.starts_with("250"), "{reply}");
}

#[test]
fn a_connection_over_the_cap_is_told_so_at_once_and_the_others_stay() {
    let sink = Sink::start();
    let daemon = limited(&sink, "peer_sessions = 10").start();
    block_on(async {
        let mut sessions = Vec::new();
        for _ in 0..10 {
            sessions.push(Dialogue::greeted(daemon.addr()).await);
        }
        for _ in 0..20 {
            let mut refused = Dialogue::connect(daemon.addr()).await;
            refused.expect("421 4.4.5").await;
            refused.expect_close().await;
        }
        accept_in(&mut sessions[9]).await;
        // A place that becomes free is given away again.
        let mut leaving = sessions.remove(0);
        leaving.ask("QUIT", "221").await;
        leaving.expect_close().await;
        let mut next = None;
        while next.is_none() {
            let mut client = Dialogue::connect(daemon.addr()).await;
            let greeting = client.reply().await.unwrap_or_default();
            next = greeting.starts_with("220").then_some(client);
        }
    });
    sink.wait_for(1, SOON);
}

#[test]
fn ten_thousand_recipients_get_prompt_replies_and_the_first_thousand_get_the_message() {
    let sink = Sink::start();
    let daemon = relay(&sink).start();
    accept(&daemon, "ann@client.test", &["bob@sink.test"], &letter("warm"));
    let (before, _) = daemon.memory_bytes();
    block_on(async {
        let mut client = Dialogue::greeted(daemon.addr()).await;
        client.ask("MAIL FROM:<ann@client.test>", "250").await;
        for portion in 0..20 {
            let commands: String =
                (0..500).map(|n| format!("RCPT TO:<user{}@sink.test>\r\n", portion * 500 + n)).collect();
            client.send_raw(commands.as_bytes()).await;
            let answer = if portion < 2 { "250 2.1.5" } else { "452 4.5.3" };
            for _ in 0..500 {
                client.expect(answer).await;
            }
        }
        client.ask("DATA", "354").await;
        client.send_raw(b"Subject: many\r\n\r\nyou\r\n.\r\n").await;
        client.expect("250 2.0.0").await;
    });
    let arrived = || sink.messages().iter().map(|message| message.forward_paths.len()).sum::<usize>();
    wait(&daemon, "every accepted recipient served", || 1001 <= arrived());
    assert_eq!(arrived(), 1001);
    let (_, peak) = daemon.memory_bytes();
    println!("ten thousand recipients cost at most {} bytes", peak - before);
    assert!(peak - before < 16_000_000, "grew by {} bytes", peak - before);
}

#[test]
fn a_client_that_sends_an_octet_now_and_then_is_told_421_and_the_others_are_served_meanwhile() {
    let sink = Sink::start();
    let daemon = limited(&sink, "idle_time = 2\n data_block_timeout = 60\n data_timeout = 3").start();
    block_on(async {
        let mut slow = tokio::task::JoinSet::new();
        for _ in 0..20 {
            slow.spawn(dribble(greeted(daemon.addr()).await, b"NOOP and so on without an end"));
        }
        for _ in 0..5 {
            let mut client = greeted(daemon.addr()).await;
            for (command, answer) in
                [("MAIL FROM:<ann@c.test>\r\n", "250"), ("RCPT TO:<bob@sink.test>\r\n", "250"), ("DATA\r\n", "354")]
            {
                say(&mut client, command, answer).await;
            }
            slow.spawn(dribble(client, b"Subject: one that will never be whole"));
        }
        for _ in 0..10 {
            accept_in(&mut Dialogue::greeted(daemon.addr()).await).await;
        }
        while let Some(told) = slow.join_next().await {
            let told = told.expect("no client panics");
            assert!(told.starts_with("421 4.4.2 timed out"), "told {told:?}");
        }
    });
    assert_eq!(sink.wait_for(10, SOON).len(), 10);
}

async fn greeted(addr: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(addr).await.expect("the daemon listens");
    say(&mut stream, "", "220").await;
    say(&mut stream, "HELO slow.test\r\n", "250").await;
    stream
}

/// Sends a command and reads until a line begins with `answer`.
async fn say(stream: &mut TcpStream, command: &str, answer: &str) {
    stream.write_all(command.as_bytes()).await.expect("the daemon reads");
    let mut reply = Vec::new();
    while !reply.ends_with(b"\r\n") {
        let read = stream.read_buf(&mut reply).await.expect("a reply");
        assert_ne!(read, 0, "closed after {:?}", String::from_utf8_lossy(&reply));
    }
    assert!(reply.starts_with(answer.as_bytes()), "{command:?}: {:?}", String::from_utf8_lossy(&reply));
}

/// Sends octet after octet, each long after the one before, until the daemon closes; what it says to that.
async fn dribble(mut stream: TcpStream, octets: &[u8]) -> String {
    let mut told = Vec::new();
    let mut pace = tokio::time::interval(PACE);
    let mut octets = octets.iter().cycle();
    let dribbling = async {
        loop {
            tokio::select! {
                read = stream.read_buf(&mut told) => if read.unwrap_or(0) == 0 { break },
                // A closed connection shows itself in what is read.
                _ = pace.tick() => if let Some(octet) = octets.next() { drop(stream.write_all(&[*octet]).await) },
            }
        }
    };
    tokio::time::timeout(SOON, dribbling).await.expect("the daemon loses its patience");
    String::from_utf8_lossy(&told).into_owned()
}

/// The pause of a slow client: short enough that silence alone would not end its session.
const PACE: Duration = Duration::from_millis(200);

#[test]
fn a_client_that_says_nothing_is_told_421() {
    let sink = Sink::start();
    let daemon = limited(&sink, "idle_time = 2\n data_block_timeout = 2").start();
    block_on(async {
        let mut mute = Dialogue::connect(daemon.addr()).await;
        let mut halted = Dialogue::greeted(daemon.addr()).await;
        halted.ask("MAIL FROM:<ann@client.test>", "250").await;
        halted.ask("RCPT TO:<bob@sink.test>", "250").await;
        halted.ask("DATA", "354").await;
        halted.send_raw(b"Subject: half\r\n\r\nhalf a mess").await;
        mute.expect("220").await;
        for client in [&mut mute, &mut halted] {
            client.expect("421 4.4.2 timed out").await;
            client.expect_close().await;
        }
    });
    accept(&daemon, "ann@client.test", &["bob@sink.test"], &letter("whole"));
    assert_eq!(sink.wait_for(1, SOON).len(), 1);
}

#[test]
fn a_client_that_reads_no_replies_is_dropped_and_costs_no_memory() {
    let sink = Sink::start();
    let daemon = limited(&sink, "idle_time = 1").start();
    accept(&daemon, "ann@client.test", &["bob@sink.test"], &letter("warm"));
    let (before, _) = daemon.memory_bytes();
    block_on(async {
        let mut client = greeted(daemon.addr()).await;
        say(&mut client, "MAIL FROM:<ann@c.test>\r\n", "250").await;
        let recipients = b"RCPT TO:<bob@sink.test>\r\n".repeat(1000);
        let flood = async { while client.write_all(&recipients).await.is_ok() {} };
        tokio::time::timeout(SOON, flood).await.expect("the daemon drops the connection");
    });
    let (_, peak) = daemon.memory_bytes();
    println!("a client that reads nothing costs at most {} bytes", peak - before);
    assert!(peak - before < 16_000_000, "grew by {} bytes", peak - before);
    accept(&daemon, "ann@client.test", &["bob@sink.test"], &letter("after"));
    assert_eq!(sink.wait_for(2, SOON).len(), 2);
}

#[test]
fn a_daemon_that_runs_out_of_descriptors_serves_again_when_some_are_free() {
    let sink = Sink::start();
    let prlimit = program("prlimit", "util-linux");
    let daemon = binary("postriderd").display().to_string();
    let mut daemon = DaemonSetup::new(prlimit, &configuration(&format!("gateway = \"{}\"", sink.addr()), ""))
        .console(binary("ec_console"))
        .set("resolv_conf", "/dev/null")
        .arguments(&["--nofile=100:100", &daemon, "-d", "-c", "@config@"])
        .start();
    let mut crowd: Vec<std::net::TcpStream> =
        (0..300).map(|_| std::net::TcpStream::connect(daemon.addr()).expect("the backlog takes connections")).collect();
    // Some are greeted, some are told that there is no room, the rest wait. The first may be among either, for loops accept
    // side by side.
    let mut answer = [0; 4];
    std::io::Read::read_exact(&mut crowd[0], &mut answer).expect("the first gets an answer");
    assert!([*b"220 ", *b"421 "].contains(&answer), "{answer:?}");
    drop(crowd);
    wait(&daemon, "the crowd has left", || {
        let mut next = std::net::TcpStream::connect(daemon.addr()).expect("it listens");
        std::io::Read::read_exact(&mut next, &mut answer).is_ok() && answer == *b"220 "
    });
    accept(&daemon, "ann@client.test", &["bob@sink.test"], &letter("after the crowd"));
    sink.wait_for(1, SOON);
    assert!(daemon.is_running());
    assert!(daemon.terminate(SOON).success());
}
