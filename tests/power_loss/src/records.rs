//! A journaled log under the same treatment: what a writer and one subscriber do, and what must be found.

use std::path::Path;

use jlog::{Folder, Reader, Start, Writer};

use crate::random::Seeded;

/// Appends records from number `first` on and reads some of them, saying what it is promised.
pub fn write(folder: &Path, seed: u64, operations: u64, first: u64, say: &mut dyn FnMut(&str)) {
    let mut random = Seeded(seed);
    let mut writer = Writer::open(Folder::new(folder), 0o640).expect("a log that opens");
    Folder::new(folder).subscribe(SUBSCRIBER, Start::Oldest).expect("a subscriber");
    say("subscribed");
    let mut reader = Reader::open(Folder::new(folder), SUBSCRIBER).expect("a reader");
    let mut next = first;
    for _ in 0..operations {
        for _ in 0..1 + random.below(20) {
            writer.append(&record(next)).expect("a record");
            next += 1;
        }
        say(&format!("append {next}"));
        writer.flush().expect("a disk that works");
        say(&format!("flushed {first} {next}"));
        let mut last = None;
        for _ in 0..random.below(20) {
            last = reader.next_record().expect("a record").or(last);
        }
        if let Some(record) = last {
            say(&format!("acknowledge {}", number_of(&record.octets).expect("a whole record")));
            reader.acknowledge(record.end).expect("a checkpoint");
        }
    }
}

/// What a subscriber is told of a log as it was found, or why not.
pub fn read(folder: &Path) -> Result<Vec<u64>, String> {
    let writer = Writer::open(Folder::new(folder), 0o640).map_err(|error| error.to_string())?;
    let mut reader = match Reader::open(Folder::new(folder), SUBSCRIBER) {
        Ok(reader) => reader,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error.to_string()),
    };
    let mut found = Vec::new();
    while let Some(record) = reader.next_record().map_err(|error| error.to_string())? {
        found.push(number_of(&record.octets).ok_or("a record that was never written")?);
    }
    drop(writer);
    Ok(found)
}

/// Every flushed record that was not acknowledged is there, in order; none that was never appended. How many had to be there.
pub fn check(said: &[String], found: &[u64]) -> Result<usize, String> {
    let numbers = |word: &str| -> Vec<Vec<u64>> {
        let rest = said.iter().filter_map(|line| line.strip_prefix(word));
        rest.map(|rest| rest.split_whitespace().filter_map(|text| text.parse().ok()).collect()).collect()
    };
    if found.windows(2).any(|pair| pair[1] <= pair[0]) {
        return Err(format!("out of order: {found:?}"));
    }
    let appended = numbers("append ").concat().into_iter().max().unwrap_or(0);
    if let Some(last) = found.last().filter(|&&last| appended <= last) {
        return Err(format!("{last} was never appended"));
    }
    let acknowledged = numbers("acknowledge ").concat().into_iter().max().map_or(0, |number| number + 1);
    let flushed = numbers("flushed ").into_iter().flat_map(|range| range[0]..range[1]);
    let mut expected: Vec<u64> = flushed.filter(|number| acknowledged <= *number).collect();
    expected.sort_unstable();
    match expected.iter().find(|number| found.binary_search(number).is_err()) {
        Some(lost) => Err(format!("record {lost} was flushed and is lost")),
        None => Ok(expected.len()),
    }
}

fn record(number: u64) -> Vec<u8> {
    let mut random = Seeded(number);
    let length = if random.one_in(30) { random.below(200_000) } else { random.below(400) };
    let mut octets = number.to_le_bytes().to_vec();
    octets.extend((0..length).map(|_| random.draw() as u8));
    octets
}

fn number_of(octets: &[u8]) -> Option<u64> {
    let number = u64::from_le_bytes(*octets.first_chunk()?);
    (octets == record(number)).then_some(number)
}

const SUBSCRIBER: &str = "reader";
