//! The `config` family: reading, changing and keeping the configuration.
//!
//! A change belongs to the transaction of its console session, or is one by itself. Whatever may take long (parsing and
//! merging a configuration, writing files) runs in the pool of one thread that reloads run in, so changes come one after
//! the other and no loop waits for them.

mod changing;
mod files;
mod reading;

use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use config::{Configuration, Transaction};
use console::{Command, CommandError, Invocation, Reply};

use crate::house::{House, RELOAD_POOL, Refusal};

/// The family.
pub fn commands(house: &Rc<House>) -> Vec<Command> {
    let families = [reading::commands(house), changing::commands(house), files::commands(house)];
    families.into_iter().flatten().collect()
}

/// The transaction of a console session; it ends with the session.
#[derive(Clone, Default)]
struct Open(Arc<Mutex<Option<Transaction>>>);

impl Open {
    fn of(asked: &Invocation) -> Self {
        Open::clone(&asked.session.get::<Open>())
    }

    fn with<T>(&self, look: impl FnOnce(&mut Option<Transaction>) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Never waits: where another command of this session is still at it, there is one.
    fn is_open(&self) -> bool {
        self.0.try_lock().map_or(true, |transaction| transaction.is_some())
    }
}

/// Works on the configuration, and on the session's transaction, where it may take its time.
async fn aside<T: Send + 'static, E: Into<Refusal> + Send + 'static>(
    house: &House,
    asked: &Invocation,
    work: impl FnOnce(&Configuration, &mut Option<Transaction>) -> Result<T, E> + Send + 'static,
) -> Result<T, CommandError> {
    let (configuration, open) = (house.configuration.clone(), Open::of(asked));
    let work = move || open.with(|transaction| work(&configuration, transaction));
    let done = house.pools.get(RELOAD_POOL).run(work).await;
    done.map_err(CommandError::failed)?.map_err(|problem| told(problem.into()))
}

/// A refusal as the console answers it: machines get each diagnostic by itself.
fn told(refusal: Refusal) -> CommandError {
    match refusal.diagnostics {
        None => CommandError::Failed(refusal.why),
        Some(diagnostics) => CommandError::Refused { why: refusal.why, details: diagnostics.to_json() },
    }
}

fn words(asked: &Invocation) -> Vec<String> {
    asked.args.clone()
}

/// Borrowed words.
fn borrowed(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

fn reply(answer: config::Answer) -> Reply {
    Reply::new(answer.text + "\n", answer.json)
}

/// Adds scopes, their names and, with `options`, options for the Tab key.
fn completed(house: &Rc<House>, command: Command, options: bool) -> Command {
    let house = house.clone();
    command.complete(move |before, _| {
        let before: Vec<&str> = before.iter().copied().filter(|word| !word.starts_with("--")).collect();
        house.configuration.current().next_words(&before, options)
    })
}
