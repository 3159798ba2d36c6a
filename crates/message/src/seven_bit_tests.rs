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
    let out = convert(&wired(plain), Purpose::Relay).unwrap().expect("something to convert");
    assert!(out.ends_with(b"\r\n.\r\n"));
    String::from_utf8(wire::to_plain(&out).into_owned()).unwrap().replace("\r\n", "\n")
}

fn refused(plain: &str) -> Unconvertible {
    convert(&wired(plain), Purpose::Relay).unwrap_err()
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
    for text in ["Subject: x\n\nhello\n", "Subject: x\nContent-Transfer-Encoding: 8bit\n\nhello\n"] {
        assert_eq!(convert(&wired(text), Purpose::Relay), Ok(None), "{text}");
    }
}

#[test]
fn header_fields_are_never_converted() {
    for text in [
        "Subject: caf\u{e9}\n\nhello\n",
        "Subject: caf\u{e9}\n\nand a long enough body with one \u{e9}\n",
        "MIME-Version: 1.0\nContent-Type: message/rfc822\n\nSubject: caf\u{e9}\n\nx\n",
        "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Description: \u{e9}\n\nx\n--b--\n",
    ] {
        assert_eq!(refused(text), Header, "{text}");
    }
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

/// A message of one part between boundaries `b`.
fn multipart(fields: &str, content: &str) -> String {
    format!("MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\n{fields}\n\n{content}\n--b--\n")
}

/// A message with these fields about its content.
fn labelled(fields: &str, content: &str) -> String {
    format!("MIME-Version: 1.0\n{fields}\n\n{content}\n")
}

#[test]
fn what_cannot_be_understood_is_left_alone() {
    assert_eq!(refused(&multipart("Content-Transfer-Encoding: x-uuencode", "\u{e9}")), Encoding);
    assert_eq!(refused(&multipart("Content-Transfer-Encoding: base64", "\u{e9}\u{e9}\u{e9}")), Encoding);
    assert_eq!(refused(&multipart("Content-Type: message/delivery-status", "Status: \u{e9}")), Structure);
    assert_eq!(refused(&labelled("Content-Type: multipart/mixed", "\u{e9}")), Structure);
    assert_eq!(
        refused(&labelled("Content-Type: multipart/mixed; boundary=b", "\u{e9}\n--b\n\nx\n--b--")),
        BetweenParts
    );
    let deep = "MIME-Version: 1.0\nContent-Type: message/rfc822\n\n".repeat(100_000);
    assert_eq!(refused(&format!("{deep}\u{e9}\n")), Structure);
}

#[test]
fn what_readers_could_take_in_two_ways_is_left_alone() {
    let mixed = "Content-Type: multipart/mixed; boundary=b";
    let html = "Content-Type: text/html; charset=utf-8";
    for (text, why) in [
        // Fields that are there twice, or in a form that some do not know.
        (labelled(&format!("{html}\nContent-Type: text/plain"), "\u{e9}"), Structure),
        (labelled(&format!("{mixed}\nContent-Type: text/plain"), "--b\n\n\u{e9}\n--b--"), Structure),
        (multipart(&format!("Content-Type: text/plain\n{html}"), "\u{e9}"), Structure),
        (labelled("Content-Transfer-Encoding: 8bit\nContent-Transfer-Encoding: 7bit", "\u{e9}"), Encoding),
        (multipart("Content-Transfer-Encoding: 8bit\ncontent-transfer-encoding: base64", "\u{e9}"), Encoding),
        (labelled("MIME-Version: 1.0", "\u{e9}"), Structure),
        (labelled("Content-Transfer-Encoding: 8bit (really)", "\u{e9}"), Encoding),
        (labelled("Content-Transfer-Encoding:", "\u{e9}"), Encoding),
        (labelled("Content-Type: (a comment) text/html", "\u{e9}"), Structure),
        (labelled("Content-Type: text", "\u{e9}"), Structure),
        (labelled("Content-Type : text/html", "\u{e9}"), Structure),
        (labelled("Content-Type: text/html;\n \n charset=x", "\u{e9}"), Structure),
        (labelled("no field\nContent-Type: text/html", "\u{e9}"), Structure),
        ("MIME-Version: 2.0\n\n\u{e9}\n".to_owned(), Structure),
        // Boundaries.
        (labelled("Content-Type: multipart/mixed; boundary=b; boundary=c", "--b\n\n\u{e9}\n--b--"), Structure),
        (labelled("Content-Type: multipart/mixed; boundary*=''b", "--b\n\n\u{e9}\n--b--"), Structure),
        (labelled("Content-Type: multipart/mixed; boundary*0=b", "--b\n\n\u{e9}\n--b--"), Structure),
        (labelled("Content-Type: multipart/mixed; boundary=b (c)", "--b\n\n\u{e9}\n--b--"), Structure),
        (labelled(mixed, "--b\n\n\u{e9}"), Structure),
        (labelled(mixed, "--b\n\n\u{e9}\n--bc\n\nx\n--b--"), Structure),
        (labelled(mixed, "--b\n\n\u{e9} --b\n--b--"), Structure),
        (labelled(mixed, "--b \n\n\u{e9}\n--b--"), Structure),
        (labelled(mixed, "--b\n\n\u{e9}\n--b--\n--b\n\nx\n--b--"), Structure),
        (labelled(mixed, "--b\n\u{e9}\n--b--"), Header),
        (labelled(mixed, "--b\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\n\u{e9}\n--b--\n--b--"), Structure),
        (
            labelled(mixed, "--b\nContent-Type: multipart/mixed; boundary=bc\n\n--bc\n\n\u{e9}\n--bc--\n--b--"),
            Structure,
        ),
        (labelled(mixed, "--b\nContent-Type: multipart/mixed; boundary=c\n\n--c\n\n\u{e9}\n--b--"), Structure),
        // What holds others.
        (labelled(&format!("{mixed}\nContent-Transfer-Encoding: base64"), "--b\n\n\u{e9}\n--b--"), Encoding),
        (labelled(&format!("{mixed}\nContent-Transfer-Encoding: quoted-printable"), "--b\n\n\u{e9}\n--b--"), Encoding),
        (format!("{mixed}\n\n--b\n\n\u{e9}\n--b--\n"), Structure),
        (labelled("Content-Type: multipart/digest; boundary=b", "--b\n\n\u{e9}: x\n\ny\n--b--"), Structure),
        (labelled("Content-Type: message/partial; id=x; number=1; total=2", "A: x\n\n\u{e9}"), Structure),
        (labelled("Content-Type: message/global", "A: x\n\n\u{e9}"), Structure),
        (multipart("Content-Type: message/rfc822\nContent-Transfer-Encoding: base64", "A: x\n\n\u{e9}"), Encoding),
        // Octets at which readers stop, or turn.
        (labelled(html, "\u{e9}\0"), Structure),
    ] {
        assert_eq!(refused(&text), why, "{text}");
    }
    assert_eq!(convert(b"A: 1\r\n\r\n\xE9\rx\r\n.\r\n", Purpose::Relay), Err(Structure));
    assert_eq!(convert(b"A: 1\r\n\r\n\xE9\nx\r\n.\r\n", Purpose::Relay), Err(Structure));
}

#[test]
fn whatever_only_7_bit_parts_are_like_they_stay() {
    let odd = "Content-Type: text/plain\nContent-Type: text/html\nContent-Transfer-Encoding: x-odd\n\nan odd part";
    let text = labelled(
        "Content-Type: multipart/mixed; boundary=\"b\";\n\ttype=\"text/html\"",
        &format!("--b\n{odd}\n--b\n\none caf\u{e9} among plain words\n--b--"),
    );
    let converted = converted(&text);
    assert!(converted.contains(odd) && converted.contains("one caf=C3=A9 among"), "{converted}");
}

#[test]
fn what_goes_back_to_its_sender_needs_no_signature() {
    let text = "DKIM-Signature: v=1; b=x\nSubject: x\n\na long enough line with one \u{e9}\n";
    assert_eq!(convert(&wired(text), Purpose::Relay), Err(Signed));
    let returned = convert(&wired(text), Purpose::Return).unwrap().unwrap();
    assert!(returned.is_ascii() && returned.windows(6).any(|octets| octets == b"=C3=A9"));
}

proptest! {
    /// Whatever a result is, it is 7-bit, in wire form, and says the same.
    #[test]
    fn a_result_says_the_same_in_7_bits(
        lines in proptest::collection::vec(prop_oneof![
            Just("--b"), Just("--b--"), Just("--c"), Just("--c--"), Just("--b"), Just(""), Just(""), Just(""),
            Just("\u{e9}"), Just(".\u{416}\u{416} = "), Just("--bc"), Just("x --b"), Just("MIME-Version: 1.0"),
            Just("Content-Type: multipart/mixed; boundary=b"), Just("Content-Type: multipart/digest; boundary=\"c\""),
            Just("Content-Type: multipart/mixed; boundary=c"), Just("Content-Type: multipart/mixed; boundary=\"b c\""),
            Just("Content-Type: message/rfc822"), Just("Content-Type: text/html; charset=iso-8859-1"),
            Just("Content-Transfer-Encoding: 8bit"), Just("Content-Transfer-Encoding: base64"), Just("text "),
        ], 0..30)
    ) {
        let plain = format!("Subject: x\nMIME-Version: 1.0\n{}\n", lines.join("\n"));
        let wire = wired(&plain);
        if let Ok(Some(out)) = convert(&wire, Purpose::Relay) {
            prop_assert!(out.is_ascii());
            let (before, after) = (wire::to_plain(&wire), wire::to_plain(&out));
            let (before, after) = (MessageParser::new().parse(&*before).unwrap(), MessageParser::new().parse(&*after).unwrap());
            prop_assert!(is_same(&before, &after));
            prop_assert!(wire::lines(&out).all(|line| line.len() <= 100));
        }
    }
}
