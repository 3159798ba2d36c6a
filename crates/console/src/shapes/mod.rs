//! How the answers of the documented commands look: plain data in, text and JSON out.
//!
//! Whoever carries a command out fills one of these structs and returns [`Shape::reply`]. Labels, their order, widths and
//! punctuation are those operators' scripts already read; the JSON keys are those of the documented HTTP twin where there
//! is one, and snake case otherwise. Nothing here knows where the numbers come from.

mod binding;
mod configuration;
mod domain;
mod exposition;
mod logs;
mod mailq;
mod memory;
mod message;
mod modules;
mod paniclog;
mod purge;
mod recipient_domains;
mod sessions;
mod summary;
mod threads;
mod waiting;

pub use binding::{BindingSummary, BindingTotals};
pub use configuration::ConfigReloaded;
pub use domain::{
    DomainAddress, DomainConnection, DomainCounts, DomainList, DomainMx, DomainReport, DomainRoute, ListKind,
};
pub use exposition::{Exposition, family_of};
pub use logs::{LogsReopened, ReopenedLog};
pub use mailq::{Mailq, MailqRow, QueueListing, QueueRow};
pub use memory::{AllocatorReport, Exceeded, FixedType, MemoryReport, VariableType};
pub use message::{DetailsPart, MessageDetails};
pub use modules::{ModuleList, ModuleRow};
pub use paniclog::{Paniclog, PaniclogEntry};
pub use purge::{DelayReply, DryRun, DryRunRow, FailReply, FlushReply, RerouteReply, Scope};
pub use recipient_domains::RecipientDomains;
pub use sessions::{InboundSession, InboundSessions, OutboundSession, OutboundSessions, SessionCount};
pub use summary::SummaryData;
pub use threads::{PoolQueue, PoolReport, PoolReports};
pub use waiting::Waiting;

use serde_json::{Value, json};

use crate::commands::Reply;

/// Something a command answers with.
pub trait Shape {
    /// The documented text.
    fn text(&self) -> String;
    /// The same for programs.
    fn json(&self) -> Value;
    /// Both.
    fn reply(&self) -> Reply {
        Reply::new(self.text(), self.json())
    }
}

/// `summary reset`.
pub fn statistics_cleared() -> Reply {
    Reply::message("statistics cleared.")
}

/// `version`.
pub fn version(product: &str, version: &str) -> Reply {
    Reply::new(format!("{product} {version}\n"), json!({ "product": product, "version": version }))
}

/// `pid`.
pub fn pid(pid: u32) -> Reply {
    Reply::new(format!("{pid}\n"), json!({ "pid": pid }))
}

/// `shutdown`.
pub fn shutting_down() -> Reply {
    Reply::message("Shutting down.")
}

/// Adds one line to a text: one, whatever the values are.
macro_rules! line {
    ($text:expr, $($format:tt)*) => {{
        $text.push_str(&smtp::text::one_line(&format!($($format)*)));
        $text.push('\n');
    }};
}
use line;

/// A share in percent; zero of nothing.
fn percent(part: f64, whole: f64) -> f64 {
    if whole == 0.0 { 0.0 } else { 100.0 * part / whole }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_answers() {
        assert_eq!(statistics_cleared(), Reply::new("statistics cleared.", json!({ "message": "statistics cleared" })));
        assert_eq!(version("Postrider", "1.2.3").text, "Postrider 1.2.3\n");
        assert_eq!(pid(4817), Reply::new("4817\n", json!({ "pid": 4817 })));
    }
}
