//! `cargo run --release -p bounce --example classify` measures how long the classifier takes for the replies of its tests and for
//! hostile texts. With `-` as an argument it prints the class of each line of its input instead.

use std::hint::black_box;
use std::time::Instant;

use bounce::Classifier;

fn main() {
    let classifier = Classifier::new();
    if std::env::args().any(|word| word == "-") {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            println!("{}\t{line}", classifier.classify(&line).code());
        }
        return;
    }
    let replies: Vec<&str> = include_str!("../tests/replies.tsv")
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .map(|(_, text)| text)
        .collect();
    measure(&classifier, "real replies", &replies);
    let hostile = [
        ("blanks", " ".repeat(4096)),
        ("one word", "a".repeat(4096)),
        ("words of rules", "sender user mailbox not unknown spam ".repeat(120)),
        ("one phrase", "sender ".repeat(600)),
        ("codes", "5.1.1 550-5.7.1 ".repeat(300)),
        ("addresses", "a@b...c@d ".repeat(400)),
        ("foreign letters", "\u{df}\u{e4}\u{416} ".repeat(500)),
    ];
    for (name, text) in &hostile {
        measure(&classifier, name, &[text]);
    }
}

fn measure(classifier: &Classifier, name: &str, texts: &[&str]) {
    let rounds = 20_000 / texts.len();
    let begin = now();
    for _ in 0..rounds {
        for text in texts {
            black_box(classifier.classify(black_box(text)));
        }
    }
    let each = begin.elapsed().as_secs_f64() / (rounds * texts.len()) as f64;
    println!("{name:16} {:7.1} us each, {:8.0} a second", each * 1e6, 1.0 / each);
}

#[allow(clippy::disallowed_methods, reason = "a measurement wants the real clock")]
fn now() -> Instant {
    Instant::now()
}
