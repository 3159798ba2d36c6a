//! Connection stages of the delivery side and reception states, with the numbers and texts that logs and console print
//! (reference: log-formats.md sections 9 and 10).

/// Where an outbound connection stood. "During" means the command was being sent, "after" that its reply was awaited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Stage {
    /// No connection.
    #[default]
    NotConnected = 0,
    /// Nothing under way.
    Idle = 1,
    /// MAIL FROM being sent.
    DuringMailFrom = 2,
    /// Its reply awaited.
    AfterMailFrom = 3,
    /// RCPT TO being sent.
    DuringRcptTo = 4,
    /// Its reply awaited.
    AfterRcptTo = 5,
    /// DATA being sent.
    DuringData = 6,
    /// Its reply awaited.
    AfterData = 7,
    /// The body being sent.
    SendingBody = 8,
    /// The reply to the body awaited.
    ReadingConfirmation = 9,
    /// EHLO being sent.
    DuringEhlo = 10,
    /// Its reply awaited.
    AfterEhlo = 11,
    /// The banner awaited.
    ReadingBanner = 12,
    /// RSET being sent.
    DuringRset = 13,
    /// Its reply awaited.
    AfterRset = 14,
    /// STARTTLS being sent.
    DuringStarttls = 15,
    /// Its reply awaited.
    AfterStarttls = 16,
    /// In the TLS handshake.
    HandshakingTls = 17,
    /// In a TLS renegotiation.
    RenegotiatingTls = 18,
    /// XCLIENT being sent.
    DuringXclient = 19,
    /// Its reply awaited.
    AfterXclient = 20,
    /// No connection of ours: a bounce came in as mail.
    OutOfBandBounce = 21,
    /// None of these.
    Unknown = 22,
}

impl Stage {
    /// Every stage, by number.
    pub const ALL: [Self; 23] = [
        Self::NotConnected,
        Self::Idle,
        Self::DuringMailFrom,
        Self::AfterMailFrom,
        Self::DuringRcptTo,
        Self::AfterRcptTo,
        Self::DuringData,
        Self::AfterData,
        Self::SendingBody,
        Self::ReadingConfirmation,
        Self::DuringEhlo,
        Self::AfterEhlo,
        Self::ReadingBanner,
        Self::DuringRset,
        Self::AfterRset,
        Self::DuringStarttls,
        Self::AfterStarttls,
        Self::HandshakingTls,
        Self::RenegotiatingTls,
        Self::DuringXclient,
        Self::AfterXclient,
        Self::OutOfBandBounce,
        Self::Unknown,
    ];

    /// The number that logs print.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The text that the console prints.
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
            Self::DuringStarttls => "during STARTTLS",
            Self::AfterStarttls => "after STARTTLS",
            Self::HandshakingTls => "handshaking TLS",
            Self::RenegotiatingTls => "renegotiating TLS",
            Self::DuringXclient => "during XCLIENT",
            Self::AfterXclient => "after XCLIENT",
            Self::OutOfBandBounce => "out of band bounce",
            Self::Unknown => "in unknown state",
        }
    }
}

/// Where an inbound session stands: P= of the rejectlog and the console's `show inbound`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ReceptionState {
    /// Accepted, nothing done.
    JustConnected = 0,
    /// The banner being sent.
    SendingBanner = 1,
    /// EHLO or HELO awaited.
    AwaitingEhlo = 2,
    /// Its reply being sent.
    SendingEhloResponse = 3,
    /// MAIL awaited.
    AwaitingMailfrom = 4,
    /// Its reply being sent.
    SendingMailfromResponse = 5,
    /// RCPT awaited.
    AwaitingRcptto = 6,
    /// Its reply being sent.
    SendingRcpttoResponse = 7,
    /// DATA was given.
    DataPhase = 8,
    /// The body being read.
    ReadingBody = 9,
    /// The reply to the body being sent.
    SendingBodyResponse = 10,
    /// Policy works on the body.
    AsyncBodyHandler = 11,
    /// The reply to the body awaits policy or the spool.
    AsyncBodyResponse = 12,
    /// The recipient may not be relayed to.
    RelayingDenied = 13,
    /// A module's own state.
    Extension1 = 14,
    /// A module's own state.
    Extension2 = 15,
    /// A module's own state.
    Extension3 = 16,
    /// A module's own state.
    Extension4 = 17,
    /// Too many sessions.
    ConcurrencyLimit = 18,
    /// The recipient list being answered.
    RcpttoListResponse = 19,
    /// The final recipient list being answered.
    RcpttoListFinalResponse = 20,
    /// The session being set up.
    EsmtpSetup = 21,
    /// None of these.
    Unknown = 22,
}

impl ReceptionState {
    /// The number.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::JustConnected => "just connected",
            Self::SendingBanner => "sending banner",
            Self::AwaitingEhlo => "awaiting ehlo/helo",
            Self::SendingEhloResponse => "sending ehlo/helo response",
            Self::AwaitingMailfrom => "awaiting mailfrom",
            Self::SendingMailfromResponse => "sending mailfrom response",
            Self::AwaitingRcptto => "awaiting rcptto",
            Self::SendingRcpttoResponse => "sending rcptto response",
            Self::DataPhase => "data phase",
            Self::ReadingBody => "reading body",
            Self::SendingBodyResponse => "sending body response",
            Self::AsyncBodyHandler => "async body handler",
            Self::AsyncBodyResponse => "async body response",
            Self::RelayingDenied => "relaying denied",
            Self::Extension1 => "extension 1",
            Self::Extension2 => "extension 2",
            Self::Extension3 => "extension 3",
            Self::Extension4 => "extension 4",
            Self::ConcurrencyLimit => "concurrency limit",
            Self::RcpttoListResponse => "rcptto list response",
            Self::RcpttoListFinalResponse => "rcptto list final response",
            Self::EsmtpSetup => "esmtp setup phase",
            Self::Unknown => "unknown",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_numbered_as_published() {
        for (number, stage) in Stage::ALL.iter().enumerate() {
            assert_eq!(usize::from(stage.number()), number);
        }
        assert_eq!((Stage::AfterRcptTo.number(), Stage::AfterRcptTo.as_str()), (5, "after RCPT TO"));
        assert_eq!((Stage::OutOfBandBounce.number(), Stage::Unknown.number()), (21, 22));
        assert_eq!((ReceptionState::AwaitingRcptto.number(), ReceptionState::EsmtpSetup.number()), (6, 21));
    }
}
