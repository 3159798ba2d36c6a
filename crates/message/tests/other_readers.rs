//! Content for servers of 7 bits as another reader of MIME has it: Python's `email`, before and after.
//!
//! `convert` asks mail-parser for a second opinion itself; this is the third.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use message::seven_bit::{Purpose, convert};
use message::wire;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// Reads pairs of messages, each pair a line of hexadecimal digits, and says where the leaves of a pair differ.
const READER: &str = r#"
import sys, email
from email import policy
def leaves(octets, how):
    message = email.message_from_bytes(octets, policy=how)
    return [(part.get_content_type(), part.get_payload(decode=True)) for part in message.walk() if not part.is_multipart()]
wrong = 0
for line in sys.stdin:
    before, after = (bytes.fromhex(field) for field in line.split())
    for how in (policy.compat32, policy.SMTP):
        if leaves(before, how) != leaves(after, how):
            wrong += 1
            print(repr(before), leaves(before, how), repr(after), leaves(after, how))
print("wrong", wrong)
"#;

/// The plain and the converted form; none if there is no conversion.
fn pair(plain: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut body = Vec::new();
    wire::from_plain(plain, &mut body);
    let converted = convert(&body, Purpose::Relay).ok()??;
    assert!(converted.is_ascii());
    Some((wire::to_plain(&body).into_owned(), wire::to_plain(&converted).into_owned()))
}

/// What Python finds wrong with these pairs.
fn read_by_python(pairs: &[(Vec<u8>, Vec<u8>)]) -> String {
    let mut text = String::new();
    for (before, after) in pairs {
        let hex = |octets: &[u8]| octets.iter().map(|octet| format!("{octet:02x}")).collect::<String>();
        writeln!(text, "{} {}", hex(before), hex(after)).unwrap();
    }
    let mut python = Command::new("python3");
    python.args(["-c", READER]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = python.spawn().expect("python3 is one of the programs that tests/run installs");
    let mut input = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || input.write_all(text.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Lines of content, some with octets over 127, some that resemble what means something elsewhere.
fn content() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        6 => "[ -~]{0,90}".prop_map(String::into_bytes),
        3 => "[a-zé=. ]{0,60}".prop_map(String::into_bytes),
        1 => proptest::collection::vec(128u8..=255, 1..40),
        1 => Just(b"a line with blanks at its end \t".to_vec()),
        1 => Just(b".".to_vec()),
        1 => Just(b"From the beginning".to_vec()),
        1 => Just("\u{e9}".repeat(600).into_bytes()),
        1 => Just(b"--b0".to_vec()),
        1 => Just(b"--b1--".to_vec()),
    ];
    proptest::collection::vec(line, 1..6).prop_map(|lines| lines.join(&b"\r\n"[..]))
}

/// Fields of a leaf part; some are odd.
fn fields() -> impl Strategy<Value = String> {
    let kinds = [
        "",
        "Content-Type: text/plain; charset=utf-8\r\n",
        "Content-Type: text/html;\r\n\tcharset=\"iso-8859-1\"\r\n",
        "Content-Type: application/octet-stream; name=x\r\n",
        "Content-Type: text/plain;\r\n",
        "Content-type: TEXT/PLAIN\r\n",
    ];
    let encodings = [
        "",
        "",
        "Content-Transfer-Encoding: 8bit\r\n",
        "content-transfer-encoding: BINARY\r\n",
        "Content-Transfer-Encoding: 7bit\r\n",
    ];
    let odd = [
        "",
        "",
        "",
        "",
        "",
        "",
        "",
        "",
        "Content-Type: text/x-odd\r\n",
        "Content-Transfer-Encoding: base64\r\n",
        "Content-Disposition: attachment;\r\n filename=y\r\n",
        "Content-Transfer-Encoding : 8bit\r\n",
        "no field\r\n",
    ];
    let pick = |from: &'static [&'static str]| proptest::sample::select(from);
    (pick(Box::leak(Box::new(kinds))), pick(Box::leak(Box::new(encodings))), pick(Box::leak(Box::new(odd))))
        .prop_map(|(kind, encoding, odd)| format!("{odd}{kind}{encoding}"))
}

/// A part, its header section without an empty line behind it.
type Part = (String, Vec<u8>);

fn part() -> impl Strategy<Value = Part> {
    (fields(), content()).prop_recursive(3, 12, 3, |inner| {
        let multipart = (proptest::collection::vec(inner.clone(), 1..4), 0..6u8, any::<bool>(), any::<bool>());
        let multipart = multipart.prop_map(|(parts, number, quoted, framed)| {
            let boundary = format!("b{number}");
            let named = if quoted { format!("\"{boundary}\"") } else { boundary.clone() };
            let mut body = if framed { b"preamble\r\n".to_vec() } else { Vec::new() };
            for (fields, content) in parts {
                body.extend_from_slice(format!("--{boundary}\r\n{fields}\r\n").as_bytes());
                body.extend_from_slice(&content);
                body.extend_from_slice(b"\r\n");
            }
            body.extend_from_slice(format!("--{boundary}--").as_bytes());
            body.extend_from_slice(if framed { b"\r\nepilogue" } else { b"" });
            (format!("Content-Type: multipart/mixed; boundary={named}\r\n"), body)
        });
        let message = inner.prop_map(|(fields, content)| {
            let head = format!("Subject: inner\r\nMIME-Version: 1.0\r\n{fields}\r\n");
            ("Content-Type: message/rfc822\r\n".to_owned(), [head.as_bytes(), &content].concat())
        });
        prop_oneof![3 => multipart, 1 => message]
    })
}

#[test]
fn python_reads_the_same_before_and_after() {
    let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let mut pairs = Vec::new();
    for _ in 0..1500 {
        let (fields, content) = part().new_tree(&mut runner).unwrap().current();
        let head = format!("Subject: x\r\nMIME-Version: 1.0\r\n{fields}\r\n");
        pairs.extend(pair(&[head.as_bytes(), &content, b"\r\n"].concat()));
    }
    assert!(200 < pairs.len(), "only {} of the messages have a 7-bit form", pairs.len());
    assert_eq!(read_by_python(&pairs).trim(), "wrong 0");
}
