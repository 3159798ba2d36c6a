//! The options of notifications, and of bounces that come as mail.

use config::{Declared, Opt, OptionType, Value, one_of, scopes};
use message::dsn::Returned;
use smtp::Mailbox;

/// The words of `bounces_inline_original`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InlineOriginal(pub Returned);

impl OptionType for InlineOriginal {
    const EXPECTED: &'static str = "none, headers or all";

    fn parse(value: &Value) -> Result<Self, String> {
        let words = [("none", Returned::None), ("headers", Returned::Headers), ("all", Returned::All)];
        one_of(value, &words).map(Self)
    }
}

/// Whether failed mail is bounced at all.
pub const GENERATE_BOUNCES: Opt<bool> = Opt::new(
    "generate_bounces",
    "true",
    scopes::QUEUE,
    "Tell the reverse-path, by a delivery status notification, that accepted mail has failed.",
);

/// How much of the original is returned.
pub const BOUNCES_INLINE_ORIGINAL: Opt<InlineOriginal> = Opt::new(
    "bounces_inline_original",
    "headers",
    scopes::QUEUE,
    "What of the original mail a notification returns: none, headers or all.",
);

/// Whom a notification comes from.
pub const MAILERDAEMON: Opt<String> = Opt::new(
    "mailerdaemon",
    "",
    scopes::QUEUE,
    "The From address of notifications; mailer-daemon at this host's name if unset.",
)
.check(|address| match address.is_empty() {
    true => Ok(()),
    false => Mailbox::parse(address).map(drop).map_err(|problem| format!("`{address}` is no address: {problem}")),
});

/// Whom a bounce that came as mail is never about.
pub const BOUNCE_SUPPRESS_LIST: Opt<Vec<String>> = Opt::new(
    "bounce_suppress_list",
    "()",
    scopes::GLOBAL,
    "Addresses never taken as the bounced recipient of a bounce that came as mail; case does not matter.",
);

/// Every option of this crate.
pub const OPTIONS: &[&dyn Declared] =
    &[&GENERATE_BOUNCES, &BOUNCES_INLINE_ORIGINAL, &MAILERDAEMON, &BOUNCE_SUPPRESS_LIST];
