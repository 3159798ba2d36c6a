//! Groups: records that were stored as a whole or not at all, and those of which something is missing.
//!
//! Takes the records of scanned segments in order. The groups of one commit may be interleaved, bodies first and the headers
//! of all of them after; no group reaches beyond its commit.

use super::record::{Kind, Record};

/// Watches groups pass.
#[derive(Default)]
pub struct Groups {
    epoch: u32,
    segment: u32,
    commit: u64,
    /// Of each record of a group of several: where the group begins, its size, and the message if it is headers.
    members: Vec<(u32, u32, Option<u64>)>,
    broken: Vec<Group>,
}

/// A group that is not whole.
pub struct Group {
    /// Its run.
    pub epoch: u32,
    /// Its commit.
    pub commit: u64,
    /// Its segment.
    pub segment: u32,
    /// Where it begins.
    pub start: u32,
    /// The messages whose headers are there.
    pub ids: Vec<u64>,
}

impl Groups {
    /// The next record.
    pub fn take(&mut self, epoch: u32, segment: u32, record: &Record) {
        if self.segment != segment || self.commit != record.commit {
            self.end_commit();
            (self.epoch, self.segment, self.commit) = (epoch, segment, record.commit);
        }
        if 1 < record.group_size {
            let id = Some(record.id).filter(|_| record.kind == Kind::Headers);
            self.members.push((record.group_start, record.group_size, id));
        }
    }

    /// No more records: the groups that are not whole.
    pub fn broken(mut self) -> Vec<Group> {
        self.end_commit();
        self.broken
    }

    fn end_commit(&mut self) {
        let (epoch, commit, segment) = (self.epoch, self.commit, self.segment);
        self.members.sort_by_key(|&(start, ..)| start);
        for group in self.members.chunk_by(|a, b| a.0 == b.0) {
            let (start, size, _) = group[0];
            if group.len() < size as usize {
                let ids = group.iter().filter_map(|member| member.2).collect();
                self.broken.push(Group { epoch, commit, segment, start, ids });
            }
        }
        self.members.clear();
    }
}
