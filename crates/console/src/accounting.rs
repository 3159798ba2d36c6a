//! What the console tells about who connected and who gave which command, for the acctlog.
//!
//! The console knows no log: whoever builds it sets where these go. Told on the master scheduler, at the moment of the
//! decision, so that a command which ends the daemon is on record before it does.

use crate::peer::Peer;

/// One thing to account for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account<'a> {
    /// The Listen stanza the peer came through.
    pub listen: &'a str,
    /// Who.
    pub peer: &'a Peer,
    /// What.
    pub event: AccountEvent<'a>,
}

/// What an [`Account`] tells. Closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountEvent<'a> {
    /// The operating system vouches for the peer of a Unix socket: it is let in without a password.
    Identified,
    /// It was decided whether the peer may use this command line.
    Command {
        /// The line, without blanks around it.
        text: &'a str,
        /// Whether it may.
        allowed: bool,
    },
}

/// Where accounts go.
pub type Accounting = Box<dyn Fn(&Account<'_>)>;
