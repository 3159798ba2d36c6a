//! The one writer of a `file` store: brings a batch of operations to disk together.
//!
//! Steps, each for the whole batch before the next: markers of transactions with several recipients; temporary files,
//! written and synced, several at a time; renames and links; removals; one sync for every directory touched; markers away;
//! answers. A body is in place before its metadata, and metadata without a body was never acknowledged.
//!
//! Runs on the store's thread; a test drives it directly. Invariant: an answer is Ok only after every sync it rests on.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use message::MessageId;

use super::files::{Files, is_missing};
use super::layout::{self, BODY, MARKER, META, TEMPORARY};
use super::meta::{BodyMark, Meta};
use crate::chain::Staged;
use crate::error::{SpoolError, is_full};
use crate::ticket::Promise;
use crate::writer::Op;

/// The writer.
pub struct Committer {
    files: Arc<Files>,
    /// Directories that exist, durably.
    known: HashSet<PathBuf>,
    newest_window: String,
    serial: u64,
    /// Directories with removals that are not synced, and how many removals.
    owed: BTreeSet<PathBuf>,
    owed_unlinks: usize,
    /// Messages whose files could not be removed, to be tried with the next batch.
    unremoved: Vec<MessageId>,
}

/// One operation on its way.
struct Plan {
    promise: Promise<()>,
    error: Option<SpoolError>,
    /// Messages that are new with it: removed again if it fails.
    new: Vec<MessageId>,
    marker: Option<PathBuf>,
    bodies: Vec<Write>,
    /// Body files that are one more name of one of those.
    links: Vec<(usize, PathBuf)>,
    metas: Vec<Write>,
    entered: bool,
}

/// A file to be written under another name first.
struct Write {
    temporary: PathBuf,
    path: PathBuf,
    octets: Bytes,
}

impl Committer {
    /// A writer of these files, which has made nothing yet.
    pub fn new(files: Arc<Files>) -> Self {
        Self {
            files,
            known: HashSet::new(),
            newest_window: String::new(),
            serial: 0,
            owed: BTreeSet::new(),
            owed_unlinks: 0,
            unremoved: Vec::new(),
        }
    }

    /// Whether removals are not durable yet.
    #[cfg(test)]
    pub fn owes(&self) -> bool {
        self.owed_unlinks != 0 || !self.owed.is_empty() || !self.unremoved.is_empty()
    }

    /// Does a batch; whether it was the last.
    pub fn commit(&mut self, ops: Vec<Op>) -> bool {
        let began = self.files.clock.now();
        let (mut plans, mut unlinks, mut closing) = (Vec::new(), Vec::new(), None);
        let mut pending = HashMap::new();
        for op in ops {
            match op {
                Op::Store(staged, promise) => plans.push(self.plan(staged, promise, &mut pending)),
                Op::Unlink(id, promise) => unlinks.push((id, promise)),
                Op::Close(promise) => closing = Some(promise),
            }
        }
        let (stored, octets) = (plans.len() as u64, plans.iter().map(Plan::octets).sum());
        self.mark(&mut plans);
        self.write(&mut plans);
        let mut touched = self.enter(&mut plans);
        self.unlink(unlinks, &mut touched, closing.is_some());
        self.sync(&mut plans, touched);
        self.settle(plans);
        if stored != 0 {
            self.files.ledger.gauges.committed(self.files.clock.now() - began, stored, octets);
        }
        self.leave_old_windows();
        match closing {
            Some(promise) => {
                promise.keep(Ok(()));
                true
            }
            None => false,
        }
    }

    fn plan(&mut self, staged: Staged, promise: Promise<()>, pending: &mut HashMap<MessageId, BodyMark>) -> Plan {
        let (bodies, links, new, metas) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut plan = Plan { promise, error: None, new, marker: None, bodies, links, metas, entered: false };
        let marks: Vec<BodyMark> = staged.bodies.iter().map(|(_, octets)| BodyMark::of(octets)).collect();
        // Where the file of each body is among those to be written.
        let mut written: Vec<Option<usize>> = vec![None; marks.len()];
        let mut start = 0;
        for headers in &staged.headers {
            let encoded = staged.encoded[start..headers.end].to_vec();
            start = headers.end;
            let new = staged.body(headers.batch);
            if new.is_none() && !marks.is_empty() {
                plan.error = Some(SpoolError::Missing { id: headers.batch });
                return plan;
            }
            if let Some((place, octets)) = new {
                match written[place] {
                    Some(body) => plan.links.push((body, self.files.path(headers.id, BODY))),
                    None => {
                        written[place] = Some(plan.bodies.len());
                        plan.bodies.push(self.file(headers.id, BODY, octets.clone()));
                    }
                }
                plan.new.push(headers.id);
            }
            let known = new.map(|(place, _)| marks[place]).or_else(|| pending.get(&headers.id).copied());
            // A rewrite: the body stays as it is.
            let found = known.map_or_else(|| self.files.meta(headers.id).map(|meta| meta.body), Ok);
            let body = match found {
                Ok(body) => body,
                Err(error) => {
                    plan.error = Some(error);
                    return plan;
                }
            };
            pending.insert(headers.id, body);
            let meta = Meta { id: headers.id, batch: headers.batch, body, encoded };
            plan.metas.push(self.file(headers.id, META, Bytes::from(meta.render())));
        }
        if let [first, _, ..] = plan.new[..] {
            plan.marker = Some(self.files.path(first, MARKER));
        }
        let directories: BTreeSet<PathBuf> =
            staged.headers.iter().map(|headers| self.files.directory(headers.id)).collect();
        plan.error = directories.into_iter().find_map(|directory| self.directory(directory).err());
        if let Some(newest) = staged.headers.iter().map(|headers| layout::window(headers.id)).max() {
            self.newest_window = newest.max(std::mem::take(&mut self.newest_window));
        }
        plan
    }

    fn file(&mut self, id: MessageId, suffix: &str, octets: Bytes) -> Write {
        self.serial += 1;
        let path = self.files.path(id, suffix);
        let temporary = path.with_extension(format!("{}{TEMPORARY}{}", &suffix[1..], self.serial));
        Write { temporary, path, octets }
    }

    /// Makes a directory of messages, durably.
    fn directory(&mut self, directory: PathBuf) -> Result<(), SpoolError> {
        if self.known.contains(&directory) {
            return Ok(());
        }
        let files = &self.files;
        files.disk.create_dir(&directory).map_err(|error| files.failed("make a directory", &directory, error))?;
        for above in directory.ancestors().skip(1).take(2) {
            files.sync_dir(above)?;
        }
        self.known.insert(directory);
        Ok(())
    }

    /// Says which messages are being stored together, so that a crash leaves all or none of them.
    fn mark(&mut self, plans: &mut [Plan]) {
        let mut touched = BTreeSet::new();
        for plan in plans.iter_mut().filter(|plan| plan.error.is_none()) {
            let Some(marker) = plan.marker.clone() else { continue };
            let ids: String = plan.new.iter().map(|id| format!("{id}\n")).collect();
            // One may be left from an attempt that failed.
            let written = self.files.remove_file(&marker).and_then(|()| self.files.write(&marker, ids.as_bytes()));
            plan.error = written.err();
            touched.extend(marker.parent().map(Path::to_owned));
        }
        for directory in touched {
            if let Err(error) = self.files.sync_dir(&directory) {
                let here = |plan: &&mut Plan| plan.marker.as_ref().is_some_and(|marker| marker.starts_with(&directory));
                plans.iter_mut().filter(here).for_each(|plan| plan.fail(error.clone()));
            }
        }
    }

    /// Temporary files, several at a time: the device and the file system gather their syncs.
    fn write(&mut self, plans: &mut [Plan]) {
        self.files.crash.pass("write");
        let jobs: Vec<(usize, &Write)> = plans
            .iter()
            .enumerate()
            .filter(|(_, plan)| plan.error.is_none())
            .flat_map(|(at, plan)| plan.bodies.iter().chain(&plan.metas).map(move |write| (at, write)))
            .collect();
        let threads = self.files.threads.min(jobs.len().div_ceil(2)).max(1);
        let files = &*self.files;
        let some = |jobs: &[(usize, &Write)]| -> Vec<(usize, SpoolError)> {
            let write =
                |&(at, write): &(usize, &Write)| Some((at, files.write(&write.temporary, &write.octets).err()?));
            jobs.iter().filter_map(write).collect()
        };
        let failed: Vec<(usize, SpoolError)> = if threads == 1 {
            some(&jobs)
        } else {
            std::thread::scope(|scope| {
                let shares = jobs.chunks(jobs.len().div_ceil(threads));
                let writers: Vec<_> = shares.map(|share| scope.spawn(move || some(share))).collect();
                writers
                    .into_iter()
                    .flat_map(|writer| writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                    .collect()
            })
        };
        failed.into_iter().for_each(|(at, error)| plans[at].fail(error));
        self.files.crash.pass("written");
    }

    /// Gives the files their names: bodies first. The directories touched.
    fn enter(&mut self, plans: &mut [Plan]) -> BTreeSet<PathBuf> {
        let mut touched = BTreeSet::new();
        for plan in plans.iter_mut().filter(|plan| plan.error.is_none()) {
            plan.entered = true;
            plan.error = self.files.enter(&plan.bodies, &plan.links, &plan.metas).err();
            touched.extend(plan.directories());
        }
        touched
    }

    /// Removes finished messages. Their directories are synced before more than the backlog's removals wait for it.
    fn unlink(&mut self, unlinks: Vec<(MessageId, Option<Promise<()>>)>, touched: &mut BTreeSet<PathBuf>, all: bool) {
        let again = std::mem::take(&mut self.unremoved).into_iter().map(|id| (id, None));
        let mut answers = Vec::new();
        for (id, promise) in again.chain(unlinks) {
            self.files.crash.pass("unlink");
            let removed = self.files.remove(id);
            if let Err(error) = &removed {
                tracing::error!(target: "SPOOL", "message {id} cannot be removed, trying again with the next: {error}");
                self.unremoved.push(id);
            } else {
                self.files.ledger.gauges.unlinked.add(1);
            }
            self.owed.insert(self.files.directory(id));
            self.owed_unlinks += 1;
            answers.extend(promise.map(|promise| (promise, removed)));
        }
        if all || self.files.unlink_backlog <= self.owed_unlinks {
            touched.append(&mut self.owed);
            self.owed_unlinks = 0;
        }
        answers.into_iter().for_each(|(promise, removed)| promise.keep(removed));
    }

    fn sync(&mut self, plans: &mut [Plan], touched: BTreeSet<PathBuf>) {
        self.files.crash.pass("sync");
        for directory in touched {
            let Err(error) = self.files.sync_dir(&directory) else {
                self.owed.remove(&directory);
                continue;
            };
            let here = |plan: &&mut Plan| plan.directories().any(|touched| touched == directory);
            self.owed.insert(directory.clone());
            plans.iter_mut().filter(here).for_each(|plan| plan.fail(error.clone()));
        }
        self.files.crash.pass("synced");
        let marked = plans.iter_mut().filter(|plan| plan.error.is_none());
        let mut touched = BTreeSet::new();
        for plan in marked {
            let Some(marker) = &plan.marker else { continue };
            plan.error = self.files.remove_file(marker).err();
            touched.extend(marker.parent().map(Path::to_owned));
        }
        for directory in touched {
            if let Err(error) = self.files.sync_dir(&directory) {
                let here = |plan: &&mut Plan| plan.marker.as_ref().is_some_and(|marker| marker.starts_with(&directory));
                plans.iter_mut().filter(here).for_each(|plan| plan.fail(error.clone()));
            }
        }
    }

    /// Undoes what failed, and answers.
    fn settle(&mut self, plans: Vec<Plan>) {
        for plan in plans {
            let Some(error) = plan.error.clone() else {
                plan.new.iter().for_each(|&id| self.files.ledger.census.add(id, plan.octets() / plan.new.len() as u64));
                plan.promise.keep(Ok(()));
                continue;
            };
            self.files.ledger.failed(&error);
            tracing::error!(target: "SPOOL", "not stored: {error}");
            self.undo(&plan);
            plan.promise.keep(Err(error));
        }
    }

    /// A message that was refused is not to be found by the next start. What cannot be removed now is a duplicate then.
    fn undo(&self, plan: &Plan) {
        let writes = plan.bodies.iter().chain(&plan.metas);
        let mut removed = writes.map(|write| self.files.remove_file(&write.temporary)).fold(Ok(()), Result::and);
        if plan.entered {
            removed = plan.new.iter().map(|&id| self.files.remove_files(id)).fold(removed, Result::and);
        }
        let synced = || plan.directories().try_for_each(|directory| self.files.sync_dir(&directory));
        // The marker goes last: while it is there, none of its messages is mail.
        let undone = removed
            .and_then(|()| synced())
            .and_then(|()| plan.marker.as_ref().map_or(Ok(()), |marker| self.files.remove_file(marker)));
        if let Err(error) = undone {
            tracing::warn!(target: "SPOOL", "what was refused could not be removed; the next start may deliver it: {error}");
        }
    }

    /// Removes the empty directories of windows that no new mail falls into.
    fn leave_old_windows(&mut self) {
        if self.newest_window <= self.files.swept() {
            return;
        }
        let swept = self.files.sweep(&self.newest_window);
        self.known.retain(|directory| !swept.iter().any(|window| directory.starts_with(window)));
    }
}

impl Plan {
    fn fail(&mut self, error: SpoolError) {
        self.error.get_or_insert(error);
    }

    fn octets(&self) -> u64 {
        self.bodies.iter().chain(&self.metas).map(|write| write.octets.len() as u64).sum()
    }

    fn directories(&self) -> impl Iterator<Item = PathBuf> + '_ {
        let links = self.links.iter().map(|(_, to)| to);
        let paths = self.bodies.iter().chain(&self.metas).map(|write| &write.path).chain(links);
        paths.filter_map(|path| path.parent().map(Path::to_owned))
    }
}

impl Files {
    /// Writes a new file and syncs it.
    fn write(&self, path: &Path, octets: &[u8]) -> Result<(), SpoolError> {
        let failed = |error| self.failed("write", path, error);
        let file = self.disk.create(path, self.mode).map_err(failed)?;
        if !octets.is_empty() {
            file.write_all(&mut [IoSlice::new(octets)], 0).map_err(failed)?;
        }
        if self.force_fsync {
            file.fdatasync().map_err(|error| self.failed("sync", path, error))?;
        }
        Ok(())
    }

    fn enter(&self, bodies: &[Write], links: &[(usize, PathBuf)], metas: &[Write]) -> Result<(), SpoolError> {
        let rename = |write: &Write| {
            let renamed = self.disk.rename(&write.temporary, &write.path);
            renamed.map_err(|error| self.failed("rename", &write.temporary, error))
        };
        bodies.iter().try_for_each(rename)?;
        for (body, to) in links {
            self.link(&bodies[*body].path, to, &bodies[*body].octets)?;
        }
        metas.iter().try_for_each(rename)
    }

    fn link(&self, from: &Path, to: &Path, octets: &[u8]) -> Result<(), SpoolError> {
        match self.disk.link(from, to) {
            Ok(()) => Ok(()),
            // Left behind by a store that failed.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.remove_file(to)?;
                self.disk.link(from, to).map_err(|error| self.failed("link", to, error))
            }
            Err(error) if is_missing(&error) || is_full(&error) => Err(self.failed("link", to, error)),
            // A file has as many names as its file system allows, 65000 on ext4: then one more copy.
            Err(_) => self.write(to, octets),
        }
    }

    /// Removes a message: its body first, so that a crash in between leaves metadata without a body, which is no mail.
    fn remove(&self, id: MessageId) -> Result<(), SpoolError> {
        self.remove_files(id)?;
        self.ledger.census.remove(id);
        Ok(())
    }
}
