//! What becomes of a message.

use std::time::Duration;

use scheduler::Pressure;
use spool::SpoolError;

use crate::house::{QUEUE_ROOM, in_house, log_hooks, no_hooks};

const LISTEN: &str = "esmtp_listener { listen \"127.0.0.1:0\" { } }";

#[test]
fn an_accepted_message_is_stored_logged_and_queued_for_each_recipient() {
    in_house(LISTEN, log_hooks, async |house| {
        let mut client = house.client().await;
        client.open().await;
        assert_eq!(client.say("RCPT TO:<c@Other.test>").await, "250 2.1.5 RCPT TO accepted");
        let reply = client.data("Return-Path: <old@x.test>\r\nSubject: x\r\n\r\n..\r\n").await;
        let arrived = house.arrived(2).await;
        let (first, second) = (&arrived[0].envelope, &arrived[1].envelope);
        assert_eq!(reply, format!("250 2.0.0 OK {}", first.id));
        assert_eq!((first.batch, second.batch), (first.id, first.id));
        assert_ne!(second.id, first.id);
        assert_eq!((first.forward_path.as_str(), &*first.queue.domain), ("b@here.test", "here.test"));
        assert_eq!((second.forward_path.as_str(), &*second.queue.domain), ("c@Other.test", "other.test"));
        assert_eq!(first.reverse_path.as_str(), "a@x.test");

        let body = arrived[0].body.clone().expect("resident");
        let text = String::from_utf8(body.to_vec()).unwrap();
        let mut lines = text.split("\r\n");
        assert_eq!(lines.next(), Some("Return-Path: <a@x.test>"));
        assert!(lines.next().unwrap().starts_with("Received: from [127.0.0.1] ([127.0.0.1:"));
        assert!(text.contains(" helo=pc.example.test)") && text.contains(&format!("id {}; ", first.id)), "{text}");
        assert!(text.ends_with("\r\nSubject: x\r\n\r\n..\r\n.\r\n"), "{text}");
        assert_eq!((first.body_bytes, first.eight_bit), (body.len() as u64, false));
        assert_eq!(house.memory.len(), (2, 1));
        assert_eq!(house.seen(), ["R b@here.test", "R c@Other.test"]);
        assert_eq!(house.meters.get("reception.messages.accepted"), 1);
    });
}

#[test]
fn nothing_is_acknowledged_before_the_spool_says_it_is_safe() {
    in_house(LISTEN, no_hooks, async |house| {
        *house.disk.held.lock().unwrap() = Some(Vec::new());
        let mut client = house.client().await;
        client.open().await;
        assert!(client.say("DATA").await.starts_with("354"));
        client.send("Subject: x\r\n.\r\n").await;
        assert!(tokio::time::timeout(Duration::from_secs(600), client.reply()).await.is_err(), "answered too early");
        let held = house.disk.held.lock().unwrap().take().expect("held");
        held.into_iter().for_each(|part| part.keep(Ok(())));
        assert!(client.reply().await.starts_with("250 2.0.0 OK "));
    });
}

#[test]
fn a_delivery_loop_that_is_behind_withholds_no_reply() {
    in_house(LISTEN, no_hooks, async |house| {
        let mut client = house.client().await;
        client.open().await;
        for _ in 1..QUEUE_ROOM + 2 {
            assert!(client.say("RCPT TO:<b@here.test>").await.starts_with("250"));
        }
        let reply = tokio::time::timeout(Duration::from_secs(600), client.data("Subject: x\r\n")).await;
        assert!(reply.expect("no reply").starts_with("250 2.0.0 OK "));
        // The client may even be gone.
        drop(client);
        assert_eq!(house.arrived(QUEUE_ROOM + 2).await.len(), QUEUE_ROOM + 2);
    });
}

#[test]
fn a_message_that_cannot_be_made_safe_is_refused_for_now() {
    in_house(LISTEN, log_hooks, async |house| {
        let mut client = house.client().await;
        client.open().await;
        *house.disk.broken.lock().unwrap() = Some(SpoolError::Full { wanted_bytes: 4096, free_bytes: 0 });
        assert_eq!(client.data("Subject: x\r\n").await, "452 4.3.1 insufficient system storage");
        *house.disk.broken.lock().unwrap() = None;
        house.spool.measure_room();
        client.say("MAIL FROM:<a@x.test>").await;
        client.say("RCPT TO:<b@here.test>").await;
        assert!(client.data("Subject: x\r\n").await.starts_with("250"));
        assert_eq!(house.arrived(1).await.len(), 1);
        let seen = house.seen();
        assert!(seen[0].starts_with("sending body response: 452 4.3.1 insufficient system storage ["), "{seen:?}");
    });
}

#[test]
fn loops_and_endless_header_sections_are_refused() {
    let text = "max_header_size = 4096 esmtp_listener { listen \"127.0.0.1:0\" { } }";
    in_house(text, no_hooks, async |house| {
        let mut client = house.client().await;
        client.open().await;
        assert_eq!(client.data(&"Received: x\r\n".repeat(101)).await, "554 5.4.6 too many hops, mail loop suspected");
        client.say("MAIL FROM:<a@x.test>").await;
        client.say("RCPT TO:<b@here.test>").await;
        let reply = client.data(&"Received: x\r\n".repeat(500)).await;
        assert_eq!(reply, "552 5.3.4 header section size limit exceeded");
        client.say("MAIL FROM:<a@x.test>").await;
        client.say("RCPT TO:<b@here.test>").await;
        assert!(client.data(&"Received: x\r\n".repeat(100)).await.starts_with("250"));
        assert_eq!(house.memory.len(), (1, 1));
    });
}

#[test]
fn without_trace_headers_a_message_is_kept_as_it_came() {
    let text = "rfc2822_trace_headers = false rfc2822_date_header = ignore rfc2822_messageid_header = ignore
        esmtp_listener { listen \"127.0.0.1:0\" { } }";
    in_house(text, no_hooks, async |house| {
        let mut client = house.client().await;
        client.open().await;
        client.data("Return-Path: <old@x.test>\r\n\r\n\u{e9}\r\n").await;
        let arrived = house.arrived(1).await;
        assert_eq!(arrived[0].body.as_deref(), Some("Return-Path: <old@x.test>\r\n\r\n\u{e9}\r\n.\r\n".as_bytes()));
        assert!(arrived[0].envelope.eight_bit);
    });
}

#[test]
fn a_pipelined_group_is_answered_in_one_write() {
    in_house(LISTEN, no_hooks, async |house| {
        let mut client = house.client().await;
        client.reply().await;
        client.say("EHLO pc").await;
        client.send("MAIL FROM:<a@x.test>\r\nRCPT TO:<b@here.test>\r\nDATA\r\n").await;
        let said = client.one_read().await;
        assert_eq!(said.matches("\r\n").count(), 3, "{said}");
        client.send("Subject: x\r\n.\r\nMAIL FROM:<a@x.test>\r\nRCPT TO:<b@here.test>\r\nDATA\r\n").await;
        let said = client.one_read().await;
        assert_eq!(said.matches("\r\n").count(), 4, "{said}");
    });
}

#[test]
fn a_message_of_many_reads_arrives_whole() {
    in_house(LISTEN, no_hooks, async |house| {
        let mut client = house.client().await;
        client.open().await;
        let message = "Subject: long\r\n\r\n".to_owned() + &"0123456789 abcdefghijklmnopqrstuvwxyz\r\n".repeat(20_000);
        assert!(client.data(&message).await.starts_with("250"));
        let body = house.arrived(1).await.remove(0).body.expect("resident");
        assert!(body.ends_with((message + ".\r\n").as_bytes()));
    });
}

#[test]
fn a_full_spool_is_told_with_mail_and_by_size_until_there_is_room_again() {
    in_house(LISTEN, no_hooks, async |house| {
        let full = "452 4.3.1 insufficient system storage";
        let mut client = house.client().await;
        client.open().await;
        *house.disk.broken.lock().unwrap() = Some(SpoolError::Full { wanted_bytes: 4096, free_bytes: 0 });
        assert_eq!(client.data("Subject: x\r\n").await, full);
        assert_eq!(client.say("MAIL FROM:<a@x.test>").await, full);
        *house.disk.broken.lock().unwrap() = None;
        *house.disk.room.lock().unwrap() = Some(0);
        house.spool.measure_room();
        assert_eq!(client.say("MAIL FROM:<a@x.test>").await, full);
        *house.disk.room.lock().unwrap() = Some(5000);
        house.spool.measure_room();
        assert_eq!(client.say("MAIL FROM:<a@x.test> SIZE=5001").await, full);
        assert!(client.say("MAIL FROM:<a@x.test> SIZE=5000").await.starts_with("250"));
        client.say("RCPT TO:<b@here.test>").await;
        assert!(client.data("Subject: x\r\n").await.starts_with("250"));
    });
}

#[test]
fn above_the_high_water_mark_of_memory_no_mail_and_no_client_is_taken() {
    in_house(LISTEN, no_hooks, async |house| {
        let mut client = house.client().await;
        client.reply().await;
        client.say("EHLO pc").await;
        house.pressure.set(Pressure::HighWater);
        assert_eq!(client.say("MAIL FROM:<a@x.test>").await, "452 4.3.1 insufficient system memory");
        let mut late = house.client().await;
        assert_eq!(late.reply().await, "421 4.3.1 insufficient system memory");
        house.pressure.set(Pressure::Goal);
        assert!(client.say("MAIL FROM:<a@x.test>").await.starts_with("250"));
        assert_eq!(house.client().await.reply().await, "220 mx.here.test ESMTP");
        assert_eq!(house.meters.get("netlistener.esmtp_listener.overloaded"), 1);
    });
}

#[test]
fn above_memory_hwm_a_message_in_mid_data_is_not_kept_any_longer() {
    in_house(LISTEN, no_hooks, async |house| {
        let mut client = house.client().await;
        client.open().await;
        assert!(client.say("DATA").await.starts_with("354"));
        client.send("Subject: x\r\n\r\n").await;
        let marks = house.meters.memory_marks();
        marks.set(1 << 20, marks.accounted());
        client.send(&"a line of text\r\n".repeat(10_000)).await;
        assert_eq!(client.say(".").await, "452 4.3.1 insufficient system memory");
        assert!(house.meters.memory(reception::RECEIVING).peak() < 100_000);
        marks.set(u64::MAX, u64::MAX);
        assert!(client.say("MAIL FROM:<a@x.test>").await.starts_with("250"));
        assert!(client.say("RCPT TO:<b@here.test>").await.starts_with("250"));
        house.pressure.set(Pressure::HighWater);
        assert_eq!(client.say("DATA").await, "452 4.3.1 insufficient system memory");
    });
}
