//! A spool that was cut short or has flipped bits: the daemon starts, says so, and delivers everything else exactly once;
//! never half a message, never another one's text. And a spool has one owner.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use e2e::{SOON, accept, block_on, relay_of_two, wait};
use testkit::{Daemon, Dialogue, Sink};

/// Messages in the spool that is damaged.
const MESSAGES: usize = 24;
/// Copies of it that are cut, and copies with a flipped bit; `POSTRIDER_DAMAGES` asks for more.
const DAMAGES: usize = 100;
/// Chooses the bits; `POSTRIDER_SEED` replaces it.
const SEED: u64 = 20;

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// A spool with mail in it, as a daemon left it: every second message was delivered, the others are queued.
struct Original {
    daemon: Daemon,
    /// The one segment that holds the mail, within the spool.
    segment: PathBuf,
    octets: Vec<u8>,
    /// Where in it each queued message's body begins, by subject.
    bodies: BTreeMap<usize, String>,
    texts: BTreeMap<String, String>,
}

/// What a daemon made of a damaged copy.
struct Outcome {
    /// Subjects of the queued messages that arrived; each did once.
    arrived: BTreeSet<String>,
    /// How many of the delivered ones came again.
    again: usize,
    /// Its logs.
    said: String,
}

impl Original {
    fn make() -> Self {
        let (sink, done) = (Sink::start(), Sink::start());
        sink.refuse_connections();
        let mut daemon = relay_of_two(&sink, &done).start();
        let mut texts = BTreeMap::new();
        block_on(async {
            let mut client = Dialogue::greeted(daemon.addr()).await;
            for number in 0..MESSAGES {
                let subject = format!("message {number}.");
                let line = format!("This is line {{}} of message {number} and of no other.\n");
                let text: String = (0..1 + number * 3).map(|n| line.replace("{}", &n.to_string())).collect();
                for (path, subject) in [("bob@sink.test", subject.clone()), ("bob@done.test", format!("done {number}"))]
                {
                    let reply = client.mail("ann@client.test", &[path], &format!("Subject: {subject}\n\n{text}")).await;
                    assert!(reply.starts_with("250"), "{reply}");
                }
                texts.insert(subject, text.replace('\n', "\r\n"));
            }
        });
        done.wait_for(MESSAGES, SOON);
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

    /// Starts a daemon on a copy whose segment is `damaged`, and waits until what has come is `enough`, which is also told
    /// what the daemon says.
    fn start_on(&self, damaged: &[u8], enough: impl Fn(&BTreeSet<String>, &str) -> bool) -> Outcome {
        let (sink, done) = (Sink::start(), Sink::start());
        let mut copy = relay_of_two(&sink, &done).prepare();
        copy_tree(&self.daemon.dir().join("spool"), &copy.dir().join("spool"));
        fs::write(copy.dir().join(&self.segment), damaged).expect("a writable copy");
        copy.start();
        // New mail is taken beside what is left of the old.
        accept(&copy, "ann@client.test", &["new@sink.test"], "Subject: new\n\nnew\n");
        wait(&copy, "what is undamaged arrives", || {
            let mut subjects: BTreeSet<String> =
                sink.messages().iter().filter_map(|message| message.header("Subject")).collect();
            subjects.remove("new") && enough(&subjects, &copy.stderr())
        });
        assert!(copy.terminate(SOON).success(), "{}", e2e::testimony(&copy));
        let mut arrived = BTreeSet::new();
        for message in sink.messages() {
            let subject = message.header("Subject").expect("a message has a subject");
            if subject == "new" {
                continue;
            }
            let text = message.text();
            let (_, body) = text.split_once("\r\n\r\n").expect("a message has a body");
            assert_eq!(body, self.texts[&subject], "half a message");
            assert_eq!(message.forward_paths, ["bob@sink.test"]);
            assert!(arrived.insert(subject), "delivered twice: {text}");
        }
        Outcome { arrived, again: done.count(), said: e2e::testimony(&copy) }
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

/// Runs the cases a few at a time: most of each is waiting.
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
        let whole: BTreeSet<String> = original.bodies.values().take(original.whole_before(cut)).cloned().collect();
        let outcome = original
            .start_on(&original.octets[..cut.min(original.octets.len())], |arrived, _| whole.is_subset(arrived));
        let more = outcome.arrived.difference(&whole).count();
        assert!(more <= 1, "cut at {cut}, {} before it: {:?}\n{}", whole.len(), outcome.arrived, outcome.said);
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
        // Either nothing is missing, or one message and an explanation.
        let outcome = original.start_on(&octets, |arrived, said| {
            arrived.len() == MESSAGES || (arrived.len() == MESSAGES - 1 && said.contains("damaged"))
        });
        // A delivery is forgotten if it was the record of it that was hit.
        assert!(outcome.again <= 1, "bit {bit} brought {} messages back\n{}", outcome.again, outcome.said);
    });
}

#[test]
fn a_segment_of_noise_is_set_aside_and_the_daemon_starts() {
    let original = Original::make();
    let mut random = Random(from_environment("POSTRIDER_SEED", SEED));
    let noise: Vec<u8> = (0..original.octets.len()).map(|_| random.below(256) as u8).collect();
    let outcome = original.start_on(&noise, |_, said| said.contains("set aside"));
    assert!(outcome.arrived.is_empty() && outcome.again == 0);
}

#[test]
fn a_second_daemon_on_the_same_spool_is_refused_and_told_who_owns_it() {
    let sink = Sink::start();
    let first = relay_of_two(&sink, &sink).start();
    let owner = e2e::ask(&first, &["pid"]);
    let mut second = relay_of_two(&sink, &sink).prepare();
    let shared = format!("spoolbase = \"{}\"\n", first.dir().join("spool").display());
    second.write_config(&e2e::configuration(&shared, ""));
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
