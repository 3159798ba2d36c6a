//! The sink and the sources, speaking to each other.

use std::time::Duration;

use testkit::{Action, Dialogue, Load, Sink};

const LIMIT: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_message_arrives_with_envelope_and_unstuffed_body() {
    let sink = Sink::start();
    let mut client = Dialogue::greeted(sink.addr()).await;
    let reply = client.mail("a@here.test", &["b@there.test", "c@there.test"], "Subject: hi\n\n.dot\nend").await;
    assert!(reply.starts_with("250"));
    let message = &sink.arrived(1).await[0];
    assert_eq!(message.reverse_path, "a@here.test");
    assert_eq!(message.forward_paths, ["b@there.test", "c@there.test"]);
    assert_eq!(message.text(), "Subject: hi\r\n\r\n.dot\r\nend\r\n");
    assert_eq!(message.header("subject").as_deref(), Some("hi"));
}

#[tokio::test]
async fn the_sink_keeps_the_order_of_commands() {
    let sink = Sink::start();
    Dialogue::connect(sink.addr())
        .await
        .transcript(
            "S: 220 sink.test
             C: MAIL FROM:<a@b>
             S: 503
             C: EHLO client.test
             S: 250 ENHANCEDSTATUSCODES
             C: RCPT TO:<b@here.test>
             S: 503
             C: MAIL FROM:<>
             S: 250
             C: MAIL FROM:<a@b>
             S: 503
             C: DATA
             S: 554
             C: RCPT TO:<>
             S: 501
             C: WHAT
             S: 500
             C: RSET
             S: 250
             C: RCPT TO:<a@b>
             S: 503
             C: QUIT
             S: 221",
        )
        .await;
}

#[tokio::test]
async fn a_pipelined_group_is_answered_in_order() {
    let sink = Sink::start();
    sink.on("RCPT", "450 4.2.1 busy").to("slow@*").times(1);
    let mut client = Dialogue::greeted(sink.addr()).await;
    client.send_raw(b"MAIL FROM:<a@b> SIZE=3\r\nRCPT TO:<slow@x>\r\nRCPT TO:<slow@x>\r\nDATA\r\n").await;
    for start in ["250", "450", "250", "354"] {
        client.expect(start).await;
    }
    client.send_raw(b".\r\nQUIT\r\n").await;
    client.expect("250").await;
    client.expect("221").await;
    client.expect_close().await;
    let message = &sink.messages()[0];
    assert_eq!((message.forward_paths.len(), message.body.len()), (1, 0));
    assert_eq!(message.parameters, ["SIZE=3"]);
}

#[tokio::test]
async fn the_script_can_drop_stall_and_talk_nonsense() {
    let sink = Sink::start();
    sink.on("MAIL", Action::Drop).times(1);
    sink.on("NOOP", Action::Garbage(b"\x00\xff\r\n".to_vec()));
    sink.on("VRFY", Action::Slow("252 slowly".to_owned(), Duration::from_millis(1)));
    let mut client = Dialogue::greeted(sink.addr()).await;
    client.ask("NOOP", "\0").await;
    client.ask("VRFY x", "252 slowly").await;
    client.send("MAIL FROM:<a@b>").await;
    client.expect_close().await;

    sink.on("DOT", Action::AcceptThenDrop).times(1);
    let mut client = Dialogue::greeted(sink.addr()).await;
    client.transcript("C: MAIL FROM:<a@b>\nS: 250\nC: RCPT TO:<a@b>\nS: 250\nC: DATA\nS: 354\nC: .").await;
    client.expect_close().await;
    assert_eq!(sink.count(), 1);

    sink.on("EHLO", Action::Stall);
    let mut stalled = Dialogue::connect(sink.addr()).await;
    stalled.expect("220").await;
    stalled.send("EHLO x").await;
    sink.hang_up();
    stalled.expect_close().await;
}

#[tokio::test]
async fn a_sink_can_refuse_and_accept_connections_again() {
    let sink = Sink::start();
    sink.refuse_connections();
    assert!(tokio::net::TcpStream::connect(sink.addr()).await.is_err());
    sink.accept_connections();
    Dialogue::greeted(sink.addr()).await;
    assert_eq!(sink.connections(), 1);
}

#[test]
fn a_sink_can_be_slow_in_simulated_time() {
    let sink = Sink::start();
    sink.on("RSET", Action::Slow("250 at last".to_owned(), Duration::from_secs(600)));
    testkit::sim::run(async |clock| {
        let (client, server) = tokio::io::duplex(4096);
        let serving = tokio::task::spawn_local(sink.serve(server));
        let mut client = Dialogue::over(client).limit(Duration::from_secs(86_400));
        client.expect("220").await;
        client.ask("RSET", "250 at last").await;
        client.ask("QUIT", "221").await;
        serving.await.unwrap();
        assert_eq!(clock.wall().duration_since(testkit::sim::epoch()).unwrap(), Duration::from_secs(13 * 600));
    });
}

#[test]
fn a_load_books_every_message() {
    let sink = Sink::start();
    sink.discard_bodies();
    sink.on("DOT", "451 4.3.0 later").times(7);
    sink.on("RCPT", "550 5.1.1 no").to("user13@sink.test");
    let load = Load { sessions: 20, messages: 2_000, messages_per_session: 30, ..Load::default() };
    let report = load.run(sink.addr());
    assert_eq!(report.refused.len(), 8);
    assert_eq!(report.acknowledged.len(), 1_992);
    assert!(report.doubtful.is_empty() && report.troubles.is_empty());
    let ids = sink.ids();
    assert!(report.acknowledged.iter().all(|id| ids[id] == 1));
    sink.wait_for(1_992, LIMIT);
}

#[test]
fn a_persistent_load_outlives_a_refusing_server() {
    let sink = Sink::start();
    sink.on("DOT", Action::AcceptThenDrop).times(3);
    sink.on("MAIL", Action::Drop).times(3);
    let load = Load { sessions: 4, messages: 200, persistent: true, pipelining: false, ..Load::default() };
    let report = load.run(sink.addr());
    assert_eq!(report.doubtful.len(), 3);
    assert_eq!(report.acknowledged.len(), 197);
    assert_eq!(sink.count(), 200);
}
