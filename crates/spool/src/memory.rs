//! The `memory` backend: a spool that is gone when the process is. For tests, and for null spooling by explicit choice.
//!
//! Keeps the journal's manners: one body for all siblings, gone with the last of them; a store is all or nothing.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use message::MessageId;

use crate::chain::{BodyIn, BodyOut, CommitSet, HeadersIn, HeadersOut, IoCaller, IoModule, IoResult};
use crate::error::SpoolError;

/// The store. Put it last in a chain.
#[derive(Default)]
pub struct Memory {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    headers: HashMap<MessageId, (MessageId, Vec<u8>)>,
    bodies: HashMap<MessageId, (Bytes, u32)>,
}

impl Memory {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Messages and bodies held.
    pub fn len(&self) -> (usize, usize) {
        let kept = self.lock();
        (kept.headers.len(), kept.bodies.len())
    }

    /// Holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == (0, 0)
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn unlink(&mut self, id: MessageId) {
        let Some((batch, _)) = self.headers.remove(&id) else { return };
        let Some((_, siblings)) = self.bodies.get_mut(&batch) else { return };
        *siblings -= 1;
        if *siblings == 0 {
            self.bodies.remove(&batch);
        }
    }
}

impl IoModule for Memory {
    fn name(&self) -> &str {
        "memory"
    }

    fn owns_disk_queue(&self) -> bool {
        true
    }

    fn write_headers(&self, _: IoCaller, set: &mut CommitSet, headers: &mut HeadersOut<'_>, _: bool) -> IoResult {
        set.staged(self).push_headers(headers);
        IoResult::Done
    }

    fn read_headers(&self, _: IoCaller, headers: &mut HeadersIn) -> IoResult {
        match self.lock().headers.get(&headers.id) {
            Some((_, encoded)) => headers.encoded = Some(encoded.clone()),
            None => return IoResult::Fail(SpoolError::Missing { id: headers.id }),
        }
        IoResult::Done
    }

    fn unlink_headers(&self, _: IoCaller, set: &mut CommitSet, id: MessageId) -> IoResult {
        set.staged(self).unlinked.push(id);
        IoResult::Cont
    }

    fn write_body(&self, _: IoCaller, set: &mut CommitSet, body: &mut BodyOut<'_>, _: bool) -> IoResult {
        set.staged(self).bodies.push((body.batch, body.octets.clone()));
        IoResult::Done
    }

    fn read_body(&self, _: IoCaller, body: &mut BodyIn) -> IoResult {
        let kept = self.lock();
        let found = kept.headers.get(&body.id).and_then(|(batch, _)| kept.bodies.get(batch));
        match found {
            Some((octets, _)) => body.octets = Some(octets.to_vec()),
            None => return IoResult::Fail(SpoolError::Missing { id: body.id }),
        }
        IoResult::Done
    }

    fn commit(&self, set: &mut CommitSet) {
        let Some(staged) = set.take(self) else { return };
        let mut kept = self.lock();
        for (id, octets) in staged.bodies.into_iter().filter(|(id, _)| staged.headers.iter().any(|of| of.batch == *id))
        {
            kept.bodies.entry(id).or_insert((octets, 0));
        }
        let mut start = 0;
        for headers in &staged.headers {
            let encoded = staged.encoded[start..headers.end].to_vec();
            start = headers.end;
            if kept.headers.insert(headers.id, (headers.batch, encoded)).is_none()
                && let Some((_, siblings)) = kept.bodies.get_mut(&headers.batch)
            {
                *siblings += 1;
            }
        }
        for id in staged.unlinked {
            kept.unlink(id);
        }
    }
}
