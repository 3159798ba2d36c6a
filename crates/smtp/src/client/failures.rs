//! The replies that are ours and no server's: what a client session reports when a command got no usable answer
//! (reference: operations.md section 14).

use super::stage::Stage;
use crate::reply::Reply;

/// How a session came to an end that no reply explains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The deadline of the stage passed.
    Deadline,
    /// The peer closed, or the connection broke.
    Closed,
    /// The peer sent something that is no reply, or no reply to what was asked.
    Garbage,
    /// The peer replied to what had not been sent yet.
    Ahead,
}

/// Kept for a message over the limit that the server declared with SIZE (RFC 1870 6.1).
pub const MESSAGE_TOO_LARGE: Reply =
    Reply::new(552, (5, 3, 4), "[internal] message size exceeds the limit declared by the remote host");

macro_rules! trouble {
    ($($name:ident = $text:literal;)*) => { $(pub(super) const $name: Reply = Reply::new(451, (4, 4, 2), $text);)* };
}

trouble! {
    CLOSED = "[internal] connection closed by remote host";
    NO_BANNER = "[internal] no banner";
    EHLO_FAILED = "[internal] send HELO/EHLO failed";
    NO_EHLO = "[internal] no HELO/EHLO response";
    MAIL_FAILED = "[internal] send MAIL FROM failed";
    NO_MAIL = "[internal] no response for MAIL FROM";
    RCPT_FAILED = "[internal] send RCPT TO failed";
    NO_RCPT = "[internal] no response for RCPT TO";
    DATA_FAILED = "[internal] send DATA failed";
    NO_DATA = "[internal] no response for DATA";
    BODY_FAILED = "[internal] send BODY failed";
    NO_BODY = "[internal] no response for BODY";
    RSET_FAILED = "[internal] send RSET failed";
    NO_RSET = "[internal] no response for RSET";
    BAD_BANNER = "[internal] invalid banner";
    BAD_EHLO = "[internal] invalid response for HELO/EHLO";
    BAD_MAIL = "[internal] invalid response for MAIL FROM";
    BAD_RCPT = "[internal] invalid response for RCPT TO";
    BAD_DATA = "[internal] invalid response for DATA";
    BAD_BODY = "[internal] invalid response for BODY";
    BAD_RSET = "[internal] invalid response for RSET";
    BAD_IDLE = "[internal] unexpected response while idle";
    AHEAD = "[internal] response to what was not sent yet";
    IDLE_OVER = "[internal] idle connection closed";
}

/// The reply to report for `cause` at `stage`.
pub fn reply(stage: Stage, cause: Cause) -> Reply {
    use Stage::{
        AfterData, AfterEhlo, AfterMailFrom, AfterRcptTo, AfterRset, DuringData, DuringEhlo, DuringMailFrom,
        DuringRcptTo, DuringRset, ReadingBanner, ReadingConfirmation, SendingBody,
    };
    match (stage, cause) {
        (_, Cause::Closed) => CLOSED,
        (_, Cause::Ahead) => AHEAD,
        (ReadingBanner, Cause::Deadline) => NO_BANNER,
        (DuringEhlo, Cause::Deadline) => EHLO_FAILED,
        (AfterEhlo, Cause::Deadline) => NO_EHLO,
        (DuringMailFrom, Cause::Deadline) => MAIL_FAILED,
        (AfterMailFrom, Cause::Deadline) => NO_MAIL,
        (DuringRcptTo, Cause::Deadline) => RCPT_FAILED,
        (AfterRcptTo, Cause::Deadline) => NO_RCPT,
        (DuringData, Cause::Deadline) => DATA_FAILED,
        (AfterData, Cause::Deadline) => NO_DATA,
        (SendingBody, Cause::Deadline) => BODY_FAILED,
        (ReadingConfirmation, Cause::Deadline) => NO_BODY,
        (DuringRset, Cause::Deadline) => RSET_FAILED,
        (AfterRset, Cause::Deadline) => NO_RSET,
        (_, Cause::Deadline) => IDLE_OVER,
        (ReadingBanner, Cause::Garbage) => BAD_BANNER,
        (DuringEhlo | AfterEhlo, Cause::Garbage) => BAD_EHLO,
        (DuringMailFrom | AfterMailFrom, Cause::Garbage) => BAD_MAIL,
        (DuringRcptTo | AfterRcptTo, Cause::Garbage) => BAD_RCPT,
        (DuringData | AfterData, Cause::Garbage) => BAD_DATA,
        (SendingBody | ReadingConfirmation, Cause::Garbage) => BAD_BODY,
        (DuringRset | AfterRset, Cause::Garbage) => BAD_RSET,
        (_, Cause::Garbage) => BAD_IDLE,
    }
}
