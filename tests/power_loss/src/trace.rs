//! What a process told the kernel: the output of `strace -f -xx`, as calls that begin and end.
//!
//! Calls that failed changed nothing and are left out. A call that another thread's came between begins at one place and
//! ends at another. What is not understood is a panic: a call that is passed over could hide a loss.

use std::collections::{BTreeMap, BTreeSet};

/// The calls to record; everything else changes no file.
pub const CALLS: &str = "openat,open,creat,close,dup,dup2,dup3,fcntl,write,pwrite64,writev,pwritev,pwritev2,read,lseek,\
                         fsync,fdatasync,sync,syncfs,sync_file_range,msync,ftruncate,truncate,fallocate,rename,renameat,\
                         renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat,rmdir,mmap,sendfile,copy_file_range,splice,\
                         io_uring_setup,io_submit";

/// A call that succeeded; the names are the kernel's.
#[allow(missing_docs)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// The descriptor is known when it ends.
    Open {
        path: String,
        create: bool,
        truncate: bool,
        append: bool,
        descriptor: i32,
    },
    Close {
        descriptor: i32,
    },
    Duplicate {
        descriptor: i32,
        copy: i32,
    },
    /// At an offset, or where the descriptor stands.
    Write {
        descriptor: i32,
        offset: Option<u64>,
        octets: Vec<u8>,
    },
    /// Only moves the descriptor.
    Read {
        descriptor: i32,
        octets: u64,
    },
    Seek {
        descriptor: i32,
        place: u64,
    },
    Truncate {
        descriptor: i32,
        length: u64,
    },
    Sync {
        descriptor: i32,
    },
    Rename {
        from: String,
        to: String,
    },
    Link {
        from: String,
        to: String,
    },
    Remove {
        path: String,
    },
    MakeDirectory {
        path: String,
    },
    RemoveDirectory {
        path: String,
    },
    /// Writable and shared: from now on nobody knows what the file holds.
    Map {
        descriptor: i32,
    },
}

/// The beginning or the end of a call, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It may take effect from here on.
    Begin(usize),
    /// It has returned.
    End(usize),
}

/// A recorded run.
#[derive(Debug, Default)]
pub struct Trace {
    /// The calls, in the order they began.
    pub calls: Vec<Call>,
    /// Beginnings and ends, in order.
    pub events: Vec<Event>,
}

impl Trace {
    /// Reads what strace wrote.
    pub fn parse(text: &str) -> Self {
        let (mut trace, mut open) = (Self::default(), BTreeMap::new());
        // Whether a call succeeds is known only when it ends: those that did not are taken out afterwards.
        let (mut calls, mut events): (Vec<Option<Call>>, Vec<Event>) = Default::default();
        for line in text.lines() {
            let Some((process, rest)) = line.split_once(' ') else { continue };
            let rest = rest.trim_start();
            if rest.starts_with("+++") || rest.starts_with("---") {
                continue;
            }
            if let Some(resumed) = rest.strip_prefix("<... ") {
                let (_, end) = resumed.split_once(" resumed>").unwrap_or_else(|| panic!("not understood: {line}"));
                let (number, begun): (usize, String) = open.remove(process).unwrap_or_else(|| panic!("{line}"));
                calls[number] = whole(&format!("{begun}{end}"));
                events.push(Event::End(number));
                continue;
            }
            events.push(Event::Begin(calls.len()));
            if let Some(begun) = rest.strip_suffix(" <unfinished ...>") {
                open.insert(process, (calls.len(), begun.to_owned()));
                calls.push(None);
            } else {
                events.push(Event::End(calls.len()));
                calls.push(whole(rest));
            }
        }
        let mut numbers = vec![None; calls.len()];
        for (number, call) in calls.into_iter().enumerate() {
            if let Some(call) = call {
                numbers[number] = Some(trace.calls.len());
                trace.calls.push(call);
            }
        }
        trace.events = events
            .into_iter()
            .filter_map(|event| match event {
                Event::Begin(number) => numbers[number].map(Event::Begin),
                Event::End(number) => numbers[number].map(Event::End),
            })
            .collect();
        trace
    }
}

impl Trace {
    /// Events for a reader: what was written only by its length.
    pub fn told(&self, events: &[Event]) -> String {
        let line = |event: &Event| {
            let (end, number) = match event {
                Event::Begin(number) => ("", *number),
                Event::End(number) => (" returned", *number),
            };
            match &self.calls[number] {
                Call::Write { descriptor: 1, octets, .. } => {
                    format!("{number}{end} said {}\n", String::from_utf8_lossy(octets).trim_end())
                }
                Call::Write { descriptor, offset, octets } => {
                    format!("{number}{end} write {descriptor} at {offset:?}, {} octets\n", octets.len())
                }
                other => format!("{number}{end} {other:?}\n"),
            }
        };
        events.iter().map(line).collect()
    }
}

/// A call with its result; nothing if it failed or is of no interest.
fn whole(text: &str) -> Option<Call> {
    let (call, result) = text.rsplit_once(" = ").unwrap_or_else(|| panic!("a call without a result: {text}"));
    let result = result.split(' ').next().unwrap_or_default();
    // `?`: the process ended in it.
    let result: i64 = if result.starts_with("0x") { 0 } else { result.parse().unwrap_or(-1) };
    if result < 0 {
        return None;
    }
    let (name, arguments) = call.split_once('(').unwrap_or_else(|| panic!("not understood: {text}"));
    let arguments = split(arguments.trim_end().strip_suffix(')').unwrap_or_else(|| panic!("not understood: {text}")));
    understand(name, &arguments, result)
}

fn understand(name: &str, arguments: &[&str], result: i64) -> Option<Call> {
    let number = |at: usize| -> u64 { arguments[at].parse().unwrap_or_else(|_| panic!("{name} {arguments:?}")) };
    let descriptor = |at: usize| number(at) as i32;
    let path = |at: usize| {
        let octets = string(arguments[at]);
        String::from_utf8(octets).unwrap_or_else(|_| panic!("a path that is no text: {}", arguments[at]))
    };
    // Paths are whole in what is recorded here; a relative one is made unmistakable and then outside.
    let at = |directory: usize, place: usize| {
        let path = path(place);
        if path.starts_with('/') { path } else { format!("{}:{path}", arguments[directory]) }
    };
    let cut = |octets: Vec<u8>| octets[..result as usize].to_vec();
    Some(match name {
        "openat" => opened(at(0, 1), arguments[2], result),
        "open" => opened(path(0), arguments[1], result),
        "close" => Call::Close { descriptor: descriptor(0) },
        "dup" | "dup2" | "dup3" => Call::Duplicate { descriptor: descriptor(0), copy: result as i32 },
        "fcntl" if arguments[1].starts_with("F_DUPFD") => {
            Call::Duplicate { descriptor: descriptor(0), copy: result as i32 }
        }
        "fcntl" => return None,
        "write" => Call::Write { descriptor: descriptor(0), offset: None, octets: cut(string(arguments[1])) },
        "pwrite64" => {
            Call::Write { descriptor: descriptor(0), offset: Some(number(3)), octets: cut(string(arguments[1])) }
        }
        "writev" => Call::Write { descriptor: descriptor(0), offset: None, octets: cut(slices(arguments[1])) },
        "pwritev" => {
            Call::Write { descriptor: descriptor(0), offset: Some(number(3)), octets: cut(slices(arguments[1])) }
        }
        "read" => Call::Read { descriptor: descriptor(0), octets: result as u64 },
        "lseek" => Call::Seek { descriptor: descriptor(0), place: result as u64 },
        "fsync" | "fdatasync" => Call::Sync { descriptor: descriptor(0) },
        "ftruncate" => Call::Truncate { descriptor: descriptor(0), length: number(1) },
        "rename" => Call::Rename { from: path(0), to: path(1) },
        "renameat" | "renameat2" => Call::Rename { from: at(0, 1), to: at(2, 3) },
        "link" => Call::Link { from: path(0), to: path(1) },
        "linkat" => Call::Link { from: at(0, 1), to: at(2, 3) },
        "unlink" => Call::Remove { path: path(0) },
        "unlinkat" if arguments[2] == "AT_REMOVEDIR" => Call::RemoveDirectory { path: at(0, 1) },
        "unlinkat" => Call::Remove { path: at(0, 1) },
        "mkdir" => Call::MakeDirectory { path: path(0) },
        "mkdirat" => Call::MakeDirectory { path: at(0, 1) },
        "rmdir" => Call::RemoveDirectory { path: path(0) },
        "mmap" => {
            let words: BTreeSet<&str> = arguments[2].split('|').chain(arguments[3].split('|')).collect();
            if !(words.contains("PROT_WRITE") && words.contains("MAP_SHARED")) || arguments[4] == "-1" {
                return None;
            }
            Call::Map { descriptor: descriptor(4) }
        }
        _ => panic!("no model of {name}({})", arguments.join(", ")),
    })
}

fn opened(path: String, flags: &str, descriptor: i64) -> Call {
    let has = |word: &str| flags.split('|').any(|flag| flag == word);
    let (create, truncate, append) = (has("O_CREAT"), has("O_TRUNC"), has("O_APPEND"));
    Call::Open { path, create, truncate, append, descriptor: descriptor as i32 }
}

/// The arguments: no comma within brackets, braces or quotes ends one.
fn split(text: &str) -> Vec<&str> {
    let (mut found, mut start, mut depth, mut quoted) = (Vec::new(), 0, 0, false);
    for (at, octet) in text.bytes().enumerate() {
        match octet {
            // In -xx output a quote within a string is written as \x22.
            b'"' => quoted = !quoted,
            b'[' | b'{' | b'(' if !quoted => depth += 1,
            b']' | b'}' | b')' if !quoted => depth -= 1,
            b',' if !quoted && depth == 0 => {
                found.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    found.push(text[start..].trim());
    found
}

/// The octets of a string in -xx form.
fn string(text: &str) -> Vec<u8> {
    let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    let inner = inner.unwrap_or_else(|| panic!("strace cut a string short, or it is none: {text:.60}"));
    let digit = |octet: u8| char::from(octet).to_digit(16).unwrap_or_else(|| panic!("no -xx form: {text:.60}")) as u8;
    inner.as_bytes().chunks(4).map(|octet| digit(octet[2]) << 4 | digit(octet[3])).collect()
}

/// The octets of an array of slices.
fn slices(text: &str) -> Vec<u8> {
    let pieces = text.split("iov_base=").skip(1);
    pieces.flat_map(|piece| string(piece.split(", iov_len").next().unwrap_or_default())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_that_overlap_begin_and_end_apart_and_failures_are_no_calls() {
        let text = r#"7  openat(AT_FDCWD, "\x2f\x61", O_RDWR|O_CREAT|O_CLOEXEC, 0644) = 5
8  fsync(5 <unfinished ...>
7  pwrite64(5, "\x41\x2c\x42", 3, 10) = 2
8  <... fsync resumed>)               = 0
7  unlink("\x2f\x62")                 = -1 ENOENT (No such file or directory)
7  pwritev(5, [{iov_base="\x61", iov_len=1}, {iov_base="\x62\x63", iov_len=2}], 2, 4096) = 3
7  +++ exited with 0 +++"#;
        let trace = Trace::parse(text);
        let open = Call::Open { path: "/a".into(), create: true, truncate: false, append: false, descriptor: 5 };
        let write = |offset, octets: &[u8]| Call::Write { descriptor: 5, offset: Some(offset), octets: octets.into() };
        assert_eq!(trace.calls, [open, Call::Sync { descriptor: 5 }, write(10, b"A,"), write(4096, b"abc")]);
        let (b, e) = (Event::Begin, Event::End);
        assert_eq!(trace.events, [b(0), e(0), b(1), b(2), e(2), e(1), b(3), e(3)]);
    }

    #[test]
    #[should_panic(expected = "no model of fallocate")]
    fn a_call_without_a_model_is_no_run() {
        Trace::parse("7 fallocate(5, 0, 0, 4096) = 0");
    }
}
