//! 8-bit content, and servers that take it or do not. Conversion runs in real threads, so time is real here.

use crate::network::Reaction::Say;
use crate::world::{World, for_real};

const CAFE: &[u8] = b"Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n\
    A long enough line about one caf\xc3\xa9.\r\n.\r\n";
const CONVERTED: &str = "Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
    Content-Transfer-Encoding: quoted-printable\r\n\r\nA long enough line about one caf=C3=A9.\r\n.\r\n";
const SIGNED: &[u8] = b"DKIM-Signature: v=1; b=x\r\nSubject: x\r\n\r\ncaf\xc3\xa9\r\n.\r\n";
const HEADER: &[u8] = b"Subject: caf\xc3\xa9\r\n\r\nA long enough line about one caf\xc3\xa9.\r\n.\r\n";
/// Readers that take the first Content-Type find text, others parts.
const AMBIGUOUS: &[u8] =
    b"MIME-Version: 1.0\r\nContent-Type: text/plain\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
    --b\r\n\r\nA long enough line about one caf\xc3\xa9.\r\n--b--\r\n.\r\n";

const ONE_HOST: &str = "gateway = \"192.0.2.1\"\n";

fn world(options: &str, scenario: impl AsyncFnOnce(World)) {
    for_real(&format!("{ONE_HOST}{options}"), async |world| {
        world.network.host(1);
        scenario(world).await;
    });
}

fn offers_8bitmime(world: &World) {
    world.network.always(1, "EHLO", Say("250-host.test\r\n250-PIPELINING\r\n250 8BITMIME"));
}

fn body(world: &World) -> String {
    String::from_utf8_lossy(&world.network.taken(1)[0].body).into_owned()
}

const DELIVERED: &str = "delivery.messages.delivered";
const FAILED: &str = "delivery.messages.permanent";

#[test]
fn content_is_declared_where_the_server_offers_8bitmime_unless_that_is_off() {
    for (options, heard) in [
        ("", "MAIL FROM:<news@here.test> BODY=8BITMIME"),
        ("send_8bitmime = ifavailable\n", "MAIL FROM:<news@here.test> BODY=8BITMIME"),
        ("send_8bitmime = no\n", "MAIL FROM:<news@here.test>"),
    ] {
        world(options, async |world| {
            offers_8bitmime(&world);
            world.send_body(&["ann@x.test"], CAFE).await;
            world.until(DELIVERED, 1).await;
            assert_eq!(world.network.heard(1, "MAIL"), [heard], "{options}");
            assert_eq!(world.network.taken(1)[0].body, CAFE);
        });
    }
}

#[test]
fn a_server_without_8bitmime_gets_content_of_7_bits() {
    world("max_recipients_per_batch = 1\n", async |world| {
        world.send_body(&["ann@x.test", "bob@x.test"], CAFE).await;
        world.until(DELIVERED, 2).await;
        let taken = world.network.taken(1);
        assert_eq!(taken.len(), 2);
        for transaction in taken {
            assert_eq!(String::from_utf8_lossy(&transaction.body), CONVERTED);
        }
        // The size is that of what is sent.
        let size = format!("MAIL FROM:<news@here.test> SIZE={}", CONVERTED.len() - 3);
        assert_eq!(world.network.heard(1, "MAIL"), [size.as_str(), size.as_str()]);
        assert_eq!(world.stored(), 0);
    });
}

#[test]
fn what_cannot_be_converted_fails_and_its_sender_is_told() {
    for (options, content, why) in [
        ("", SIGNED, "it is signed"),
        ("", HEADER, "8-bit octets stand in its header"),
        ("", AMBIGUOUS, "its MIME structure is broken or ambiguous"),
        ("transform_8bitmime_content = strict\n", HEADER, "8-bit octets stand in its header"),
    ] {
        world(options, async |world| {
            world.send_body(&["ann@x.test"], content).await;
            world.until(FAILED, 1).await;
            let reply = format!("554 5.6.3 [internal] conversion to 7-bit content required but not possible: {why}");
            assert!(world.log()[0].ends_with(&reply));
            while world.stored() != 0 {
                tokio::task::yield_now().await;
            }
            assert_eq!(world.bounces.told.lock().unwrap()[0].reply.to_string(), reply);
            assert!(world.network.heard(1, "MAIL").is_empty());
        });
    }
}

#[test]
fn with_no_content_goes_as_it_is() {
    world("transform_8bitmime_content = no\n", async |world| {
        world.send_body(&["ann@x.test"], SIGNED).await;
        world.until(DELIVERED, 1).await;
        assert_eq!(world.network.taken(1)[0].body, SIGNED);
    });
}

#[test]
fn the_host_of_one_domain_may_be_treated_otherwise() {
    let text = "transform_8bitmime_content = no\ndomain \"192.0.2.1\" { transform_8bitmime_content = ifneeded }\n";
    world(text, async |world| {
        world.send_body(&["ann@x.test"], CAFE).await;
        world.until(DELIVERED, 1).await;
        assert_eq!(body(&world), CONVERTED);
    });
}
