//! Console commands: what an operator types, carried out by the rooms it concerns.
//!
//! One file a family. A handler runs on the master scheduler, gathers from the loops by message, and answers in a shape of
//! `console::shapes`; it never walks a queue on the master.

mod binding;
mod bulk;
mod completion;
mod configuration;
mod dns_cache;
mod gateways;
mod memory;
mod message;
mod options;
mod process;
mod queue;
mod sessions;
mod spool;
mod spool_import;
mod status;
mod trace;

use std::collections::BTreeSet;
use std::rc::Rc;

use console::{Command, CommandError, Commands, Invocation, Reply};
use scheduler::MemoryCharge;

pub use self::completion::LastListed;
use crate::house::House;

/// Registers every command of the daemon.
pub fn register(commands: &Commands, house: &Rc<House>) -> Result<(), console::Duplicate> {
    let families = [
        status::commands(house),
        memory::commands(house),
        queue::commands(house),
        bulk::commands(house),
        binding::commands(house),
        sessions::commands(house),
        trace::commands(house),
        dns_cache::commands(house),
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

/// Memory for a listing of so many octets, as long as the charge is kept; who may not have it is told to ask for less.
fn room_for(house: &House, octets: usize) -> Result<MemoryCharge, CommandError> {
    let mut charge = house.meters.memory("console:listings").charge(0);
    match charge.grow(octets) {
        true => Ok(charge),
        false => Err(CommandError::Failed(format!(
            "memory is short: there is none for a listing of {octets} octets now; ask for less, or later"
        ))),
    }
}

/// Refuses a binding that neither the configuration nor a queue knows.
async fn known_binding(house: &House, name: &str) -> Result<(), CommandError> {
    let known = bindings(house).await;
    if known.iter().any(|(_, binding)| binding == name) {
        return Ok(());
    }
    let mut names: Vec<String> = known.into_iter().map(|(_, binding)| binding).collect();
    names.sort();
    let more = names.len().saturating_sub(NAMES_TOLD);
    names.truncate(NAMES_TOLD);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    Err(CommandError::Failed(format!("no binding is called {name}; there are {}{more}", names.join(", "))))
}

/// Every binding, with its group: those of the configuration, those that have or had mail, and the default one.
async fn bindings(house: &House) -> BTreeSet<(String, String)> {
    let configured = house.configuration.current();
    let of_stanza = |stanza: config::ScopeRef<'_>| (configured.group_of(&stanza.name()), stanza.name());
    let mut all: BTreeSet<(String, String)> = configured.instances("binding").into_iter().map(of_stanza).collect();
    all.insert(("default".to_owned(), "default".to_owned()));
    let with_mail = house.engine.bindings().await;
    all.extend(with_mail.into_iter().map(|one| (one.binding_group.to_string(), one.binding.to_string())));
    all
}

/// Names that an error lists.
const NAMES_TOLD: usize = 20;
