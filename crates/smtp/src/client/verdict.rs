//! What a reply code means in its place: one table for all commands (RFC 5321 4.2, 4.3.2). Pure.
//!
//! The first digit alone is not enough. The same code speaks of the host in one place, of the session in another, of one
//! recipient in a third; and behind a command that was refused it speaks of nothing, for it only follows.

/// What a reply is to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The connection itself.
    Greeting,
    /// EHLO, which HELO may follow.
    Ehlo,
    /// HELO, or LHLO: nothing else is left to say.
    Helo,
    Rset,
    Mail {
        /// It has parameters.
        parameters: bool,
    },
    Recipient {
        /// Others of its transaction were taken.
        others_taken: bool,
    },
    Data,
    EndOfData,
    /// RCPT or DATA, said in one group with a command that was refused and without which it makes no sense.
    BehindRefused {
        /// The reply that would do: 3yz for DATA, 2yz else.
        data: bool,
    },
    Quit,
}

/// What it means there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Yes; the dialogue goes on.
    Yes,
    /// No, for now or for good as the first digit says: to this recipient, or to all that the command stands for.
    No,
    /// The same, but the two sides may no longer agree on what is data: the session ends.
    NoAndEnd,
    /// This recipient is one too many for this transaction; in another it may be taken.
    TooMany,
    /// The command may be taken without its parameters.
    Plainer,
    /// EHLO is not known; HELO may be.
    TryHelo,
    /// Nothing: it follows from an earlier refusal.
    Follows,
    /// The session is over, by the server's will.
    Over,
    /// The two sides do not speak of the same thing.
    OutOfStep,
}

/// The table. The first row that fits decides.
pub(super) fn verdict(place: Place, code: u16) -> Verdict {
    use Place::{BehindRefused, Data, Ehlo, EndOfData, Greeting, Helo, Mail, Quit, Recipient, Rset};
    match (place, code) {
        // RFC 5321 4.1.1.10: whatever is said to QUIT, it is the end.
        (Quit, _) => Verdict::Over,
        // RFC 5321 3.8, 4.2.3: to any command; the channel closes.
        (_, 421) => Verdict::Over,
        // RFC 5321 3.1 and 4.3.2, RFC 7504 for 521: no session with this host, whatever the mail. Another host may take it.
        (Greeting, 220) | (Ehlo | Helo, 250) => Verdict::Yes,
        (Greeting, 400..=599) | (Ehlo, 521 | 554) => Verdict::Over,
        // RFC 5321 3.2: an old server knows HELO alone.
        (Ehlo, 500..=599) => Verdict::TryHelo,
        (Ehlo | Helo, 400..=599) => Verdict::Over,
        // RFC 5321 4.1.1.5: without it nothing can follow.
        (Rset, 200..=299) => Verdict::Yes,
        (Rset, 400..=599) => Verdict::Over,
        // RFC 5321 4.3.2: 250, 251 (3.4), and 252, which promises an attempt (3.5.3); 354 to DATA and to nothing else.
        (Mail { .. } | Recipient { .. } | EndOfData | BehindRefused { data: false }, 200..=299) => Verdict::Yes,
        (Data | BehindRefused { data: true }, 354) => Verdict::Yes,
        // RFC 2920 3.1: what was said in one group with a refused command is refused in turn, with 503 or 554 as a rule.
        (BehindRefused { .. }, 400..=599) => Verdict::Follows,
        // RFC 5321 4.1.4: in this order each of them is in sequence, so the server has lost its place.
        (Mail { .. } | Recipient { .. } | Data | EndOfData, 503) => Verdict::OutOfStep,
        // RFC 5321 4.1.1.11, 4.2.4, RFC 1870, RFC 6152: offered, and yet not taken.
        (Mail { parameters: true }, 455 | 501 | 504 | 555) => Verdict::Plainer,
        // RFC 5321 4.5.3.1.10: a limit of recipients, for which 552 was the older code. To the first one they speak of its
        // mailbox (4.2.3).
        (Recipient { others_taken: true }, 452 | 552) => Verdict::TooMany,
        // No code for content: commands were expected, and the lines of the body may be taken for such (RFC 5321 4.3.2).
        (EndOfData, 500 | 502) => Verdict::NoAndEnd,
        // Of the message or the recipient: 450, 451, 452, 550, 551 (3.4: no way to go on by ourselves), 552 (4.5.3.1.9), 553, 554;
        // 521 here is no greeting (RFC 7504 3); 555 without parameters, and 556 (RFC 7504 4: the domain takes no mail).
        (Mail { .. } | Recipient { .. } | Data | EndOfData, 400..=599) => Verdict::No,
        _ => Verdict::OutOfStep,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAIL: Place = Place::Mail { parameters: false };
    const FIRST: Place = Place::Recipient { others_taken: false };
    const NEXT: Place = Place::Recipient { others_taken: true };
    const BEHIND: Place = Place::BehindRefused { data: false };

    #[test]
    fn each_code_is_read_in_its_place() {
        use Verdict::{Follows, No, NoAndEnd, OutOfStep, Over, Plainer, TooMany, TryHelo, Yes};
        let rows = [
            (421, [Over, Over, Over, Over, Over, Over, Over, Over, Over]),
            (450, [Over, Over, Over, No, No, No, No, No, Follows]),
            (451, [Over, Over, Over, No, No, No, No, No, Follows]),
            (452, [Over, Over, Over, No, No, TooMany, No, No, Follows]),
            (500, [Over, TryHelo, Over, No, No, No, No, NoAndEnd, Follows]),
            (501, [Over, TryHelo, Over, No, No, No, No, No, Follows]),
            (502, [Over, TryHelo, Over, No, No, No, No, NoAndEnd, Follows]),
            (503, [Over, TryHelo, Over, OutOfStep, OutOfStep, OutOfStep, OutOfStep, OutOfStep, Follows]),
            (504, [Over, TryHelo, Over, No, No, No, No, No, Follows]),
            (521, [Over, Over, Over, No, No, No, No, No, Follows]),
            (550, [Over, TryHelo, Over, No, No, No, No, No, Follows]),
            (551, [Over, TryHelo, Over, No, No, No, No, No, Follows]),
            (552, [Over, TryHelo, Over, No, No, TooMany, No, No, Follows]),
            (553, [Over, TryHelo, Over, No, No, No, No, No, Follows]),
            (554, [Over, Over, Over, No, No, No, No, No, Follows]),
            (555, [Over, TryHelo, Over, No, No, No, No, No, Follows]),
            (556, [Over, TryHelo, Over, No, No, No, No, No, Follows]),
            (220, [Yes, OutOfStep, OutOfStep, Yes, Yes, Yes, OutOfStep, Yes, Yes]),
            (250, [OutOfStep, Yes, Yes, Yes, Yes, Yes, OutOfStep, Yes, Yes]),
            (251, [OutOfStep, OutOfStep, OutOfStep, Yes, Yes, Yes, OutOfStep, Yes, Yes]),
            (252, [OutOfStep, OutOfStep, OutOfStep, Yes, Yes, Yes, OutOfStep, Yes, Yes]),
            (354, [OutOfStep, OutOfStep, OutOfStep, OutOfStep, OutOfStep, OutOfStep, Yes, OutOfStep, OutOfStep]),
            (334, [OutOfStep; 9]),
        ];
        let places =
            [Place::Greeting, Place::Ehlo, Place::Helo, MAIL, FIRST, NEXT, Place::Data, Place::EndOfData, BEHIND];
        for (code, meanings) in rows {
            for (place, meaning) in places.into_iter().zip(meanings) {
                assert_eq!(verdict(place, code), meaning, "{code} to {place:?}");
            }
        }
        for code in [455, 501, 504, 555] {
            assert_eq!(verdict(Place::Mail { parameters: true }, code), Plainer, "{code}");
        }
        for (code, meaning) in [(250, Yes), (354, OutOfStep), (450, Over), (502, Over)] {
            assert_eq!(verdict(Place::Rset, code), meaning, "{code} to RSET");
        }
        assert_eq!(verdict(Place::BehindRefused { data: true }, 354), Yes);
        assert_eq!(verdict(Place::BehindRefused { data: true }, 250), OutOfStep);
        assert_eq!(verdict(Place::Quit, 250), Over);
    }
}
