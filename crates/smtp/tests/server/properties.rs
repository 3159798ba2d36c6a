//! What holds for the server session whatever arrives, and against another implementation of the grammar.

use crate::dialogue::Dialogue;
use proptest::prelude::*;
use smtp::command::{Command, forward_path, reverse_path};
use smtp::{AddressRules, Blanks, ServerOptions};
use smtp_proto::Request;

/// Groups of commands that may be pipelined; each is sent after the reply to the one before.
fn script() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let command = prop_oneof![
        Just("MAIL FROM:<a@x.test>"),
        Just("RCPT TO:<b@here.test>"),
        Just("RCPT TO:<b@elsewhere.test>"),
        Just("RSET"),
        Just("NOOP"),
        Just("XYZZY \u{e9}"),
        Just("VRFY"),
    ];
    let last = prop_oneof![Just("EHLO pc"), Just("DATA"), Just("NOOP"), Just("NOOP\n.")];
    let message = prop_oneof![Just("Subject: x\r\n\r\n..y\r\n.\r\n"), Just(".\r\n"), Just("a\nb\r\n.\r\n")];
    let group = (proptest::collection::vec(command, 0..6), last, message).prop_map(|(commands, last, message)| {
        let group: String = commands.iter().chain([&last]).map(|command| format!("{command}\r\n")).collect();
        [group.into_bytes(), message.as_bytes().to_vec()]
    });
    proptest::collection::vec(group, 1..5).prop_map(|groups| groups.into_iter().flatten().collect())
}

/// Runs a script; the message of a group is sent only if the session waits for one.
fn run(groups: &[Vec<u8>], chunk: usize) -> (String, Vec<Vec<u8>>, Vec<String>, bool) {
    let mut dialogue = Dialogue::new(ServerOptions::named("mx.here.test"));
    let mut said = dialogue.exchange(b"");
    for pair in groups.chunks(2) {
        for piece in pair[0].chunks(chunk) {
            said += &dialogue.exchange(piece);
        }
        if said.ends_with("<CRLF>.<CRLF>\r\n") {
            for piece in pair[1].chunks(chunk) {
                said += &dialogue.exchange(piece);
            }
        }
    }
    (said, dialogue.stored, dialogue.refusals, dialogue.closed)
}

proptest! {
    #[test]
    fn chunks_do_not_change_what_is_said_or_stored(groups in script(), chunk in 1usize..40) {
        prop_assert_eq!(run(&groups, usize::MAX), run(&groups, chunk));
    }

    #[test]
    fn no_octets_bring_a_session_down_and_every_reply_is_well_formed(
        octets in proptest::collection::vec(any::<u8>(), 0..2000),
        chunk in 1usize..500,
    ) {
        let mut dialogue = Dialogue::new(ServerOptions::named("mx.here.test"));
        let mut said = dialogue.exchange(b"");
        for piece in octets.chunks(chunk) {
            said += &dialogue.exchange(piece);
        }
        for line in said.split_terminator("\r\n") {
            prop_assert!(line.as_bytes()[..3].iter().all(u8::is_ascii_digit), "{}", line);
            prop_assert!(!line.contains(['\r', '\n']));
        }
    }

    /// Where both take a command, both must understand the same. This grammar is stricter about octets and line ends, and
    /// the other reads only parameters it knows, so a refusal by one of them proves nothing. The other also takes the quotes
    /// off a local-part, which this one keeps as received.
    #[test]
    fn another_grammar_understands_the_same(
        verb in prop_oneof![Just("MAIL FROM:"), Just("RCPT TO:"), Just("EHLO "), Just("HELO "), Just("")],
        argument in "(<([a-z.\"]{1,8}@[a-z.]{1,8}\\.test)?>( SIZE=[0-9]{1,5})?( BODY=(8BITMIME|7BIT))?|[a-zA-Z]{1,8}(\\.[a-z]{1,8})?)",
    ) {
        let line = format!("{verb}{argument}");
        let ours = Command::parse(line.as_bytes(), Blanks::default()).ok().and_then(|command| our_reading(&command));
        if let (Some(ours), Some(theirs)) = (ours, their_reading(&line)) {
            prop_assert_eq!(ours.replace('"', ""), theirs.replace('"', ""), "{}", line);
        }
    }
}

#[test]
fn the_grammars_do_meet() {
    let line = "MAIL FROM:<a.b@x.test> SIZE=12 BODY=8BITMIME";
    let ours = Command::parse(line.as_bytes(), Blanks::default()).expect("a plain command");
    assert_eq!(our_reading(&ours).as_deref(), Some("MAIL a.b@x.test size 12 8bit true"));
    assert_eq!(our_reading(&ours), their_reading(line));
}

fn our_reading(command: &Command<'_>) -> Option<String> {
    Some(match command {
        Command::Ehlo(name) => format!("EHLO {name}"),
        Command::Helo(name) => format!("HELO {name}"),
        Command::Mail(argument) => {
            let value = |keyword| argument.parameters.iter().find(|parameter| parameter.is(keyword))?.value;
            let path = reverse_path(argument.path, None, AddressRules::Pedantic).ok()?;
            let size: usize = value("SIZE").unwrap_or("0").parse().ok()?;
            format!("MAIL {} size {size} 8bit {}", path.as_str(), value("BODY") == Some("8BITMIME"))
        }
        Command::Rcpt(argument) if argument.parameters.is_empty() => {
            format!("RCPT {}", forward_path(argument.path, None, AddressRules::Pedantic).ok()?.as_str())
        }
        _ => return None,
    })
}

fn their_reading(line: &str) -> Option<String> {
    let octets = format!("{line}\r\n").into_bytes();
    Some(match Request::parse(&mut octets.iter()).ok()? {
        Request::Ehlo { host } => format!("EHLO {host}"),
        Request::Helo { host } => format!("HELO {host}"),
        Request::Mail { from } => {
            format!(
                "MAIL {} size {} 8bit {}",
                from.address,
                from.size,
                from.flags & smtp_proto::MAIL_BODY_8BITMIME != 0
            )
        }
        Request::Rcpt { to } => format!("RCPT {}", to.address),
        _ => return None,
    })
}
