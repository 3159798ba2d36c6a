//! Handing over: the headers of what recovery found, read in the order of the disk.
//!
//! Several threads read ahead, each a window of a segment in one large read; the caller's thread takes the messages out of
//! the windows in order. What is not where it was, or does not check out, is looked up again one by one.
//!
//! Invariant: a message is handed over with its newest headers, once, or a reason is in the log.

use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use message::MessageId;

use super::index::Place;
use super::record::{HEADER, Kind, Record};
use super::shared::Shared;
use super::tally::Standing;
use crate::disk::DiskFile;
use crate::error::SpoolError;

/// Hands the encoded headers of `messages`, which are in the order of the disk, to `each`.
pub fn hand_over(shared: &Shared, messages: &[Standing], each: &mut dyn FnMut(MessageId, Vec<u8>)) {
    let windows = windows(messages);
    let readers = windows.len().clamp(1, READERS);
    std::thread::scope(|scope| {
        let lanes: Vec<Receiver<Vec<u8>>> = (0..readers)
            .map(|reader| {
                let (sender, receiver) = sync_channel(AHEAD);
                let windows = &windows;
                scope
                    .spawn(move || read_ahead(shared, messages, windows.iter().skip(reader).step_by(readers), &sender));
                receiver
            })
            .collect();
        for (window, lane) in windows.iter().zip((0..readers).cycle()) {
            let octets = lanes[lane].recv().unwrap_or_default();
            deliver(shared, &messages[window.clone()], &octets, each);
        }
    });
}

/// Messages whose headers stand close enough to be read at once.
fn windows(messages: &[Standing]) -> Vec<Range<usize>> {
    let mut windows: Vec<Range<usize>> = Vec::new();
    for (at, message) in messages.iter().enumerate() {
        let place = message.headers;
        if let Some(window) = windows.last_mut() {
            let (first, last) = (messages[window.start].headers, messages[at - 1].headers);
            let near = u64::from(place.offset) <= end_of(last) + GAP_MAX;
            if first.segment == place.segment && near && end_of(place) - u64::from(first.offset) <= WINDOW_MAX {
                window.end = at + 1;
                continue;
            }
        }
        windows.push(at..at + 1);
    }
    windows
}

fn read_ahead<'a>(
    shared: &Shared,
    messages: &[Standing],
    windows: impl Iterator<Item = &'a Range<usize>>,
    lane: &SyncSender<Vec<u8>>,
) {
    for window in windows {
        let (first, last) = (messages[window.start].headers, messages[window.end - 1].headers);
        let file = shared.index().segments.get(&first.segment).map(|segment| Arc::clone(&segment.file));
        let octets = file.map_or_else(Vec::new, |file| read(file.as_ref(), first, last));
        if lane.send(octets).is_err() {
            return;
        }
    }
}

/// What cannot be read is looked at again message by message.
fn read(file: &dyn DiskFile, first: Place, last: Place) -> Vec<u8> {
    let mut octets = vec![0; (end_of(last) - u64::from(first.offset)) as usize];
    let read = file.read_full(&mut octets, u64::from(first.offset)).unwrap_or(0);
    octets.truncate(read);
    octets
}

/// Hands the messages of one window over.
fn deliver(shared: &Shared, messages: &[Standing], octets: &[u8], each: &mut dyn FnMut(MessageId, Vec<u8>)) {
    let Some(first) = messages.first().map(|message| message.headers) else { return };
    let (mark, unmoved): (u64, Vec<bool>) = {
        let index = shared.index();
        let mark = index.segments.get(&first.segment).map_or(0, |segment| segment.mark);
        let stands = |message: &Standing| index.find(message.id).is_some_and(|(place, _)| place == message.headers);
        (mark, messages.iter().map(stands).collect())
    };
    for (message, unmoved) in messages.iter().zip(unmoved) {
        let at = (message.headers.offset - first.offset) as usize;
        let here = octets.get(at..).filter(|_| unmoved).and_then(|octets| headers_of(octets, mark, message));
        let found = here.map_or_else(|| shared.fetch_headers(message.id), |payload| Ok(payload.to_vec()));
        match found {
            Ok(encoded) => each(MessageId::from_bits(message.id), encoded),
            // Unlinked meanwhile: nobody's loss.
            Err(SpoolError::Missing { .. }) => {}
            Err(error) => tracing::error!(target: "SPOOL", "left in the spool, not delivered: {error}"),
        }
        shared.gauges.handed_over.add(1);
    }
}

/// The headers at the start of `octets`, if they are this message's and check out.
fn headers_of<'a>(octets: &'a [u8], mark: u64, message: &Standing) -> Option<&'a [u8]> {
    let record = Record::parse(octets, mark)?;
    let ours = record.kind == Kind::Headers && record.id == message.id && record.payload == message.headers.payload;
    let payload = octets.get(HEADER..HEADER + record.payload as usize)?;
    (ours && crc32c::crc32c(payload) == record.payload_crc).then_some(payload)
}

fn end_of(place: Place) -> u64 {
    u64::from(place.offset) + place.stored()
}

/// Enough to keep a device with a queue busy.
const READERS: usize = 4;
/// Windows each of them may be ahead.
const AHEAD: usize = 3;
/// Octets of a read, unless one message's headers alone are larger.
const WINDOW_MAX: u64 = 1 << 20;
/// Octets that are cheaper to read than to leave out.
const GAP_MAX: u64 = 64 << 10;
