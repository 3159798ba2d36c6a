//! Bounce classification codes (reference: bounce-codes.tsv).

use std::fmt;

/// Why a delivery failed, as a number. Codes under 100 that are not listed here are an operator's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BounceClass(pub u8);

/// What a class means for the address or the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Category {
    /// Nothing is known.
    Undetermined,
    /// The address is of no use.
    Hard,
    /// It may work later.
    Soft,
    /// The receiver refuses the sender or the content.
    Block,
    /// Made here, or no failure at all.
    Admin,
}

impl BounceClass {
    /// No rule recognised the reply.
    pub const UNDETERMINED: Self = Self(1);
    /// The address does not exist or is refused for good.
    pub const INVALID_RECIPIENT: Self = Self(10);
    /// A temporary failure with no finer class.
    pub const SOFT_BOUNCE: Self = Self(20);
    /// The destination could not be resolved.
    pub const DNS_FAILURE: Self = Self(21);
    /// The mailbox is over its quota.
    pub const MAILBOX_FULL: Self = Self(22);
    /// The message is larger than the recipient accepts.
    pub const TOO_LARGE: Self = Self(23);
    /// Given up on time.
    pub const TIMEOUT: Self = Self(24);
    /// Failed here, by configuration, policy or an operator.
    pub const ADMIN_FAILURE: Self = Self(25);
    /// A bounce whose original recipient is unknown.
    pub const GENERIC_BOUNCE_NO_RCPT: Self = Self(30);
    /// A bounce with no stated cause.
    pub const GENERIC_BOUNCE: Self = Self(40);
    /// The sender is blocked in general.
    pub const MAIL_BLOCK: Self = Self(50);
    /// The sending host is listed as a source of spam.
    pub const SPAM_BLOCK: Self = Self(51);
    /// The content was taken for spam.
    pub const SPAM_CONTENT: Self = Self(52);
    /// An attachment is refused.
    pub const PROHIBITED_ATTACHMENT: Self = Self(53);
    /// The receiver does not relay for this recipient.
    pub const RELAYING_DENIED: Self = Self(54);
    /// An automatic answer.
    pub const AUTO_REPLY: Self = Self(60);
    /// Delayed; the sender still tries.
    pub const TRANSIENT_FAILURE: Self = Self(70);
    /// A request to subscribe.
    pub const SUBSCRIBE: Self = Self(80);
    /// A request to unsubscribe.
    pub const UNSUBSCRIBE: Self = Self(90);
    /// A challenge to the sender.
    pub const CHALLENGE_RESPONSE: Self = Self(100);

    /// The number that logs print.
    pub const fn code(self) -> u8 {
        self.0
    }

    /// The name, or `Custom` for an operator's own.
    pub const fn name(self) -> &'static str {
        match self.0 {
            1 => "Undetermined",
            10 => "Invalid Recipient",
            20 => "Soft Bounce",
            21 => "DNS Failure",
            22 => "Mailbox Full",
            23 => "Too Large",
            24 => "Timeout",
            25 => "Admin Failure",
            30 => "Generic Bounce: No RCPT",
            40 => "Generic Bounce",
            50 => "Mail Block",
            51 => "Spam Block",
            52 => "Spam Content",
            53 => "Prohibited Attachment",
            54 => "Relaying Denied",
            60 => "Auto-Reply",
            70 => "Transient Failure",
            80 => "Subscribe",
            90 => "Unsubscribe",
            100 => "Challenge-Response",
            _ => "Custom",
        }
    }

    /// The category.
    pub const fn category(self) -> Category {
        match self.0 {
            10 | 30 | 90 => Category::Hard,
            20..=24 | 40 | 60 | 70 | 100 => Category::Soft,
            25 | 80 => Category::Admin,
            50..=54 => Category::Block,
            _ => Category::Undetermined,
        }
    }
}

impl fmt::Display for BounceClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
