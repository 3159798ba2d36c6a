//! A spool that was cut short or has flipped bits: the daemon starts, says so, and delivers everything else exactly once;
//! never half a message, never another one's text. And a spool has one owner.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use e2e::{SOON, accept, block_on, relay_with, wait};
use testkit::{Daemon, Dialogue, Sink};

/// Messages in the spool that is damaged.
const MESSAGES: usize = 24;
/// Copies of it that are cut, and copies with a flipped bit; `POSTRIDER_DAMAGES` asks for more.
const DAMAGES: usize = 24;
/// Chooses the bits; `POSTRIDER_SEED` replaces it.
const SEED: u64 = 20;

const SMALL_SEGMENTS: &str = "spool_segment_bytes = 262144\nhost_failure_retry = 1\nmx_failures_to_delay = 0\n";

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// A spool with mail in it, as a daemon left it.
struct Original {
    daemon: Daemon,
    /// The one segment that holds the mail, within the spool.
    segment: PathBuf,
    octets: Vec<u8>,
    /// Where in it each message's body begins, by subject.
    bodies: BTreeMap<usize, String>,
    texts: BTreeMap<String, String>,
}

impl Original {
    fn make() -> Self {
        let sink = Sink::start();
        sink.refuse_connections();
        let mut daemon = relay_with(&sink, SMALL_SEGMENTS).start();
        let mut texts = BTreeMap::new();
        block_on(async {
            let mut client = Dialogue::greeted(daemon.addr()).await;
            for number in 0..MESSAGES {
                let subject = format!("message {number}.");
                let line = format!("This is line {{}} of message {number} and of no other.\n");
                let text: String = (0..1 + number * 3).map(|n| line.replace("{}", &n.to_string())).collect();
                let reply =
                    client.mail("ann@client.test", &["bob@sink.test"], &format!("Subject: {subject}\n\n{text}")).await;
                assert!(reply.starts_with("250"), "{reply}");
                texts.insert(subject, text.replace('\n', "\r\n"));
            }
        });
        assert!(daemon.terminate(SOON).success());
        let journal = daemon.dir().join("spool/journal");
        let holds_mail =
            |path: &PathBuf| fs::read(path).is_ok_and(|octets| find(&octets, b"Subject: message 0.").is_some());
        let path = list(&journal).into_iter().find(holds_mail).expect("a segment with the mail");
        let octets = fs::read(&path).expect("a readable segment");
        let place =
            |subject: &String| find(&octets, format!("Subject: {subject}").as_bytes()).expect("all in one segment");
        let bodies = texts.keys().map(|subject| (place(subject), subject.clone())).collect();
        Self {
            segment: path.strip_prefix(daemon.dir()).expect("in the spool").to_owned(),
            daemon,
            octets,
            bodies,
            texts,
        }
    }

    /// Where the mail ends in the segment.
    fn end(&self) -> usize {
        let last = self.octets.iter().rposition(|&octet| octet != 0).expect("there is mail");
        (last + 1).next_multiple_of(4096).min(self.octets.len())
    }

    /// Messages that are certainly whole if the segment ends at `cut`: the next one's body begins before it.
    fn whole_before(&self, cut: usize) -> usize {
        self.bodies.keys().filter(|&&place| place < cut).count().saturating_sub(1)
    }

    /// Starts a daemon on a copy whose segment is `damaged`, and waits until `expected` of the messages have come and the
    /// queue is empty. What came, and what the daemon said.
    fn start_on(&self, damaged: &[u8], expected: usize) -> (Vec<String>, String) {
        let sink = Sink::start();
        let mut copy = relay_with(&sink, SMALL_SEGMENTS).prepare();
        copy_tree(&self.daemon.dir().join("spool"), &copy.dir().join("spool"));
        fs::write(copy.dir().join(&self.segment), damaged).expect("a writable copy");
        copy.start();
        // New mail is taken beside what is left of the old.
        accept(&copy, "ann@client.test", &["new@sink.test"], "Subject: new\n\nnew\n");
        wait(&copy, "what is undamaged arrives", || expected < sink.count());
        assert!(copy.terminate(SOON).success(), "{}", e2e::testimony(&copy));
        let mut subjects = Vec::new();
        for message in sink.messages() {
            let subject = message.header("Subject").expect("a message has a subject");
            if subject == "new" {
                continue;
            }
            let text = message.text();
            let (_, body) = text.split_once("\r\n\r\n").expect("a message has a body");
            assert_eq!(body, self.texts[&subject], "half a message");
            assert_eq!(message.forward_paths, ["bob@sink.test"]);
            subjects.push(subject);
        }
        subjects.sort();
        let distinct = subjects.windows(2).all(|pair| pair[0] != pair[1]);
        assert!(distinct, "delivered twice: {subjects:?}");
        (subjects, e2e::testimony(&copy))
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

fn list(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect()
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder more");
    for path in list(from) {
        let target = to.join(path.file_name().expect("an entry has a name"));
        if path.is_dir() {
            copy_tree(&path, &target);
        } else {
            fs::copy(&path, &target).expect("a file more");
        }
    }
}

/// Runs the cases two at a time: most of each is waiting.
fn in_parallel<T: Sync>(cases: &[T], run: impl Fn(&T) + Sync) {
    const WORKERS: usize = 4;
    std::thread::scope(|scope| {
        for worker in 0..WORKERS {
            let run = &run;
            scope.spawn(move || cases.iter().skip(worker).step_by(WORKERS).for_each(run));
        }
    });
}

#[test]
fn a_segment_that_was_cut_keeps_what_stands_before_the_cut() {
    let original = Original::make();
    let cuts = from_environment("POSTRIDER_DAMAGES", DAMAGES as u64) as usize;
    // Spread over all mail with odd remainders, and the edges of the segment's header and of the file.
    let mut places: Vec<usize> = (0..cuts).map(|n| 4096 + (original.end() - 4096) * n / cuts + n * 7 % 512).collect();
    places.extend([0, 1, 511, 512, 513, 1024, 4095, original.end(), original.octets.len() - 1]);
    in_parallel(&places, |&cut| {
        let whole = original.whole_before(cut);
        let (arrived, said) = original.start_on(&original.octets[..cut], whole);
        for (_, subject) in original.bodies.iter().take(whole) {
            assert!(arrived.contains(subject), "{subject} stood before the cut at {cut} and is lost\n{said}");
        }
        assert!(arrived.len() <= whole + 1, "cut at {cut}: {arrived:?}");
    });
}

#[test]
fn a_flipped_bit_costs_one_message_at_most_and_is_reported() {
    let original = Original::make();
    let seed = from_environment("POSTRIDER_SEED", SEED);
    println!("seed {seed}");
    let mut random = Random(seed);
    let flips = from_environment("POSTRIDER_DAMAGES", DAMAGES as u64);
    let end = original.end() as u64;
    let mut places: Vec<u64> = (0..flips).map(|_| random.below(end * 8)).collect();
    // And one in each copy of the header.
    places.extend([8 * 20, 8 * (512 + 20)]);
    in_parallel(&places, |&bit| {
        let mut octets = original.octets.clone();
        octets[(bit / 8) as usize] ^= 1 << (bit % 8);
        let (arrived, said) = original.start_on(&octets, MESSAGES - 1);
        assert!(MESSAGES - 1 <= arrived.len(), "bit {bit} cost more than one message: {arrived:?}\n{said}");
        if arrived.len() < MESSAGES {
            assert!(said.contains("damaged"), "bit {bit} cost a message and nobody was told\n{said}");
        }
    });
}

#[test]
fn a_segment_of_noise_is_set_aside_and_the_daemon_starts() {
    let original = Original::make();
    let mut random = Random(from_environment("POSTRIDER_SEED", SEED));
    let noise: Vec<u8> = (0..original.octets.len()).map(|_| random.below(256) as u8).collect();
    let (arrived, said) = original.start_on(&noise, 0);
    assert!(arrived.is_empty());
    assert!(said.contains("set aside"), "{said}");
}

#[test]
fn a_second_daemon_on_the_same_spool_is_refused_and_told_who_owns_it() {
    let sink = Sink::start();
    let first = relay_with(&sink, "").start();
    let owner = e2e::ask(&first, &["pid"]);
    let mut second = relay_with(&sink, &format!("spoolbase = \"{}\"\n", first.dir().join("spool").display())).prepare();
    second.spawn();
    let status = second.wait(Duration::from_secs(20)).expect("it ends by itself");
    assert!(!status.success());
    let said = second.stderr();
    assert!(said.contains("is in use by process") && said.contains(owner.trim()), "{said}");
    accept(&first, "ann@client.test", &["bob@sink.test"], "Subject: undisturbed\n\nx\n");
    sink.wait_for(1, SOON);
}

/// Numbers from a seed (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)) % limit
    }
}
