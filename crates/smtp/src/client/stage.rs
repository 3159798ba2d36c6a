//! Connection stages of an outbound session, with the numbers and the words the logs use
//! (reference: log-formats.md section 9).

use std::fmt;

/// Where an outbound connection stands. "During" means the command is being sent, "after" that its reply is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Stage {
    /// No connection.
    NotConnected = 0,
    /// Open, with nothing to do.
    Idle = 1,
    /// Sending MAIL.
    DuringMailFrom = 2,
    /// Awaiting the reply to MAIL.
    AfterMailFrom = 3,
    /// Sending RCPT.
    DuringRcptTo = 4,
    /// Awaiting the reply to RCPT.
    AfterRcptTo = 5,
    /// Sending DATA.
    DuringData = 6,
    /// Awaiting the reply to DATA.
    AfterData = 7,
    /// Sending the body.
    SendingBody = 8,
    /// Awaiting the reply to the end of data.
    ReadingConfirmation = 9,
    /// Sending EHLO or HELO.
    DuringEhlo = 10,
    /// Awaiting the reply to EHLO or HELO.
    AfterEhlo = 11,
    /// Awaiting the greeting.
    ReadingBanner = 12,
    /// Sending RSET.
    DuringRset = 13,
    /// Awaiting the reply to RSET.
    AfterRset = 14,
    /// Sending STARTTLS.
    DuringStartTls = 15,
    /// Awaiting the reply to STARTTLS.
    AfterStartTls = 16,
    /// In the TLS handshake.
    HandshakingTls = 17,
    /// In a TLS renegotiation.
    RenegotiatingTls = 18,
    /// Sending XCLIENT.
    DuringXclient = 19,
    /// Awaiting the reply to XCLIENT.
    AfterXclient = 20,
    /// No connection of ours: a notification that came in as mail.
    OutOfBandBounce = 21,
    /// None of the others.
    Unknown = 22,
}

impl Stage {
    /// The number in T and P records.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The words of the `domain` console command.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotConnected => "while not connected",
            Self::Idle => "while idle",
            Self::DuringMailFrom => "during MAIL FROM",
            Self::AfterMailFrom => "after MAIL FROM",
            Self::DuringRcptTo => "during RCPT TO",
            Self::AfterRcptTo => "after RCPT TO",
            Self::DuringData => "during DATA",
            Self::AfterData => "after DATA",
            Self::SendingBody => "while sending BODY",
            Self::ReadingConfirmation => "reading confirmation",
            Self::DuringEhlo => "during EHLO",
            Self::AfterEhlo => "after EHLO",
            Self::ReadingBanner => "reading BANNER",
            Self::DuringRset => "during RSET",
            Self::AfterRset => "after RSET",
            Self::DuringStartTls => "during STARTTLS",
            Self::AfterStartTls => "after STARTTLS",
            Self::HandshakingTls => "handshaking TLS",
            Self::RenegotiatingTls => "renegotiating TLS",
            Self::DuringXclient => "during XCLIENT",
            Self::AfterXclient => "after XCLIENT",
            Self::OutOfBandBounce => "out of band bounce",
            Self::Unknown => "in unknown state",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_have_the_published_numbers_and_words() {
        let published = [
            (Stage::NotConnected, 0, "while not connected"),
            (Stage::AfterRcptTo, 5, "after RCPT TO"),
            (Stage::ReadingConfirmation, 9, "reading confirmation"),
            (Stage::ReadingBanner, 12, "reading BANNER"),
            (Stage::HandshakingTls, 17, "handshaking TLS"),
            (Stage::OutOfBandBounce, 21, "out of band bounce"),
            (Stage::Unknown, 22, "in unknown state"),
        ];
        for (stage, number, text) in published {
            assert_eq!((stage.number(), stage.as_str()), (number, text));
        }
    }
}
