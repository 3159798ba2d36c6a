//! `ec_spool_check`: reads every message of a spool from end to end and counts what is wrong.
//!
//! Changes nothing. Every checksum is verified; an envelope must decode, a body be there, whole, and end as bodies do.

use std::fmt;
use std::sync::Arc;

use message::{MessageId, wire};
use spool::Archive;
use spool::archive::{Entry, Fault};

use crate::place;

/// How a check is made.
#[derive(Clone, Copy, Debug, Default)]
pub struct Checks {
    /// End at the first failure.
    pub end_early: bool,
    /// Leave bodies unread.
    pub metadata_only: bool,
}

/// What was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages looked at.
    pub scanned: u64,
    /// Messages with nothing wrong.
    pub ok: u64,
    /// Envelopes that cannot be read or understood.
    pub meta_failures: u64,
    /// Bodies that are missing or damaged.
    pub body_failures: u64,
    /// Stretches of the store that cannot be read, beside messages.
    pub store_failures: u64,
    /// What a run left unfinished and the next start clears away.
    pub leftovers: u64,
}

impl Counts {
    /// Whether mail may be missing or damaged.
    pub fn is_clean(&self) -> bool {
        self.meta_failures + self.body_failures + self.store_failures == 0
    }
}

/// Checks everything; `tell` hears each line for standard error.
pub fn check(archive: &Arc<Archive>, checks: Checks, tell: &mut dyn FnMut(String)) -> Counts {
    let (mut counts, chain) = (Counts::default(), place::chain(archive.clone()));
    for fault in archive.faults() {
        match fault {
            Fault::Bodiless(id) => {
                counts.scanned += 1;
                counts.body_failures += 1;
                tell(format!("FAIL {id}: its body is missing"));
            }
            Fault::Damage(text) => {
                counts.store_failures += 1;
                tell(format!("FAIL {text}"));
            }
            Fault::Notice(text) => {
                counts.leftovers += 1;
                tell(format!("NOTE {text}"));
            }
        }
    }
    let mut entries: Vec<&Entry> = archive.entries().iter().collect();
    entries.sort_by_key(|entry| entry.id);
    for entry in entries {
        if checks.end_early && !counts.is_clean() {
            break;
        }
        counts.scanned += 1;
        let headers = chain.read_headers(entry.id).wait();
        let failure = match headers {
            Err(error) => Some((&mut counts.meta_failures, error.to_string())),
            Ok(envelope) if envelope.id != entry.id => {
                Some((&mut counts.meta_failures, format!("its metadata is that of {}", envelope.id)))
            }
            Ok(_) if checks.metadata_only => None,
            Ok(_) => body(&chain, entry.id).err().map(|why| (&mut counts.body_failures, why)),
        };
        match failure {
            None => counts.ok += 1,
            Some((count, why)) => {
                *count += 1;
                tell(format!("FAIL {}: {why}", entry.id));
            }
        }
    }
    counts
}

fn body(chain: &spool::Spool, id: MessageId) -> Result<(), String> {
    let (envelope, body) = chain.read(id).wait().map_err(|error| error.to_string())?;
    if !body.ends_with(wire::TERMINATOR) {
        return Err("its body has no end".to_owned());
    }
    if envelope.body_bytes != body.len() as u64 {
        return Err(format!("its body has {} octets, its metadata says {}", body.len(), envelope.body_bytes));
    }
    Ok(())
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Total scanned: {}", self.scanned)?;
        writeln!(f, "Total ok: {}", self.ok)?;
        writeln!(f, "Meta failures: {}", self.meta_failures)?;
        writeln!(f, "Body failures: {}", self.body_failures)?;
        writeln!(f, "Store failures: {}", self.store_failures)?;
        write!(f, "Leftovers: {}", self.leftovers)
    }
}
