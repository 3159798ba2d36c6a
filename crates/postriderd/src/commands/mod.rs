//! Console commands: what an operator types, carried out by the rooms it concerns.
//!
//! One file a family. A handler runs on the master scheduler, gathers from the loops by message, and answers in a shape of
//! `console::shapes`; it never walks a queue on the master.

mod binding;
mod configuration;
mod gateways;
mod memory;
mod message;
mod options;
mod process;
mod queue;
mod spool;
mod spool_import;
mod status;

use std::rc::Rc;

use console::{Command, CommandError, Commands, Invocation, Reply};

use crate::house::House;

/// Registers every command of the daemon.
pub fn register(commands: &Commands, house: &Rc<House>) -> Result<(), console::Duplicate> {
    let families = [
        status::commands(house),
        memory::commands(house),
        queue::commands(house),
        binding::commands(house),
        message::commands(house),
        spool::commands(house),
        spool_import::commands(house),
        configuration::commands(house),
        options::commands(house),
        process::commands(house),
    ];
    families.into_iter().flatten().try_for_each(|command| commands.register(command))
}

/// A command over the house.
fn command<Fut>(
    house: &Rc<House>,
    usage: &str,
    summary: &str,
    run: impl Fn(Rc<House>, Invocation) -> Fut + 'static,
) -> Command
where
    Fut: Future<Output = Result<Reply, CommandError>> + 'static,
{
    let house = house.clone();
    Command::new(usage, summary, move |invocation| run(house.clone(), invocation))
}

/// What holds mail, with its times as the clock on the wall has them.
fn waiting(house: &House, wait: &delivery::Wait) -> console::shapes::Waiting {
    let now = house.clock.unix();
    console::shapes::Waiting {
        kind: wait.hold.word().to_owned(),
        text: wait.hold.to_string(),
        since_unix: wait.since.map(|since| now.saturating_sub(since).as_secs()),
        until_unix: wait.until.map(|until| (now + until).as_secs()),
        is_held: wait.is_held(),
    }
}
