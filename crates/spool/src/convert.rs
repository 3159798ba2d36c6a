//! Copies every message of one store into another, off line, so that it may be killed and started again at any moment.
//!
//! In: an [`Archive`], which is not touched. Out: the same octets in a store of any kind. What the target holds already is
//! compared and passed over; everything copied is read back and compared. Blocks; one thread, many messages to a sync.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use message::MessageId;

use crate::archive::{Archive, Entry};
use crate::backend::Store;
use crate::chain::{BodyIn, CommitSet, HeadersIn, IoCaller, IoModule, IoResult, StagedHeaders};
use crate::error::SpoolError;
use crate::ticket::Ticket;

/// What a conversion did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Converted {
    /// Messages of the source.
    pub total: usize,
    /// Copied and verified.
    pub copied: usize,
    /// In the target already, and the same.
    pub present: usize,
    /// Not copied, or not the same: which, and why.
    pub failed: Vec<(MessageId, String)>,
}

/// Copies everything `from` holds into `to`, telling `progress` how many messages of how many are done.
pub fn convert(from: &Archive, to: &Store, progress: &mut dyn FnMut(usize, usize)) -> Result<Converted, SpoolError> {
    let target = to.module();
    let known = known(target.as_ref())?;
    let mut done = Converted { total: from.entries().len(), ..Converted::default() };
    let mut batches: BTreeMap<MessageId, Vec<&Entry>> = BTreeMap::new();
    for entry in from.entries() {
        match from.batch(entry) {
            Ok(batch) => batches.entry(batch).or_default().push(entry),
            Err(error) => done.failed.push((entry.id, error.to_string())),
        }
    }
    let batches: Vec<_> = batches.into_iter().collect();
    for some in batches.chunks(BATCHES_AT_ONCE) {
        let mut stored = Vec::new();
        for (batch, entries) in some {
            let (present, missing): (Vec<&Entry>, Vec<&Entry>) =
                entries.iter().partition(|entry| known.contains(&entry.id));
            for entry in present {
                done.note(entry.id, verify(from, target.as_ref(), entry), true);
            }
            match missing.as_slice() {
                [] => {}
                missing => stored.push((missing.to_vec(), store(from, target.as_ref(), *batch, missing))),
            }
        }
        for (entries, ticket) in stored {
            let result = ticket.and_then(Ticket::wait);
            for entry in entries {
                let verified = result.clone().map_err(|error| error.to_string());
                let verified = verified.and_then(|()| verify(from, target.as_ref(), entry));
                done.note(entry.id, verified, false);
            }
        }
        progress(done.copied + done.present + done.failed.len(), done.total);
    }
    Ok(done)
}

impl Converted {
    fn note(&mut self, id: MessageId, result: Result<(), String>, present: bool) {
        match result {
            Ok(()) if present => self.present += 1,
            Ok(()) => self.copied += 1,
            Err(why) => self.failed.push((id, why)),
        }
    }
}

/// What an earlier, unfinished conversion has stored.
fn known(target: &dyn IoModule) -> Result<HashSet<MessageId>, SpoolError> {
    let found = Arc::new(Mutex::new(HashSet::new()));
    let seen = Arc::clone(&found);
    target.process_disk_queue(&mut |id, _| {
        seen.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
    })?;
    let known = std::mem::take(&mut *found.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(known)
}

/// One batch's messages with their body.
fn store(
    from: &Archive,
    target: &dyn IoModule,
    batch: MessageId,
    entries: &[&Entry],
) -> Result<Ticket<()>, SpoolError> {
    let first = entries.first().ok_or(SpoolError::Missing { id: batch })?;
    let body = from.body(first)?;
    let mut set = CommitSet::default();
    let staged = set.staged(target);
    staged.bodies.push((batch, body.into()));
    for entry in entries {
        staged.encoded.extend_from_slice(&from.headers(entry)?);
        staged.headers.push(StagedHeaders { id: entry.id, batch, end: staged.encoded.len() });
    }
    target.commit(&mut set);
    Ok(set.finish())
}

/// Whether the target has the source's octets.
fn verify(from: &Archive, target: &dyn IoModule, entry: &Entry) -> Result<(), String> {
    let told = |error: SpoolError| error.to_string();
    let (headers, body) = read(target, entry.id).map_err(told)?;
    if headers != from.headers(entry).map_err(told)? {
        return Err("the target holds other metadata under this id".to_owned());
    }
    if body != from.body(entry).map_err(told)? {
        return Err("the target holds another body under this id".to_owned());
    }
    Ok(())
}

fn read(target: &dyn IoModule, id: MessageId) -> Result<(Vec<u8>, Vec<u8>), SpoolError> {
    let (mut headers, mut body) = (HeadersIn::new(id, None), BodyIn::new(id, u64::MAX));
    for result in
        [target.read_headers(IoCaller::Synchronous, &mut headers), target.read_body(IoCaller::Synchronous, &mut body)]
    {
        if let IoResult::Fail(error) = result {
            return Err(error);
        }
    }
    Ok((headers.finish()?, body.finish()?))
}

/// Enough to fill a batch of the target's.
const BATCHES_AT_ONCE: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    use bytes::Bytes;
    use scheduler::{Clock, Meters};

    use crate::backend::Kind;
    use crate::disk::faulty::FaultyDisk;
    use crate::journal::JournalOptions;

    fn open(disk: &FaultyDisk, kind: Kind, base: &str) -> Store {
        let options = JournalOptions { segment_bytes: 64 << 10, ..JournalOptions::new(base) };
        Store::open(kind, options, Arc::new(disk.clone()), Clock::system(), &Meters::new()).unwrap()
    }

    fn archive(disk: &FaultyDisk, base: &str) -> Archive {
        Archive::open(None, Path::new(base), Arc::new(disk.clone())).unwrap()
    }

    /// Fifty transactions, some of several recipients.
    fn fill(store: &Store) {
        let target = store.module();
        for batch in (1..=50u64).map(|number| number << 8) {
            let mut set = CommitSet::default();
            let staged = set.staged(target.as_ref());
            let body = Bytes::from(format!("body of {batch}\r\n.\r\n").repeat(batch as usize % 40));
            staged.bodies.push((MessageId::from_bits(batch), body));
            for id in batch..batch + 1 + batch % 3 {
                staged.encoded.extend_from_slice(format!("headers of {id}").as_bytes());
                let (id, batch) = (MessageId::from_bits(id), MessageId::from_bits(batch));
                staged.headers.push(StagedHeaders { id, batch, end: staged.encoded.len() });
            }
            target.commit(&mut set);
            set.finish().wait().unwrap();
        }
        target.close();
    }

    fn everything(archive: &Archive) -> BTreeMap<MessageId, (MessageId, Vec<u8>, Vec<u8>)> {
        let all = archive.entries().iter();
        let read = |entry: &Entry| {
            (archive.batch(entry).unwrap(), archive.headers(entry).unwrap(), archive.body(entry).unwrap())
        };
        all.map(|entry| (entry.id, read(entry))).collect()
    }

    #[test]
    fn every_message_arrives_octet_for_octet_in_either_direction_and_a_second_run_changes_nothing() {
        for (kind, other) in [(Kind::Journal, Kind::File), (Kind::File, Kind::Journal)] {
            let disk = FaultyDisk::seeded(1);
            fill(&open(&disk, kind, "/one"));
            let from = archive(&disk, "/one");
            let total = from.entries().len();
            for (copied, present) in [(total, 0), (0, total)] {
                let to = open(&disk, other, "/two");
                let done = convert(&from, &to, &mut |_, _| {}).unwrap();
                assert_eq!(done, Converted { total, copied, present, failed: Vec::new() }, "{kind} to {other}");
                to.module().close();
            }
            assert_eq!(everything(&from), everything(&archive(&disk, "/two")));
            from.remove_all().unwrap();
            drop(from);
            assert_eq!(Kind::of_directory(&disk, Path::new("/one")).unwrap(), None);
        }
    }

    #[test]
    fn a_conversion_that_was_killed_is_finished_by_the_next() {
        let disk = FaultyDisk::seeded(1);
        fill(&open(&disk, Kind::Journal, "/one"));
        {
            let (from, to) = (archive(&disk, "/one"), open(&disk, Kind::File, "/two"));
            let some = from.entries().iter().filter(|entry| entry.id.to_bits() < 20 << 8);
            for entry in some {
                let batch = from.batch(entry).unwrap();
                store(&from, to.module().as_ref(), batch, &[entry]).unwrap().wait().unwrap();
            }
        }
        disk.kill();
        let (from, to) = (archive(&disk, "/one"), open(&disk, Kind::File, "/two"));
        let done = convert(&from, &to, &mut |_, _| {}).unwrap();
        assert!(0 < done.present && 0 < done.copied && done.failed.is_empty(), "{done:?}");
        to.module().close();
        assert_eq!(everything(&from), everything(&archive(&disk, "/two")));
    }

    #[test]
    fn what_the_target_holds_otherwise_under_the_same_id_is_told() {
        let disk = FaultyDisk::seeded(1);
        fill(&open(&disk, Kind::Journal, "/one"));
        let (from, to) = (archive(&disk, "/one"), open(&disk, Kind::File, "/two"));
        let id = from.entries()[0].id;
        let target = to.module();
        let mut set = CommitSet::default();
        let staged = set.staged(target.as_ref());
        staged.bodies.push((id, Bytes::from_static(b"another\r\n.\r\n")));
        staged.headers.push(StagedHeaders { id, batch: id, end: 0 });
        target.commit(&mut set);
        set.finish().wait().unwrap();
        drop((target, to));
        let done = convert(&from, &open(&disk, Kind::File, "/two"), &mut |_, _| {}).unwrap();
        assert_eq!(done.failed, [(id, "the target holds other metadata under this id".to_owned())]);
    }
}
