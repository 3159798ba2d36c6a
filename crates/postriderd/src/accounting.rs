//! The acctlog of the console: who connected, and which command was or was not allowed (reference: log-formats.md
//! section 5).
//!
//! Hands what the console tells to the log hooks of the generation then running. On the master scheduler.

use config::Configuration;
use console::{Account, AccountEvent, Accounting, Peer};
use hooks::HookSet;
use logging::{AccountingEvent, AccountingRecord, AuthorizationVerdict, LogHooks};
use scheduler::Clock;

/// Where the console's accounts go.
pub fn of(configuration: Configuration, clock: Clock) -> Accounting {
    Box::new(move |account| {
        if let Some(set) = configuration.current().extension::<HookSet>() {
            LogHooks::of(&set).accounting(&record(account, clock));
        }
    })
}

fn record<'a>(account: &Account<'a>, clock: Clock) -> AccountingRecord<'a> {
    let peer = match account.peer {
        Peer::Unix { .. } => None,
        Peer::Tcp(address) => Some(*address),
    };
    let event = match account.event {
        AccountEvent::Identified => AccountingEvent::Authentication(true),
        AccountEvent::Command { text, allowed } => {
            // There are no roles yet: who is allowed is so by nobody's word.
            let verdict = if allowed { AuthorizationVerdict::Allowed("") } else { AuthorizationVerdict::Refused };
            AccountingEvent::Authorization { command: text, verdict }
        }
    };
    AccountingRecord {
        at: clock.unix(),
        listener: account.listen,
        peer,
        user: account.peer.user().unwrap_or(""),
        event,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_becomes_the_record_of_the_acctlog() {
        let root = Peer::Unix { uid: 0, pid: 7, user: "root".into() };
        let account = Account { listen: "/tmp/2025", peer: &root, event: AccountEvent::Identified };
        let shown = record(&account, Clock::system());
        assert_eq!((shown.listener, shown.peer, shown.user), ("/tmp/2025", None, "root"));
        assert_eq!(shown.event, AccountingEvent::Authentication(true));
        let somebody = Peer::Tcp("192.0.2.30:37162".parse().unwrap());
        let event = AccountEvent::Command { text: "shutdown", allowed: false };
        let shown = record(&Account { listen: "*:2025", peer: &somebody, event }, Clock::system());
        assert_eq!((shown.peer, shown.user), ("192.0.2.30:37162".parse().ok(), ""));
        let verdict = AuthorizationVerdict::Refused;
        assert_eq!(shown.event, AccountingEvent::Authorization { command: "shutdown", verdict });
    }
}
