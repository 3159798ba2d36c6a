//! The one writer of an `sqlite` store: bodies as files first, then all headers of a batch in one transaction.
//!
//! Runs on the store's thread. Invariant: a row is committed only when its body is durable, and a body is removed only when
//! the rows that wanted it are durably gone; so a crash leaves at most bodies that nobody wants, which the next start removes.
//! A message whose removal failed is removed with the next batch.

use std::collections::BTreeSet;
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use message::MessageId;
use scheduler::Clock;

use super::orphans::Running;
use super::reserve::Reserve;
use super::table::{Row, Table};
use crate::chain::Staged;
use crate::disk::{CrashPoints, Disk};
use crate::error::SpoolError;
use crate::file::{BODY, BodyMark, body_directory, body_path, sweep, window};
use crate::ledger::Ledger;
use crate::ticket::Promise;
use crate::writer::Op;

/// The writer.
pub struct SqliteWriter {
    pub table: Table,
    pub disk: Arc<dyn Disk>,
    /// Where the bodies are.
    pub base: PathBuf,
    pub mode: u32,
    pub force_fsync: bool,
    pub clock: Clock,
    pub crash: CrashPoints,
    pub ledger: Arc<Ledger>,
    pub running: Running,
    pub reserve: Reserve,
    /// The newest window that mail has come into.
    pub newest_window: String,
    /// Messages whose removal failed.
    pub unremoved: Vec<MessageId>,
    /// The reserve was given up.
    pub reserve_is_due: bool,
}

/// A store on its way.
struct Plan {
    staged: Staged,
    promise: Promise<()>,
    error: Option<SpoolError>,
}

impl SqliteWriter {
    /// Does a batch; whether it was the last.
    pub fn commit(&mut self, ops: Vec<Op>) -> bool {
        let began = self.clock.now();
        let (mut plans, mut unlinks, mut closing) = (Vec::new(), Vec::new(), None);
        for op in ops {
            match op {
                Op::Store(staged, promise) => plans.push(Plan { staged, promise, error: None }),
                Op::Unlink(id, promise) => unlinks.push((id, promise)),
                Op::Close(promise) => closing = Some(promise),
            }
        }
        let octets = plans.iter().map(Plan::octets).sum();
        let newest = plans.iter().flat_map(|plan| &plan.staged.bodies).map(|(id, _)| window(*id)).max();
        self.crash.pass("write");
        self.bodies(&mut plans);
        self.crash.pass("written");
        let again = std::mem::take(&mut self.unremoved);
        let ids: Vec<MessageId> = again.into_iter().chain(unlinks.iter().map(|(id, _)| *id)).collect();
        let mut done = self.transact(&mut plans, &ids);
        if done.is_err() && !ids.is_empty() {
            // What is new may be what there is no room for: that finished mail stays finished does not wait for it.
            self.settle(std::mem::take(&mut plans), done.as_ref().err());
            done = self.unlink_with_the_reserve(&ids);
        }
        if done.is_ok() {
            for &id in &ids {
                self.ledger.census.remove(id);
            }
        }
        if !plans.is_empty() {
            self.ledger.gauges.committed(self.clock.now() - began, plans.len() as u64, octets);
        }
        self.settle(plans, done.as_ref().err());
        self.unlinked(ids, unlinks, done);
        self.leave_old_windows(newest);
        if self.reserve_is_due {
            self.reserve_is_due = !self.reserve.take();
        }
        if closing.is_some() {
            self.close();
        }
        closing.map(|promise| promise.keep(Ok(()))).is_some()
    }

    /// After the last batch. Nothing is left in the log, so that no damage to it costs anything.
    fn close(&self) {
        match self.table.make_durable() {
            Ok(()) => self.running.log_is_empty(),
            Err(error) => {
                tracing::warn!(target: "SPOOL", "the next start takes longer: {error}");
                self.running.leave_orphan();
            }
        }
        if self.unremoved.is_empty() {
            self.running.end();
        }
    }

    /// Removes rows where there may be no room for new ones. The log is copied into the database, which has room for fewer rows.
    fn unlink_with_the_reserve(&mut self, ids: &[MessageId]) -> Result<Vec<MessageId>, SpoolError> {
        self.reserve.give_up();
        let done = self.transact(&mut [], ids);
        let copied = self.table.make_durable();
        if copied.is_ok() {
            self.running.log_is_empty();
        }
        self.reserve_is_due = true;
        match (done, copied) {
            (Err(SpoolError::Full { .. }), Ok(())) => self.transact(&mut [], ids),
            (done, _) => done,
        }
    }

    /// After the rows of finished messages are gone, or are not.
    fn unlinked(
        &mut self,
        ids: Vec<MessageId>,
        unlinks: Vec<(MessageId, Option<Promise<()>>)>,
        done: Result<Vec<MessageId>, SpoolError>,
    ) {
        match &done {
            Ok(freed) => {
                self.ledger.gauges.unlinked.add(ids.len() as u64);
                freed.iter().for_each(|&batch| self.forget(batch));
            }
            Err(error) => {
                if !ids.is_empty() {
                    let count = ids.len();
                    tracing::error!(target: "SPOOL", "{count} finished messages are not removed, trying again with the next: {error}");
                }
                self.unremoved = ids;
            }
        }
        for (_, promise) in unlinks {
            if let Some(promise) = promise {
                promise.keep(done.as_ref().map(drop).map_err(Clone::clone));
            }
        }
    }

    /// Removes the empty directories of windows that no new mail falls into, once in each window.
    fn leave_old_windows(&mut self, newest: Option<String>) {
        if let Some(newest) = newest.filter(|newest| self.newest_window < *newest) {
            sweep(self.disk.as_ref(), &self.base, &newest);
            self.newest_window = newest;
        }
    }

    /// Writes the bodies and syncs them with their directories.
    fn bodies(&self, plans: &mut [Plan]) {
        let mut touched = BTreeSet::new();
        for plan in plans.iter_mut() {
            for (id, octets) in &plan.staged.bodies {
                let directory = body_directory(&self.base, *id);
                plan.error = self.body(*id, &directory, octets).err();
                if plan.error.is_some() {
                    break;
                }
                touched.insert(directory);
            }
        }
        for directory in touched.iter().filter(|_| self.force_fsync) {
            let Err(error) = self.disk.sync_dir(directory) else { continue };
            let error = self.failed("sync", directory, error);
            let here = |plan: &&mut Plan| {
                plan.staged.bodies.iter().any(|(id, _)| body_directory(&self.base, *id) == *directory)
            };
            plans.iter_mut().filter(here).for_each(|plan| {
                plan.error.get_or_insert(error.clone());
            });
        }
    }

    fn body(&self, batch: MessageId, directory: &Path, octets: &[u8]) -> Result<(), SpoolError> {
        let path = body_path(&self.base, batch);
        let new = path.with_extension(format!("{}.tmp", &BODY[1..]));
        let write = || {
            if self.disk.list(directory).is_err() {
                self.disk.create_dir(directory)?;
                for above in directory.ancestors().skip(1).take(2) {
                    self.disk.sync_dir(above)?;
                }
            }
            let _ = self.disk.remove(&new);
            let file = self.disk.create(&new, self.mode)?;
            if !octets.is_empty() {
                file.write_all(&mut [IoSlice::new(octets)], 0)?;
            }
            if self.force_fsync {
                file.fdatasync()?;
            }
            self.disk.rename(&new, &path)
        };
        write().map_err(|error| self.failed("write", &path, error))
    }

    /// One transaction for everything. The batches that no message wants any more, or why nothing of it happened.
    fn transact(&self, plans: &mut [Plan], unlinks: &[MessageId]) -> Result<Vec<MessageId>, SpoolError> {
        self.table.begin()?;
        let written = (|| {
            for plan in plans.iter_mut().filter(|plan| plan.error.is_none()) {
                match self.headers(&plan.staged) {
                    // Nobody knows of such a message: its caller's mistake, and not the batch's.
                    Err(error @ SpoolError::Missing { .. }) => plan.error = Some(error),
                    other => other?,
                }
            }
            let mut left = BTreeSet::new();
            for &id in unlinks {
                left.extend(self.table.delete(id)?);
            }
            let mut freed = Vec::new();
            for batch in left {
                if !self.table.wants(batch)? {
                    freed.push(batch);
                }
            }
            Ok(freed)
        })();
        if written.is_err() {
            self.table.abandon();
            return written;
        }
        self.crash.pass("sync");
        self.running.log_is_used();
        self.table.commit()?;
        self.crash.pass("synced");
        written
    }

    fn headers(&self, staged: &Staged) -> Result<(), SpoolError> {
        let marks: Vec<BodyMark> = staged.bodies.iter().map(|(_, octets)| BodyMark::of(octets)).collect();
        let mut start = 0;
        let mut rows = Vec::new();
        for headers in &staged.headers {
            let octets = staged.encoded[start..headers.end].to_vec();
            start = headers.end;
            let (batch, body) = match staged.body(headers.batch) {
                Some((place, _)) => (headers.batch, marks[place]),
                None if !marks.is_empty() => return Err(SpoolError::Missing { id: headers.batch }),
                None => {
                    let known = self.table.row(headers.id)?;
                    (known.batch, known.body)
                }
            };
            rows.push((headers.id, Row { batch, body, headers: octets }));
        }
        rows.iter().try_for_each(|(id, row)| self.table.insert(*id, row))
    }

    fn settle(&self, plans: Vec<Plan>, failed: Option<&SpoolError>) {
        for plan in plans {
            let Some(error) = plan.error.clone().or_else(|| failed.cloned()) else {
                if !plan.staged.bodies.is_empty() {
                    let share = plan.octets() / plan.staged.headers.len().max(1) as u64;
                    plan.staged.headers.iter().for_each(|headers| self.ledger.census.add(headers.id, share));
                }
                plan.promise.keep(Ok(()));
                continue;
            };
            self.ledger.failed(&error);
            tracing::error!(target: "SPOOL", "not stored: {error}");
            for (id, _) in &plan.staged.bodies {
                if matches!(self.table.wants(*id), Ok(false)) {
                    self.forget(*id);
                }
            }
            plan.promise.keep(Err(error));
        }
    }

    /// A body that no row wants.
    fn forget(&self, batch: MessageId) {
        self.crash.pass("unlink");
        let path = body_path(&self.base, batch);
        match self.disk.remove(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                self.running.leave_orphan();
                tracing::warn!(target: "SPOOL", "a body that no message wants stays until the next start: {}", self.failed("remove", &path, error));
            }
            _ => {}
        }
    }

    fn failed(&self, doing: &'static str, path: &Path, error: std::io::Error) -> SpoolError {
        let free = self.disk.space(&self.base).map_or(0, |space| space.free_bytes);
        SpoolError::from_io(doing, path, error, (0, free))
    }
}

impl Plan {
    fn octets(&self) -> u64 {
        (self.staged.body_octets() + self.staged.encoded.len()) as u64
    }
}
