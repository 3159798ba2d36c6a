//! Measures the journal against what it could cost and what others cost, in one run on one machine.
//!
//! Writers each store a message, wait until it is durable, and delete an earlier one, as a relay does. `bare` is a loop that
//! writes and syncs recycled segments and knows nothing else: the ceiling. `fjall` and `sqlite` stand behind the same
//! batcher as `bare`. `journal` is the product, through the whole IO chain.
//!
//! `spool_bench [--dir DIRECTORY] [--seconds N] [--rounds N] [--writers N] [--only NAME,NAME]`

mod bare;
mod batcher;
mod databases;
mod journal;
mod load;
mod machine;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use load::{Load, Outcome, Store};

/// What is measured.
const STORES: [&str; 4] = ["bare", "journal", "fjall", "sqlite"];

struct Arguments {
    directory: PathBuf,
    seconds: u64,
    rounds: usize,
    writers: usize,
    only: Vec<String>,
}

fn arguments() -> Result<Arguments, String> {
    let mut found = Arguments {
        directory: std::env::temp_dir().join("spool_bench"),
        seconds: 5,
        rounds: 3,
        writers: 64,
        only: Vec::new(),
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next().ok_or(format!("{word} wants a value"))?;
        let number = || value.parse::<u64>().map_err(|_| format!("{word}: `{value}` is not a number"));
        match word.as_str() {
            "--dir" => found.directory = value.into(),
            "--seconds" => found.seconds = number()?,
            "--rounds" => found.rounds = number()? as usize,
            "--writers" => found.writers = number()? as usize,
            "--only" => found.only = value.split(',').map(str::to_owned).collect(),
            _ => return Err(format!("unknown option {word}")),
        }
    }
    Ok(found)
}

fn main() -> Result<(), String> {
    let arguments = arguments()?;
    let cases = [
        ("short-lived: each writer keeps 4 alive", arguments.writers, 4, false),
        ("one writer alone", 1, 4, false),
        ("backlog: 64 000 alive, deleted in random order", arguments.writers, 64_000 / arguments.writers.max(1), true),
    ];
    println!("{}", machine::describe(&arguments.directory));
    for (name, writers, kept, random) in cases {
        println!(
            "\n{name}; {writers} writers, 4096 octets, medians of {} rounds of {} s",
            arguments.rounds, arguments.seconds
        );
        println!("{}", Outcome::heading());
        let load = Load { writers, kept, random, seconds: arguments.seconds };
        // The ceiling keeps nothing, so it has no backlog.
        let wanted = |store: &&str| {
            let named = arguments.only.is_empty() || arguments.only.iter().any(|only| only == store);
            named && !(random && *store == "bare")
        };
        let stores: Vec<&str> = STORES.into_iter().filter(wanted).collect();
        let mut outcomes = vec![Vec::new(); stores.len()];
        // Each round measures all of them, one after the other: what else the machine does hits all alike.
        for _ in 0..arguments.rounds {
            for (store, outcomes) in stores.iter().zip(&mut outcomes) {
                outcomes.push(round(store, &load, &arguments)?);
            }
        }
        for (store, outcomes) in stores.iter().zip(&outcomes) {
            println!("{}", Outcome::median(outcomes).line(store));
        }
        ratios(&stores, &outcomes);
    }
    Ok(())
}

fn round(store: &str, load: &Load, arguments: &Arguments) -> Result<Outcome, String> {
    let directory = fresh(&arguments.directory.join(store))?;
    let opened: Arc<dyn Store> = match store {
        "bare" => Arc::new(batcher::Batched::start(bare::Bare::create(&directory)?)),
        "journal" => Arc::new(journal::Product::open(&directory)?),
        "fjall" => Arc::new(batcher::Batched::start(databases::Fjall::open(&directory)?)),
        _ => Arc::new(batcher::Batched::start(databases::Sqlite::open(&directory)?)),
    };
    let outcome = load::run(&opened, load, &directory);
    opened.close();
    drop(opened);
    let _ = std::fs::remove_dir_all(&directory);
    Ok(outcome)
}

fn fresh(directory: &Path) -> Result<PathBuf, String> {
    let _ = std::fs::remove_dir_all(directory);
    std::fs::create_dir_all(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    Ok(directory.to_owned())
}

/// The median of the rounds' ratios, and their range.
fn ratios(stores: &[&str], outcomes: &[Vec<Outcome>]) {
    let Some(journal) = stores.iter().position(|store| *store == "journal") else { return };
    for (store, others) in stores.iter().zip(outcomes).filter(|(store, _)| **store != "journal") {
        let ratios: Vec<f64> =
            outcomes[journal].iter().zip(others).map(|(ours, other)| ours.rate / other.rate).collect();
        let (low, high) =
            ratios.iter().fold((f64::MAX, 0.0_f64), |(low, high), ratio| (low.min(*ratio), high.max(*ratio)));
        println!("journal / {store}: {:.2} ({low:.2} to {high:.2})", load::median(ratios));
    }
}
