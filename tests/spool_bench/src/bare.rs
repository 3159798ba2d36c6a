//! The ceiling: pre-written segments used round and round, one gathered write and one sync for each batch, and no
//! bookkeeping whatever.

use std::fs::File;
use std::io::IoSlice;
use std::path::Path;

use crate::batcher::Engine;
use crate::load::BODY;

/// A log that remembers nothing.
pub struct Bare {
    segments: Vec<File>,
    current: usize,
    offset: u64,
    body: Vec<u8>,
}

impl Bare {
    /// Writes the segments through.
    pub fn create(directory: &Path) -> Result<Self, String> {
        let segment = |number: usize| -> std::io::Result<File> {
            let file = File::create(directory.join(format!("{number}.segment")))?;
            let zeros = vec![0; 1 << 20];
            for at in (0..SEGMENT).step_by(zeros.len()) {
                std::os::unix::fs::FileExt::write_all_at(&file, &zeros, at)?;
            }
            file.sync_all()?;
            Ok(file)
        };
        let segments = (0..SEGMENTS).map(segment).collect::<Result<_, _>>().map_err(|error| error.to_string())?;
        Ok(Self { segments, current: 0, offset: 0, body: vec![b'x'; BODY] })
    }
}

impl Engine for Bare {
    fn commit(&mut self, puts: &[u64], deletes: &[u64]) {
        let heads: Vec<[u8; 64]> = puts.iter().chain(deletes).map(|&number| head(number)).collect();
        let mut slices = Vec::with_capacity(2 * heads.len() + 1);
        for (number, head) in heads.iter().enumerate() {
            slices.push(IoSlice::new(head));
            if number < puts.len() {
                slices.push(IoSlice::new(&self.body));
            }
        }
        let octets: u64 = slices.iter().map(|slice| slice.len() as u64).sum();
        let padding = vec![0; (octets.next_multiple_of(4096) - octets) as usize];
        slices.push(IoSlice::new(&padding));
        if SEGMENT < self.offset + octets + 4096 {
            (self.current, self.offset) = ((self.current + 1) % SEGMENTS, 0);
        }
        let file = &self.segments[self.current];
        for window in slices.chunks(1024) {
            let wanted: usize = window.iter().map(|slice| slice.len()).sum();
            let written = rustix::io::pwritev(file, window, self.offset).expect("writes");
            assert_eq!(written, wanted, "a short write");
            self.offset += written as u64;
        }
        file.sync_data().expect("syncs");
    }
}

fn head(number: u64) -> [u8; 64] {
    let mut head = [0; 64];
    head[..8].copy_from_slice(&number.to_le_bytes());
    head
}

const SEGMENT: u64 = 64 << 20;
const SEGMENTS: usize = 4;
