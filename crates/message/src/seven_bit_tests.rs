//! What becomes of messages with 8-bit content, as specification.

use mail_parser::MessageParser;
use proptest::prelude::*;

use super::Unconvertible::{BetweenParts, Encoding, Header, Signed, Structure};
use super::*;

fn wired(plain: &str) -> Vec<u8> {
    let mut out = Vec::new();
    wire::from_plain(plain.as_bytes(), &mut out);
    out
}

/// The plain form of what `plain` becomes.
fn converted(plain: &str) -> String {
    let out = convert(&wired(plain), false).unwrap().expect("something to convert");
    assert!(out.ends_with(b"\r\n.\r\n"));
    String::from_utf8(wire::to_plain(&out).into_owned()).unwrap().replace("\r\n", "\n")
}

fn refused(plain: &str) -> Unconvertible {
    convert(&wired(plain), false).unwrap_err()
}

#[test]
fn text_with_few_8_bit_octets_becomes_quoted_printable_and_is_labelled_so() {
    let text = "Subject: x\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\ncontent-transfer-encoding: 8bit\n\
                X-Last: y\n\nGr\u{fc}\u{df}e from the far end of a long and plain line.\n.dots and =signs \n";
    assert_eq!(
        converted(text),
        "Subject: x\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nX-Last: y\n\
         Content-Transfer-Encoding: quoted-printable\n\n\
         Gr=C3=BC=C3=9Fe from the far end of a long and plain line.\n.dots and =3Dsigns=20\n"
    );
}

#[test]
fn text_with_many_becomes_base64_and_an_unlabelled_message_gets_its_labels() {
    assert_eq!(
        converted("Subject: x\n\n\u{416}\u{416}\u{416}\n"),
        "Subject: x\nMIME-Version: 1.0\nContent-Type: text/plain; charset=unknown-8bit\nContent-Transfer-Encoding: base64\n\n\
         0JbQltCWDQo=\n"
    );
}

#[test]
fn each_leaf_part_is_converted_for_itself_and_all_else_stays() {
    let text = "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\nContent-Transfer-Encoding: 8bit\n\npreamble\n--b\n\
                Content-Type: text/plain; charset=utf-8\n\nplain as can be, but for one \u{e9}\n--b\n\
                Content-Type: text/plain\nContent-Transfer-Encoding: 7bit\n\nASCII \n\n--b\n\
                Content-Type: application/octet-stream\nContent-Transfer-Encoding: binary\n\n\u{e9} and many others\n--b\n\
                Content-Type: message/rfc822\nContent-Transfer-Encoding: 8bit\n\n\
                Subject: inner\nMIME-Version: 1.0\nContent-Type: text/html; charset=utf-8\n\n<p>the inner message has one, \u{e9}</p>\n--b--\nepilogue\n";
    assert_eq!(
        converted(text),
        "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\nContent-Transfer-Encoding: 7bit\n\npreamble\n--b\n\
         Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\nplain as can be, but for one =C3=A9\n--b\n\
         Content-Type: text/plain\nContent-Transfer-Encoding: 7bit\n\nASCII \n\n--b\n\
         Content-Type: application/octet-stream\nContent-Transfer-Encoding: base64\n\nw6kgYW5kIG1hbnkgb3RoZXJz\n--b\n\
         Content-Type: message/rfc822\nContent-Transfer-Encoding: 7bit\n\n\
         Subject: inner\nMIME-Version: 1.0\nContent-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\n\
         <p>the inner message has one, =C3=A9</p>\n--b--\nepilogue\n"
    );
}

#[test]
fn what_is_7_bit_stays_as_it_is() {
    for text in ["Subject: x\n\nhello\n", "Subject: \u{e9}\nContent-Transfer-Encoding: 8bit\n\nhello\n"] {
        assert_eq!(convert(&wired(text), false), Ok(None), "{text}");
    }
}

#[test]
fn header_fields_stay_unless_they_are_minded() {
    let text = "Subject: caf\u{e9}\n\nand a long enough body with one \u{e9}\n";
    assert!(converted(text).starts_with("Subject: caf\u{e9}\n"));
    assert_eq!(convert(&wired(text), true), Err(Header));
}

#[test]
fn no_signature_is_broken() {
    assert_eq!(refused("DKIM-Signature: v=1; b=x\nSubject: x\n\ncaf\u{e9}\n"), Signed);
    let signed = "MIME-Version: 1.0\nContent-Type: multipart/signed; boundary=s\n\n--s\nContent-Type: text/plain\n\n\
                  caf\u{e9}\n--s\nContent-Type: application/pgp-signature\n\nx\n--s--\n";
    assert_eq!(refused(signed), Signed);
    // Beside 8-bit content that is not covered, what is signed stays octet by octet.
    let inner = &signed["MIME-Version: 1.0\n".len()..].replace("caf\u{e9}", "coffee ");
    let beside = format!(
        "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\n{inner}--b\nContent-Type: text/plain\n\n\
         some more text around a caf\u{e9}\n--b--\n"
    );
    assert!(converted(&beside).contains(inner.trim_end()));
}

#[test]
fn what_cannot_be_understood_is_left_alone() {
    let part = |fields: &str, content: &str| {
        format!("Content-Type: multipart/mixed; boundary=b\n\n--b\n{fields}\n\n{content}\n--b--\n")
    };
    assert_eq!(refused(&part("Content-Transfer-Encoding: x-uuencode", "\u{e9}")), Encoding);
    assert_eq!(refused(&part("Content-Transfer-Encoding: base64", "\u{e9}\u{e9}\u{e9}")), Encoding);
    assert_eq!(refused(&part("Content-Type: message/delivery-status", "Status: \u{e9}")), Structure);
    assert_eq!(refused("Content-Type: multipart/mixed\n\n\u{e9}\n"), Structure);
    assert_eq!(refused("Content-Type: multipart/mixed; boundary=b\n\n\u{e9}\n--b\n\nx\n--b--\n"), BetweenParts);
    let deep = "Content-Type: message/rfc822\n\n".repeat(100_000);
    assert_eq!(refused(&format!("{deep}\u{e9}\n")), Structure);
}

proptest! {
    /// Whatever a result is, it is 7-bit, in wire form, and says the same.
    #[test]
    fn a_result_says_the_same_in_7_bits(
        lines in proptest::collection::vec(prop_oneof![
            Just("--b"), Just("--b--"), Just("--c"), Just(""), Just(""), Just("\u{e9}"), Just(".\u{416}\u{416} = "),
            Just("Content-Type: multipart/mixed; boundary=b"), Just("Content-Type: multipart/digest; boundary=\"c\""),
            Just("Content-Type: message/rfc822"), Just("Content-Type: text/html; charset=iso-8859-1"),
            Just("Content-Transfer-Encoding: 8bit"), Just("Content-Transfer-Encoding: base64"), Just("text "),
        ], 0..30)
    ) {
        let plain = format!("Subject: x\n{}\n", lines.join("\n"));
        let wire = wired(&plain);
        if let Ok(Some(out)) = convert(&wire, true) {
            prop_assert!(out.is_ascii());
            let (before, after) = (wire::to_plain(&wire), wire::to_plain(&out));
            let (before, after) = (MessageParser::new().parse(&*before).unwrap(), MessageParser::new().parse(&*after).unwrap());
            prop_assert!(is_same(&before, &after));
            prop_assert!(wire::lines(&out).all(|line| line.len() <= 100));
        }
    }
}
