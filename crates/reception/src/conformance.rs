//! The rfc2821_ and rfc2822_ options: what is refused of a message or an address that is not as the RFCs want it, and what
//! is mended.
//!
//! Momentum's names and words. Where its default lets through what a careless host could be deceived with (a lone CR or LF,
//! lines over 998 octets), ours refuses.

use config::{Chain, Generation, Opt, OptionType, Value, one_of, scopes};
use smtp::data::TEXT_LINE_OCTETS_MAX;
use smtp::{AddressRules, LineRules, Lone, LongLines};

/// See its doc.
pub const RFC2822_DATE_HEADER: Opt<DateHeader> = Opt::new(
    "rfc2822_date_header",
    "\"ifneeded\"",
    scopes::PATHWAY,
    "A message without a Date field: ifneeded adds one, pedantic refuses the message, ignore lets it pass as it is.",
);
/// See its doc.
pub const RFC2822_MESSAGEID_HEADER: Opt<MessageIdHeader> = Opt::new(
    "rfc2822_messageid_header",
    "\"ifneeded\"",
    scopes::PATHWAY,
    "A message without a Message-ID field: ifneeded adds one, ignore lets it pass as it is.",
);
/// See its doc.
pub const RFC2822_MISSING_HEADERS: Opt<MissingHeaders> = Opt::new(
    "rfc2822_missing_headers",
    "\"reject\"",
    scopes::PATHWAY,
    "A message whose first line is no header field: reject refuses it, allow takes all of it as the content and puts \
     header fields and an empty line in front.",
);
/// See its doc.
pub const RFC2822_LONE_LF_IN_HEADERS: Opt<LoneInHeaders> = Opt::new(
    "rfc2822_lone_lf_in_headers",
    "\"pedantic\"",
    scopes::PATHWAY,
    "A CR or LF in the header section that is not part of a CRLF: pedantic (or reject) refuses the message, fix makes a \
     CRLF of it. Only CRLF.CRLF ends a message either way.",
);
/// See its doc.
pub const RFC2822_LONE_LF_IN_BODY: Opt<LoneInBody> = Opt::new(
    "rfc2822_lone_lf_in_body",
    "\"pedantic\"",
    scopes::PATHWAY,
    "A CR or LF behind the header section that is not part of a CRLF: pedantic (or reject) refuses the message, fix and \
     ignore make a CRLF of it, because nothing else is ever sent on. Momentum's default is ignore; here an operator has to \
     ask for it. Only CRLF.CRLF ends a message whatever is chosen.",
);
/// See its doc.
pub const RFC2822_MAX_LINE_LENGTH: Opt<MaxLineLength> = Opt::new(
    "rfc2822_max_line_length",
    "998",
    scopes::PATHWAY,
    "Octets of a line from which rfc2822_max_line_length_policy applies; or ignore: no limit, pedantic: lines over 998 are \
     refused, fix: they are broken, whatever the policy. Momentum's default is ignore.",
)
.check(|length| match length {
    MaxLineLength::Octets(octets) if !(78..=1_048_576).contains(octets) => Err("must be from 78 to 1048576".to_owned()),
    _ => Ok(()),
});
/// See its doc.
pub const RFC2822_MAX_LINE_LENGTH_POLICY: Opt<LineLengthPolicy> = Opt::new(
    "rfc2822_max_line_length_policy",
    "\"reject\"",
    scopes::PATHWAY,
    "Lines over rfc2822_max_line_length: reject refuses the message, fix breaks them into lines of at most 998 octets, \
     none lets them pass. Momentum's default is none.",
);
/// See its doc.
pub const RFC2821_PEDANTIC_ADDRESS_RULES: Opt<bool> = Opt::new(
    "rfc2821_pedantic_address_rules",
    "true",
    scopes::PATHWAY,
    "Refuses addresses in MAIL and RCPT such as a..b@example.com and ab.@example.com.",
);
/// See its doc.
pub const RFC2821_ALLOW_WHITESPACE_IN_ENVELOPE: Opt<bool> = Opt::new(
    "rfc2821_allow_whitespace_in_envelope",
    "false",
    scopes::PATHWAY,
    "Drops blanks at the end of MAIL and RCPT and around the address in its brackets, instead of refusing the command.",
);

/// What is done about a missing Date field. Closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DateHeader {
    /// Nothing.
    Ignore,
    /// The message is refused.
    Pedantic,
    /// It is added.
    IfNeeded,
}

/// What is done about a missing Message-ID field. Closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageIdHeader {
    /// Nothing.
    Ignore,
    /// It is added.
    IfNeeded,
}

/// What is done about a message without a header section. Closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingHeaders {
    /// It is refused.
    Reject,
    /// All of it is content.
    Allow,
}

/// The words of `rfc2822_lone_lf_in_headers`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoneInHeaders(pub Lone);

/// The words of `rfc2822_lone_lf_in_body`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoneInBody(pub Lone);

/// The words and numbers of `rfc2822_max_line_length`. Closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxLineLength {
    /// No limit.
    Ignore,
    /// 998, and the message is refused.
    Pedantic,
    /// 998, and the line is broken.
    Fix,
    /// So many, and the policy applies.
    Octets(usize),
}

/// What is done about a line over the limit. Closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineLengthPolicy {
    /// Nothing.
    None,
    /// It is broken.
    Fix,
    /// The message is refused.
    Reject,
}

macro_rules! words {
    ($($word:ty: $expected:literal, $words:expr;)*) => {$(
        impl OptionType for $word {
            const EXPECTED: &'static str = $expected;
            fn parse(value: &Value) -> Result<Self, String> {
                one_of(value, &$words)
            }
        }
    )*};
}
words! {
    DateHeader: "ignore, pedantic or ifneeded",
        [("ifneeded", Self::IfNeeded), ("pedantic", Self::Pedantic), ("ignore", Self::Ignore)];
    MessageIdHeader: "ignore or ifneeded", [("ifneeded", Self::IfNeeded), ("ignore", Self::Ignore)];
    MissingHeaders: "reject or allow", [("reject", Self::Reject), ("allow", Self::Allow)];
    LoneInHeaders: "pedantic, reject or fix",
        [("pedantic", Self(Lone::Reject)), ("reject", Self(Lone::Reject)), ("fix", Self(Lone::Fix))];
    LoneInBody: "pedantic, reject, fix or ignore",
        [("pedantic", Self(Lone::Reject)), ("reject", Self(Lone::Reject)), ("fix", Self(Lone::Fix)), ("ignore", Self(Lone::Fix))];
    LineLengthPolicy: "none, fix or reject", [("none", Self::None), ("fix", Self::Fix), ("reject", Self::Reject)];
}

impl OptionType for MaxLineLength {
    const EXPECTED: &'static str = "a number of octets, or ignore, pedantic or fix";
    fn parse(value: &Value) -> Result<Self, String> {
        match usize::parse(value) {
            Ok(octets) => Ok(Self::Octets(octets)),
            Err(_) => one_of(value, &[("ignore", Self::Ignore), ("pedantic", Self::Pedantic), ("fix", Self::Fix)]),
        }
    }
}

/// What the options of header fields come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderRules {
    /// A missing Date field.
    pub date: DateHeader,
    /// A missing Message-ID field.
    pub message_id: MessageIdHeader,
    /// A missing header section.
    pub missing: MissingHeaders,
}

impl HeaderRules {
    pub(crate) fn resolve(generation: &Generation, chain: &Chain) -> Self {
        Self {
            date: generation.read(&RFC2822_DATE_HEADER, chain),
            message_id: generation.read(&RFC2822_MESSAGEID_HEADER, chain),
            missing: generation.read(&RFC2822_MISSING_HEADERS, chain),
        }
    }
}

pub(crate) fn line_rules(generation: &Generation, chain: &Chain) -> LineRules {
    let length = generation.read(&RFC2822_MAX_LINE_LENGTH, chain);
    let policy = generation.read(&RFC2822_MAX_LINE_LENGTH_POLICY, chain);
    LineRules {
        lone_in_headers: generation.read(&RFC2822_LONE_LF_IN_HEADERS, chain).0,
        lone_in_body: generation.read(&RFC2822_LONE_LF_IN_BODY, chain).0,
        long: long_lines(length, policy),
    }
}

fn long_lines(length: MaxLineLength, policy: LineLengthPolicy) -> LongLines {
    match (length, policy) {
        (MaxLineLength::Ignore, _) | (MaxLineLength::Octets(_), LineLengthPolicy::None) => LongLines::Ignore,
        (MaxLineLength::Pedantic, _) => LongLines::Reject(TEXT_LINE_OCTETS_MAX),
        (MaxLineLength::Fix, _) => LongLines::Fix(TEXT_LINE_OCTETS_MAX),
        (MaxLineLength::Octets(octets), LineLengthPolicy::Fix) => LongLines::Fix(octets),
        (MaxLineLength::Octets(octets), LineLengthPolicy::Reject) => LongLines::Reject(octets),
    }
}

pub(crate) fn address_rules(generation: &Generation, chain: &Chain) -> AddressRules {
    let pedantic = generation.read(&RFC2821_PEDANTIC_ADDRESS_RULES, chain);
    if pedantic { AddressRules::Pedantic } else { AddressRules::Relaxed }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_of_the_length_goes_before_the_policy() {
        use LineLengthPolicy as Policy;
        for (length, policy, long) in [
            (MaxLineLength::Octets(998), Policy::Reject, LongLines::Reject(998)),
            (MaxLineLength::Octets(2048), Policy::Fix, LongLines::Fix(2048)),
            (MaxLineLength::Octets(2048), Policy::None, LongLines::Ignore),
            (MaxLineLength::Ignore, Policy::Reject, LongLines::Ignore),
            (MaxLineLength::Pedantic, Policy::None, LongLines::Reject(998)),
            (MaxLineLength::Fix, Policy::Reject, LongLines::Fix(998)),
        ] {
            assert_eq!(long_lines(length, policy), long, "{length:?} {policy:?}");
        }
    }
}
