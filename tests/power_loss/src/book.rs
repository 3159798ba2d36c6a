//! What a writer began and was promised, and whether what a start found keeps the promises.
//!
//! Every message that was acknowledged and not unlinked is there, once, byte for byte, with headers no older than the last
//! ones acknowledged; of a transaction that was not acknowledged all is there or nothing; of what was unlinked only as much
//! comes back as the backlog holds.

use std::collections::{BTreeMap, BTreeSet};

use crate::mail::{self, UNLINK_BACKLOG};

/// The promises made so far, over all boots.
#[derive(Clone, Default)]
pub struct Book {
    messages: BTreeMap<u64, Promised>,
    batches: BTreeMap<u64, Vec<u64>>,
    boots: usize,
}

#[derive(Clone)]
struct Promised {
    batch: u64,
    /// It was acknowledged.
    stored: bool,
    /// Headers of these versions may be found.
    versions: (u32, u32),
    /// It may be gone.
    unlinked: bool,
}

/// A message as a start found it.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Its id.
    pub id: u64,
    /// Its envelope.
    pub envelope: message::Envelope,
    /// Its body, or why it cannot be read.
    pub body: Result<message::Body, String>,
}

impl Book {
    /// Writes down what a boot said.
    pub fn hear(&mut self, said: &[String]) {
        self.boots += 1;
        for line in said {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            let numbers: Vec<u64> = rest.split(' ').filter_map(|text| text.parse().ok()).collect();
            match (word, &numbers[..]) {
                ("store", [batch, ..]) => {
                    let new = Promised { batch: *batch, stored: false, versions: (0, 0), unlinked: false };
                    self.messages.extend(numbers.iter().map(|id| (*id, new.clone())));
                    self.batches.insert(*batch, numbers.clone());
                }
                ("stored", [batch]) => {
                    for id in self.batches[batch].clone() {
                        self.message(id).stored = true;
                    }
                }
                ("rewrite", [id, version]) => self.message(*id).versions.1 = *version as u32,
                ("rewritten", [id, version]) => self.message(*id).versions.0 = *version as u32,
                ("unlink", [id]) => self.message(*id).unlinked = true,
                ("read" | "closed", []) => {}
                _ => panic!("the writer said {line:?}"),
            }
        }
    }

    /// Messages that must be there.
    pub fn promised(&self) -> usize {
        self.messages.values().filter(|message| message.stored && !message.unlinked).count()
    }

    fn message(&mut self, id: u64) -> &mut Promised {
        self.messages.get_mut(&id).unwrap_or_else(|| panic!("message {id} was never stored"))
    }

    /// What is wrong with what was found.
    pub fn check(&self, found: &[Found]) -> Result<(), String> {
        let mut there = BTreeSet::new();
        for message in found {
            let promised = self.messages.get(&message.id).ok_or_else(|| format!("{} was never stored", message.id))?;
            promised.check(message)?;
            if !there.insert(message.id) {
                return Err(format!("{} was handed over twice", message.id));
            }
        }
        for (id, promised) in &self.messages {
            if promised.stored && !promised.unlinked && !there.contains(id) {
                return Err(format!("{id} of {} was acknowledged and is lost", promised.batch));
            }
        }
        for (batch, ids) in &self.batches {
            let whole = ids.iter().all(|id| !self.messages[id].unlinked);
            let count = ids.iter().filter(|id| there.contains(id)).count();
            if whole && count != 0 && count != ids.len() {
                return Err(format!("{count} of {} messages of {batch} are there", ids.len()));
            }
        }
        let returned = there.iter().filter(|id| self.messages[id].unlinked).count();
        // The backlog on the way to the disk, as much again before it, and one for each thread that waits. What a boot brings
        // back may still be there after the next.
        if self.boots * (2 * UNLINK_BACKLOG + 3) < returned {
            return Err(format!("{returned} messages that were unlinked are back"));
        }
        Ok(())
    }
}

impl Promised {
    fn check(&self, Found { id, envelope, body }: &Found) -> Result<(), String> {
        let version = envelope.delivery.retries;
        if !(self.versions.0..=self.versions.1).contains(&version) {
            let (versions, told) = (self.versions, self.told());
            return Err(format!("{id} has version {version} of its headers and not {versions:?}; {told}"));
        }
        if *envelope != mail::envelope(*id, self.batch, version) {
            return Err(format!("{id} has other headers than it was given: {envelope:?}"));
        }
        if body.as_ref() != Ok(&mail::body(mail::body_id(*id, self.batch))) {
            let why =
                body.as_ref().map_or_else(Clone::clone, |body| format!("{} octets of something else", body.len()));
            return Err(format!("{id} has not its body: {why}; {}", self.told()));
        }
        Ok(())
    }

    fn told(&self) -> &'static str {
        match (self.stored, self.unlinked) {
            (_, true) => "it was unlinked",
            (true, false) => "it was acknowledged",
            (false, false) => "it was not acknowledged",
        }
    }
}
