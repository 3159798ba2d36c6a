//! Sessions as their listener sees them: caps, peers, reload, timeouts, the end.

use tokio::net::UnixStream;

use crate::house::{Client, in_house, log_hooks, no_hooks};

const LISTEN: &str = "esmtp_listener { listen \"127.0.0.1:0\" { } }";

#[test]
fn a_client_over_the_cap_is_told_and_another_may_come_later() {
    in_house("esmtp_listener { listener_sessions = 1 listen \"127.0.0.1:0\" { } }", log_hooks, async |house| {
        let mut first = house.client().await;
        assert_eq!(first.reply().await, "220 mx.here.test ESMTP");
        let mut second = house.client().await;
        assert_eq!(second.reply().await, "421 4.4.5 Service unavailable, concurrency limit reached");
        assert_eq!(second.reply().await, "");
        let told = ["concurrency limit: 421 4.4.5 Service unavailable, concurrency limit reached []"];
        assert_eq!(house.seen(), told);
        assert_eq!(house.meters.get("reception.sessions.turned_away"), 1);
        assert_eq!(house.meters.get("reception.replies.refused_transient"), 1);
        assert!(first.say("QUIT").await.starts_with("221"));
        drop(first);
        while house.listeners.borrow().sessions() != 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(house.client().await.reply().await, "220 mx.here.test ESMTP");
        assert_eq!(house.meters.get("netlistener.esmtp_listener.over_limit"), 1);
    });
}

#[test]
fn a_denied_peer_is_turned_away() {
    let text = "esmtp_listener { peer \"127.0.0.0/8\" { always_deny = true } listen \"127.0.0.1:0\" { } }";
    in_house(text, no_hooks, async |house| {
        assert_eq!(house.client().await.reply().await, "554 5.7.1 access denied");
    });
}

#[test]
fn a_unix_socket_is_a_listener_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("smtp");
    let text = format!("relay_hosts = ( ) esmtp_listener {{ listen \"{}\" {{ file_mode = 0600 }} }}", path.display());
    in_house(&text, no_hooks, async |house| {
        let mut client = Client::new(UnixStream::connect(&path).await.unwrap());
        assert_eq!(client.reply().await, "220 mx.here.test ESMTP");
        assert!(client.say("EHLO pc").await.starts_with("250-mx.here.test says EHLO to a local client|"));
        client.say("MAIL FROM:<a@x.test>").await;
        assert_eq!(client.say("RCPT TO:<b@elsewhere.test>").await, "250 2.1.5 RCPT TO accepted");
        assert!(client.data("Subject: x\r\n").await.starts_with("250"));
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(house.arrived(1).await[0].envelope.origin.peer, None);
    });
}

#[test]
fn a_silent_client_is_told_and_dropped() {
    in_house(LISTEN, log_hooks, async |house| {
        let mut client = house.client().await;
        client.reply().await;
        let before = tokio::time::Instant::now();
        assert!(client.reply().await.starts_with("421 4.4.2 "));
        assert_eq!(before.elapsed().as_secs(), 300);
        assert_eq!(client.reply().await, "");
        assert!(house.seen()[0].starts_with("awaiting ehlo/helo: 421 4.4.2 "));
    });
}

#[test]
fn a_client_that_sends_an_octet_a_second_gets_no_more_time_than_a_silent_one() {
    in_house(LISTEN, no_hooks, async |house| {
        let mut client = house.client().await;
        client.reply().await;
        let before = tokio::time::Instant::now();
        for _ in 0..299 {
            client.send("x").await;
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        }
        assert!(client.reply().await.starts_with("421 4.4.2 "));
        assert_eq!(before.elapsed().as_secs(), 300);
    });
}

#[test]
fn a_reload_ends_only_the_sessions_whose_options_it_changes() {
    let text = |size: u32, retry: u32| {
        format!("retry_interval = {retry} esmtp_listener {{ max_message_size = {size} listen \"127.0.0.1:0\" {{ }} }}")
    };
    in_house(&text(1000, 60), no_hooks, async |house| {
        let mut client = house.client().await;
        client.reply().await;
        house.reload(&text(1000, 120));
        assert_eq!(client.say("MAIL FROM:<a@x.test>").await, "250 2.1.0 MAIL FROM accepted");
        house.reload(&text(2000, 120));
        assert_eq!(client.say("RCPT TO:<b@here.test>").await, "250 2.1.5 RCPT TO accepted");
        assert!(client.data("Subject: x\r\n").await.starts_with("250"), "a transaction keeps its generation");
        assert_eq!(client.say("NOOP").await, "250 2.0.0 OK");
        assert_eq!(client.say("MAIL FROM:<a@x.test>").await, "421 4.3.2 Reconfiguration in progress");
        assert_eq!(client.reply().await, "");
        let mut next = house.client().await;
        next.reply().await;
        assert!(next.say("EHLO pc").await.ends_with("SIZE 2000"));
    });
}

#[test]
fn a_stop_tells_idle_sessions_and_lets_a_coming_message_finish() {
    in_house(LISTEN, no_hooks, async |house| {
        let mut idle = house.client().await;
        idle.reply().await;
        let mut busy = house.client().await;
        busy.open().await;
        assert!(busy.say("DATA").await.starts_with("354"));
        house.listeners.borrow_mut().stop();
        assert_eq!(idle.reply().await, "421 4.3.2 Service shutting down, closing connection");
        assert!(busy.say("Subject: x\r\n.").await.starts_with("250 2.0.0 OK"));
        assert_eq!(busy.reply().await, "421 4.3.2 Service shutting down, closing connection");
        drop((idle, busy));
        let drained = house.listeners.borrow().drained();
        drained.await;
        assert_eq!(house.meters.get("reception.sessions.left"), 2);
    });
}

#[test]
fn a_proxy_announces_the_client_that_peer_stanzas_relay_control_and_trace_fields_see() {
    let text = "relay_hosts = ( \"192.0.2.7\" ) esmtp_listener { listen \"127.0.0.1:0\" {
        peer \"127.0.0.0/8\" { proxy_protocol = true }
        peer \"192.0.2.66\" { always_deny = true } } }";
    in_house(text, no_hooks, async |house| {
        let mut client = house.client().await;
        client.send("PROXY TCP4 192.0.2.7 198.51.100.1 4242 25\r\n").await;
        assert_eq!(client.reply().await, "220 mx.here.test ESMTP");
        assert!(client.say("EHLO pc").await.starts_with("250-mx.here.test says EHLO to 192.0.2.7:4242"));
        client.say("MAIL FROM:<a@x.test>").await;
        assert_eq!(client.say("RCPT TO:<b@far.test>").await, "250 2.1.5 RCPT TO accepted");
        client.data("Subject: x\r\n").await;
        let body = house.arrived(1).await[0].body.clone().expect("resident");
        assert!(String::from_utf8_lossy(&body).contains("Received: from [192.0.2.7] ([192.0.2.7:4242] helo=pc)"));

        let mut stranger = house.client().await;
        stranger.send("PROXY TCP4 192.0.2.8 198.51.100.1 4242 25\r\n").await;
        stranger.reply().await;
        stranger.say("EHLO pc").await;
        stranger.say("MAIL FROM:<a@x.test>").await;
        assert_eq!(stranger.say("RCPT TO:<b@far.test>").await, "550 5.7.1 relaying denied");

        let mut denied = house.client().await;
        denied.send("PROXY TCP4 192.0.2.66 198.51.100.1 4242 25\r\n").await;
        assert_eq!(denied.reply().await, "554 5.7.1 access denied");
        assert_eq!(house.meters.get("netlistener.esmtp_listener.denied"), 1);
    });
}

#[test]
fn without_a_whole_proxy_header_in_time_a_connection_is_closed_without_a_word() {
    let text = "esmtp_listener { proxy_protocol = true proxy_protocol_timeout = 7 accept_queue_backlog = 2
        listen \"127.0.0.1:0\" { } }";
    in_house(text, no_hooks, async |house| {
        let mut liar = house.client().await;
        liar.send("EHLO pc\r\n").await;
        assert_eq!(liar.reply().await, "");
        let mut slow = house.client().await;
        slow.send("PROXY TCP4 192.0.2.7 198.51").await;
        let mut silent = house.client().await;
        let mut third = house.client().await;
        assert_eq!(third.reply().await, "", "two wait already");
        assert_eq!((slow.reply().await, silent.reply().await), (String::new(), String::new()));
        assert_eq!(house.meters.get("netlistener.esmtp_listener.without_proxy_header"), 3);
        assert_eq!(house.meters.get("netlistener.esmtp_listener.over_limit"), 1);
        assert_eq!(house.meters.get("reception.sessions.entered"), 0);
    });
}
