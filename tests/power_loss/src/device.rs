//! A disk in memory that a recorded run is played on, and the disks a power loss could leave of it.
//!
//! Until a file is synced, each of its 512-octet sectors may be old, new, or as any write in between left it, and so may its
//! length (but a file is never cut short by half); until a directory is synced, each making, naming, renaming and removing of an entry in it may or may not have
//! happened, in any order or, for one seed in two, in order up to some moment. A rename within a directory is one change. A
//! sync covers what had returned before it began. What is mapped for writing holds noise after a power loss.
//!
//! Invariant: what a disk made by [`Device::crash`] lacks was not synced.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use crate::random::Seeded;
use crate::trace::{Call, Event, Trace};

/// The disk, as the running process sees it and as it is on the platter.
#[derive(Clone, Default)]
pub struct Device {
    /// What the recorded paths begin with.
    root: String,
    inodes: Vec<Inode>,
    descriptors: BTreeMap<i32, Handle>,
    /// Open calls that have begun and not returned, by number.
    opening: BTreeMap<usize, usize>,
    /// What a sync that has begun will cover, by its number: the marks of an inode's changes.
    syncing: BTreeMap<usize, (usize, BTreeSet<u64>)>,
    /// The marks of changes whose calls have begun and not returned, by the call's number.
    running: BTreeMap<usize, Vec<u64>>,
    marks: u64,
    /// What the process wrote to its standard output, whole lines, until now.
    said: Vec<String>,
}

#[derive(Clone)]
struct Inode {
    /// As the process sees it.
    live: Content,
    durable: Content,
    /// From `durable` to `live`.
    changes: Vec<(u64, Change)>,
    is_mapped: bool,
}

#[derive(Clone)]
enum Content {
    File(Vec<u8>),
    Directory(BTreeMap<String, usize>),
}

#[derive(Clone)]
enum Change {
    Write(u64, Vec<u8>),
    Length(u64),
    Name(String, usize),
    Unname(String),
    Rename(String, String, usize),
}

#[derive(Clone, Copy)]
struct Handle {
    inode: usize,
    place: u64,
    append: bool,
}

/// Files and directories as they are found when power is back; the same number is the same file.
pub struct Image {
    directories: BTreeSet<PathBuf>,
    files: BTreeMap<PathBuf, usize>,
    contents: BTreeMap<usize, Vec<u8>>,
}

const ROOT: usize = 0;

impl Device {
    /// An empty disk below `root`, which is there and durable.
    pub fn new(root: &Path) -> Self {
        let mut device = Self { root: root.display().to_string(), ..Self::default() };
        device.inode(Content::Directory(BTreeMap::new()));
        device
    }

    /// The machine has come up with what [`Device::crash`] left, at another path.
    pub fn restarted(image: &Image, root: &Path) -> Self {
        let mut device = Self::new(root);
        let mut places = BTreeMap::from([(PathBuf::new(), ROOT)]);
        for path in &image.directories {
            let made = device.inode(Content::Directory(BTreeMap::new()));
            places.insert(path.clone(), made);
            device.put(&places, path, made);
        }
        let mut files = BTreeMap::new();
        for (path, file) in &image.files {
            let inode =
                *files.entry(*file).or_insert_with(|| device.inode(Content::File(image.contents[file].clone())));
            device.put(&places, path, inode);
        }
        device
    }

    /// The process is gone, the machine is not: nothing is lost, nothing is synced. The next one sees the disk at `root`.
    pub fn killed(mut self, root: &Path) -> Self {
        self.root = root.display().to_string();
        self.descriptors.clear();
        self.opening.clear();
        self.syncing.clear();
        self.running.clear();
        self.said.clear();
        self
    }

    /// What the process said until now.
    pub fn said(&self) -> &[String] {
        &self.said
    }

    /// Plays one event.
    pub fn play(&mut self, trace: &Trace, event: Event) {
        match event {
            Event::Begin(number) => self.begin(number, &trace.calls[number]),
            Event::End(number) => self.end(number, &trace.calls[number]),
        }
    }

    fn begin(&mut self, number: usize, call: &Call) {
        match call {
            Call::Open { path, create, truncate, .. } => self.open(number, path, *create, *truncate),
            Call::Close { descriptor } => drop(self.descriptors.remove(descriptor)),
            Call::Write { descriptor: 1, octets, .. } => {
                let text = String::from_utf8_lossy(octets);
                self.said.extend(text.lines().map(str::to_owned));
            }
            Call::Write { descriptor, offset, octets } => self.write(number, *descriptor, *offset, octets),
            Call::Read { descriptor, octets } => {
                if let Some(handle) = self.descriptors.get_mut(descriptor) {
                    handle.place += octets;
                }
            }
            Call::Seek { descriptor, place } => {
                if let Some(handle) = self.descriptors.get_mut(descriptor) {
                    handle.place = *place;
                }
            }
            Call::Truncate { descriptor, length } => {
                if let Some(handle) = self.descriptors.get(descriptor).copied() {
                    self.change(number, handle.inode, Change::Length(*length));
                }
            }
            Call::Sync { descriptor } => {
                if let Some(handle) = self.descriptors.get(descriptor).copied() {
                    let running: BTreeSet<u64> = self.running.values().flatten().copied().collect();
                    let marks = self.inodes[handle.inode].changes.iter().map(|(mark, _)| *mark);
                    let covered = marks.filter(|mark| !running.contains(mark)).collect();
                    self.syncing.insert(number, (handle.inode, covered));
                }
            }
            Call::Rename { from, to } => self.rename(number, from, to),
            Call::Link { from, to } => {
                let (Some(inode), Some((directory, name))) = (self.find(from), self.place(to)) else { return };
                self.change(number, directory, Change::Name(name, inode));
            }
            Call::Remove { path } | Call::RemoveDirectory { path } => {
                let Some((directory, name)) = self.place(path) else { return };
                self.change(number, directory, Change::Unname(name));
            }
            Call::MakeDirectory { path } => {
                let Some((directory, name)) = self.place(path) else { return };
                let made = self.inode(Content::Directory(BTreeMap::new()));
                self.change(number, directory, Change::Name(name, made));
            }
            Call::Map { descriptor } => {
                if let Some(handle) = self.descriptors.get(descriptor) {
                    self.inodes[handle.inode].is_mapped = true;
                }
            }
            Call::Duplicate { .. } => {}
        }
    }

    fn end(&mut self, number: usize, call: &Call) {
        self.running.remove(&number);
        match call {
            Call::Open { descriptor, append, .. } => {
                if let Some(inode) = self.opening.remove(&number) {
                    self.descriptors.insert(*descriptor, Handle { inode, place: 0, append: *append });
                }
            }
            Call::Duplicate { descriptor, copy } => {
                if let Some(handle) = self.descriptors.get(descriptor).copied() {
                    self.descriptors.insert(*copy, handle);
                }
            }
            Call::Sync { .. } => {
                let Some((inode, covered)) = self.syncing.remove(&number) else { return };
                let inode = &mut self.inodes[inode];
                let durable = &mut inode.durable;
                for (_, change) in inode.changes.extract_if(.., |(mark, _)| covered.contains(mark)) {
                    durable.apply(&change);
                }
            }
            _ => {}
        }
    }

    fn open(&mut self, number: usize, path: &str, create: bool, truncate: bool) {
        let inode = match (self.find(path), self.place(path)) {
            (Some(inode), _) => inode,
            (None, Some((directory, name))) if create => {
                let made = self.inode(Content::File(Vec::new()));
                self.change(number, directory, Change::Name(name, made));
                made
            }
            (None, Some(_)) => panic!("{path} was opened and is not there: the model is wrong"),
            (None, None) => return,
        };
        if truncate {
            self.change(number, inode, Change::Length(0));
        }
        self.opening.insert(number, inode);
    }

    fn write(&mut self, number: usize, descriptor: i32, offset: Option<u64>, octets: &[u8]) {
        let Some(handle) = self.descriptors.get_mut(&descriptor) else { return };
        let inode = handle.inode;
        let Content::File(live) = &self.inodes[inode].live else { panic!("a directory was written to") };
        let offset = match offset {
            Some(offset) => offset,
            None => {
                let place = if handle.append { live.len() as u64 } else { handle.place };
                handle.place = place + octets.len() as u64;
                place
            }
        };
        self.change(number, inode, Change::Write(offset, octets.to_vec()));
    }

    fn rename(&mut self, number: usize, from: &str, to: &str) {
        let (Some(inode), Some((old, name)), Some((new, other))) = (self.find(from), self.place(from), self.place(to))
        else {
            return;
        };
        if old == new {
            self.change(number, old, Change::Rename(name, other, inode));
        } else {
            self.change(number, new, Change::Name(other, inode));
            self.change(number, old, Change::Unname(name));
        }
    }

    fn change(&mut self, number: usize, inode: usize, change: Change) {
        self.marks += 1;
        self.inodes[inode].live.apply(&change);
        self.inodes[inode].changes.push((self.marks, change));
        self.running.entry(number).or_default().push(self.marks);
    }

    fn inode(&mut self, content: Content) -> usize {
        self.inodes.push(Inode { live: content.clone(), durable: content, changes: Vec::new(), is_mapped: false });
        self.inodes.len() - 1
    }

    fn put(&mut self, places: &BTreeMap<PathBuf, usize>, path: &Path, inode: usize) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let directory = places[path.parent().unwrap_or(Path::new(""))];
        let change = Change::Name(name, inode);
        self.inodes[directory].live.apply(&change);
        self.inodes[directory].durable.apply(&change);
    }

    /// The inode at a recorded path; nothing for one that is outside or not there.
    fn find(&self, path: &str) -> Option<usize> {
        let below = self.below(path)?;
        let mut found = ROOT;
        for name in below.split('/').filter(|name| !name.is_empty()) {
            let Content::Directory(names) = &self.inodes[found].live else { return None };
            found = *names.get(name)?;
        }
        Some(found)
    }

    /// The directory and the name of a recorded path; nothing for one that is outside.
    fn place(&self, path: &str) -> Option<(usize, String)> {
        self.below(path).filter(|below| !below.is_empty())?;
        let (directory, name) = path.trim_end_matches('/').rsplit_once('/')?;
        Some((self.find(directory)?, name.to_owned()))
    }

    fn below<'p>(&self, path: &'p str) -> Option<&'p str> {
        path.strip_prefix(&self.root).filter(|below| below.is_empty() || below.starts_with('/'))
    }

    /// What is there when nothing but the process is gone.
    pub fn kill(&self) -> Image {
        self.image(&mut |inode| self.inodes[inode].live.clone())
    }

    /// What is there when power is lost now; the seed decides what of the unsynced.
    pub fn crash(&self, seed: u64) -> Image {
        let mut random = Seeded(seed);
        let (in_order, share) = (random.one_in(2), 1 + random.below(9));
        // In order: everything before one moment has happened, nothing after it.
        let moment = random.below(self.marks + 2);
        self.image(&mut |inode| {
            let inode = &self.inodes[inode];
            match &inode.durable {
                Content::File(_) if inode.is_mapped => inode.noise(&mut random),
                Content::File(durable) => Content::File(inode.torn(durable, &mut random)),
                Content::Directory(_) => {
                    let mut found = inode.durable.clone();
                    for (mark, change) in &inode.changes {
                        let happened = if in_order { *mark < moment } else { random.below(10) < share };
                        if happened {
                            found.apply(change);
                        }
                    }
                    found
                }
            }
        })
    }

    /// Everything that is reached from the root, each inode as `content` has it.
    fn image(&self, content: &mut dyn FnMut(usize) -> Content) -> Image {
        let mut image = Image { directories: BTreeSet::new(), files: BTreeMap::new(), contents: BTreeMap::new() };
        let mut left = vec![(PathBuf::new(), ROOT)];
        while let Some((path, inode)) = left.pop() {
            match &self.inodes[inode].durable {
                Content::File(_) => {
                    if let Entry::Vacant(new) = image.contents.entry(inode) {
                        let Content::File(octets) = content(inode) else { continue };
                        new.insert(octets);
                    }
                    image.files.insert(path, inode);
                }
                Content::Directory(_) => {
                    let Content::Directory(names) = content(inode) else { continue };
                    left.extend(names.into_iter().map(|(name, inode)| (path.join(name), inode)));
                    if !path.as_os_str().is_empty() {
                        image.directories.insert(path);
                    }
                }
            }
        }
        image
    }
}

impl Inode {
    /// A file's octets: each unsynced sector as the last sync or any write since left it, and so the length. A file that is
    /// cut short is cut as a whole or not yet: then nothing of what came after can be seen.
    fn torn(&self, durable: &[u8], random: &mut Seeded) -> Vec<u8> {
        let mut found = durable.to_vec();
        let (mut state, mut lengths) = (durable.to_vec(), vec![durable.len()]);
        let mut versions = BTreeMap::<usize, Vec<Vec<u8>>>::new();
        for (_, change) in &self.changes {
            let touched = match change {
                Change::Length(length) if (*length as usize) < state.len() => {
                    if random.one_in(2) {
                        break;
                    }
                    let length = *length as usize;
                    found.truncate(length);
                    lengths = vec![length];
                    versions.retain(|at, _| at * SECTOR < length);
                    let rest = length - (length / SECTOR * SECTOR);
                    for choice in versions.get_mut(&(length / SECTOR)).into_iter().flatten() {
                        choice[rest..].fill(0);
                    }
                    0..0
                }
                Change::Write(offset, octets) => {
                    *offset as usize / SECTOR..(*offset as usize + octets.len()).div_ceil(SECTOR)
                }
                _ => 0..0,
            };
            for at in touched.clone() {
                versions.entry(at).or_insert_with(|| vec![sector(&state, at)]);
            }
            apply(&mut state, change);
            lengths.push(state.len());
            for at in touched {
                versions.entry(at).or_default().push(sector(&state, at));
            }
        }
        found.resize(lengths[random.below(lengths.len() as u64) as usize], 0);
        for (at, choices) in versions {
            let chosen = &choices[random.below(choices.len() as u64) as usize];
            let (start, end) = ((at * SECTOR).min(found.len()), found.len().min((at + 1) * SECTOR));
            found[start..end].copy_from_slice(&chosen[..end - start]);
        }
        found
    }

    fn noise(&self, random: &mut Seeded) -> Content {
        let Content::File(live) = &self.live else { return self.live.clone() };
        Content::File(live.iter().map(|_| random.draw() as u8).collect())
    }
}

impl Content {
    fn apply(&mut self, change: &Change) {
        match (self, change) {
            (Self::File(octets), change) => apply(octets, change),
            (Self::Directory(names), Change::Name(name, inode)) => drop(names.insert(name.clone(), *inode)),
            (Self::Directory(names), Change::Unname(name)) => drop(names.remove(name)),
            (Self::Directory(names), Change::Rename(from, to, inode)) => {
                names.remove(from);
                names.insert(to.clone(), *inode);
            }
            (Self::Directory(_), _) => panic!("a directory was written to"),
        }
    }
}

/// The octets of a sector; zeros behind the end.
fn sector(state: &[u8], at: usize) -> Vec<u8> {
    let mut octets = state.get(at * SECTOR..state.len().min((at + 1) * SECTOR)).unwrap_or_default().to_vec();
    octets.resize(SECTOR, 0);
    octets
}

fn apply(octets: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write(offset, written) => {
            let (start, end) = (*offset as usize, *offset as usize + written.len());
            if octets.len() < end {
                octets.resize(end, 0);
            }
            octets[start..end].copy_from_slice(written);
        }
        Change::Length(length) => octets.resize(*length as usize, 0),
        _ => panic!("a file was given entries"),
    }
}

impl Image {
    /// Makes the files and directories below `root`, which is there and empty. One file under several names is one.
    pub fn write(&self, root: &Path) {
        for directory in &self.directories {
            fs::create_dir(root.join(directory)).expect("a directory of the image");
        }
        let mut made = BTreeMap::new();
        for (path, file) in &self.files {
            let path = root.join(path);
            match made.get(file) {
                Some(first) => fs::hard_link(first, &path).expect("one more name"),
                None => {
                    fs::File::create(&path)
                        .and_then(|made| made.write_all_at(&self.contents[file], 0))
                        .expect("a file of the image");
                    made.insert(*file, path);
                }
            }
        }
    }

    /// Whether the files below `root` are those of the image: after a whole run they must be, or the model is wrong. What a
    /// mapping changed is not compared.
    pub fn differs(&self, device: &Device, root: &Path) -> Option<String> {
        let mut inodes = BTreeMap::new();
        for (path, file) in &self.files {
            let found = match fs::read(root.join(path)) {
                Ok(found) => found,
                Err(error) => return Some(format!("{}: {error}", path.display())),
            };
            if !device.inodes[*file].is_mapped && found != self.contents[file] {
                return Some(format!("{} has other octets than the model", path.display()));
            }
            let number = fs::metadata(root.join(path)).expect("it is there").ino();
            if *inodes.entry(*file).or_insert(number) != number {
                return Some(format!("{} is another file than in the model", path.display()));
            }
        }
        None
    }
}

const SECTOR: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    fn played(text: &str) -> Device {
        let trace = Trace::parse(text);
        let mut device = Device::new(Path::new("/r"));
        trace.events.iter().for_each(|event| device.play(&trace, *event));
        device
    }

    fn outcomes(device: &Device) -> BTreeSet<String> {
        let told = |seed| {
            let image = device.crash(seed);
            let text = |file: &usize| String::from_utf8_lossy(&image.contents[file]).into_owned();
            let files = image.files.iter().map(|(path, file)| format!("{}={}", path.display(), text(file)));
            files.collect::<Vec<_>>().join(" ")
        };
        (0..500).map(told).collect()
    }

    // /r/a and /r/b are "\x2f\x72\x2f\x61" and "\x2f\x72\x2f\x62"; /r is "\x2f\x72".
    const WRITTEN: &str = r#"1 openat(AT_FDCWD, "\x2f\x72\x2f\x61", O_WRONLY|O_CREAT, 0644) = 3
1 write(3, "\x78\x79", 2) = 2
"#;

    #[test]
    fn what_was_not_synced_may_be_there_or_not() {
        assert_eq!(outcomes(&played(WRITTEN)), BTreeSet::from(["", "a=", "a=xy", "a=\0\0"].map(str::to_owned)));
    }

    #[test]
    fn a_synced_file_may_have_lost_its_name_and_a_synced_directory_its_files_content() {
        let file = format!("{WRITTEN}1 fdatasync(3) = 0\n");
        assert_eq!(outcomes(&played(&file)), BTreeSet::from(["", "a=xy"].map(str::to_owned)));
        let directory = r#"1 openat(AT_FDCWD, "\x2f\x72", O_RDONLY) = 4
1 fsync(4) = 0
"#;
        let named = format!("{WRITTEN}{directory}");
        assert_eq!(outcomes(&played(&named)), BTreeSet::from(["a=", "a=xy", "a=\0\0"].map(str::to_owned)));
        let both = format!("{file}{directory}");
        assert_eq!(outcomes(&played(&both)), BTreeSet::from(["a=xy".to_owned()]));
        let renamed = format!("{both}1 rename(\"\\x2f\\x72\\x2f\\x61\", \"\\x2f\\x72\\x2f\\x62\") = 0\n");
        assert_eq!(outcomes(&played(&renamed)), BTreeSet::from(["a=xy", "b=xy"].map(str::to_owned)));
    }

    #[test]
    fn a_file_is_cut_short_as_a_whole_or_not_yet() {
        let text = format!("{WRITTEN}1 fsync(3) = 0\n1 ftruncate(3, 1) = 0\n1 pwrite64(3, \"\\x7a\", 1, 2) = 1\n");
        let found = outcomes(&played(&text));
        let expected = ["a=xy", "a=x", "a=x\0", "a=x\0\0", "a=x\0z"];
        assert!(found.iter().all(|one| one.is_empty() || expected.contains(&one.as_str())), "{found:?}");
        assert!(found.contains("a=xy") && found.contains("a=x") && found.contains("a=x\0z"), "{found:?}");
    }

    #[test]
    fn a_sync_does_not_cover_what_was_under_way_when_it_began() {
        let text = format!(
            "{WRITTEN}2 pwrite64(3, \"\\x7a\", 1, 0 <unfinished ...>\n1 fdatasync(3) = 0\n2 <... pwrite64 resumed>) = 1\n"
        );
        let found = outcomes(&played(&text));
        assert!(found.contains("a=xy") && found.contains("a=zy"), "{found:?}");
        assert!(!found.contains("a="), "what had returned is covered: {found:?}");
    }
}
