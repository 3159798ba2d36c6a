//! Messages whose header sections differ from recipient to recipient, over one stored body.

use std::sync::Arc;

use message::{Body, Edits, Envelope, HeaderSection, field};

use crate::network::Reaction::Say;
use crate::world::{World, for_real, simulate};

const STORED: &[u8] = b"Received: by x\r\nSubject: all\r\nBcc: ann@x.test\r\n\r\nhello\r\n.\r\n";
const CAFE: &[u8] = b"Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n\
    A long enough line about one caf\xc3\xa9.\r\n.\r\n";

/// A subject of one's own, and no Bcc.
fn edits(stored: &'static [u8], subject: &str) -> Option<Arc<Edits>> {
    let stored = Body::from_static(stored);
    let mut section = HeaderSection::of(&stored, None);
    section.remove("bcc");
    section.set(field::encode("Subject", subject).unwrap());
    section.into_edits().unwrap().map(Arc::new)
}

/// Everybody has the same subject, but for the second.
fn change(place: usize, envelope: &mut Envelope) {
    envelope.edits = edits(STORED, if place == 1 { "second" } else { "others" });
}

#[test]
fn only_equal_header_sections_share_a_transaction_whether_in_memory_or_not() {
    for options in ["", "max_resident_active_queue = 0\n", "max_resident_active_queue = 1\n"] {
        simulate(&format!("gateway = \"192.0.2.1\"\nmax_outbound_connections = 1\n{options}"), async |world: World| {
            world.network.host(1);
            world.send_changed(&["ann@x.test", "bob@x.test", "eve@x.test"], STORED, change).await;
            world.pass(10).await;
            let mut taken: Vec<(usize, Vec<u8>)> =
                world.network.taken(1).into_iter().map(|taken| (taken.recipients.len(), taken.body.to_vec())).collect();
            taken.sort();
            let whole =
                |subject: &str| format!("Received: by x\r\nSubject: {subject}\r\n\r\nhello\r\n.\r\n").into_bytes();
            assert_eq!(taken, [(1, whole("second")), (2, whole("others"))], "{options}");
            assert_eq!(world.stored(), 0);
        });
    }
}

#[test]
fn the_size_that_is_declared_is_that_of_what_is_sent() {
    simulate("gateway = \"192.0.2.1\"\n", async |world: World| {
        world.network.host(1);
        world.network.always(1, "EHLO", Say("250-host.test\r\n250-PIPELINING\r\n250 SIZE 0"));
        world.send_changed(&["ann@x.test"], STORED, change).await;
        world.pass(10).await;
        let size = world.network.taken(1)[0].body.len() - ".\r\n".len();
        assert_eq!(world.network.heard(1, "MAIL"), [format!("MAIL FROM:<{}> SIZE={size}", crate::FROM)]);
    });
}

#[test]
fn each_has_its_own_form_of_7_bits() {
    for_real("gateway = \"192.0.2.1\"\n", async |world| {
        world.network.host(1);
        let change = |place: usize, envelope: &mut Envelope| {
            envelope.edits = edits(CAFE, if place == 1 { "second" } else { "first" });
        };
        world.send_changed(&["ann@x.test", "bob@x.test"], CAFE, change).await;
        world.until("delivery.messages.delivered", 2).await;
        let mut taken: Vec<String> =
            world.network.taken(1).iter().map(|taken| String::from_utf8(taken.body.to_vec()).unwrap()).collect();
        taken.sort();
        let starts = ["Subject: first\r\nMIME", "Subject: second\r\nMIME"];
        for (body, start) in taken.iter().zip(starts) {
            assert!(body.starts_with(start) && body.contains("one caf=C3=A9."), "{body}");
        }
    });
}

#[test]
fn a_field_that_signs_keeps_a_message_from_being_converted() {
    for_real("gateway = \"192.0.2.1\"\n", async |world| {
        world.network.host(1);
        let change = |_: usize, envelope: &mut Envelope| {
            let stored = Body::from_static(CAFE);
            let mut section = HeaderSection::of(&stored, None);
            section.prepend(field::checked(b"DKIM-Signature: v=1;\r\n\tb=x\r\n").unwrap());
            envelope.edits = section.into_edits().unwrap().map(Arc::new);
        };
        world.send_changed(&["ann@x.test"], CAFE, change).await;
        world.until("delivery.messages.permanent", 1).await;
        assert!(world.network.taken(1).is_empty());
        assert!(world.log()[0].contains(" 554 5.6.3 "), "{:?}", world.log());
    });
}

#[test]
fn mail_that_requires_tls_is_not_sent_without() {
    simulate("gateway = \"192.0.2.1\"\n", async |world: World| {
        world.network.host(1);
        let change = |_: usize, envelope: &mut Envelope| envelope.particulars_mut().requiretls = true;
        world.send_changed(&["ann@x.test"], STORED, change).await;
        world.pass(10).await;
        assert!(world.network.taken(1).is_empty());
        assert!(world.log()[0].contains(" 550 5.7.30 "), "{:?}", world.log());
    });
}
