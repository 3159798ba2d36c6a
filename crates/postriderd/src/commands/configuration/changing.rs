//! `config begin|set|unset|replay|rollback|commit`: changes, in a transaction or each by itself.

use std::rc::Rc;

use config::{Answer, Transaction};
use console::{Command, CommandError, Invocation, Reply};
use serde_json::json;

use super::{Open, aside, borrowed, completed, reply, told, words};
use crate::commands::command;
use crate::house::{House, Reach, refused};

/// The changing commands.
pub fn commands(house: &Rc<House>) -> Vec<Command> {
    let plain = command(house, "config begin", "begin a transaction that only this session sees", |house, asked| {
        begin(house, asked, false)
    })
    .help("It ends with config commit, config rollback, or the connection.");
    let from_scratch = command(
        house,
        "config begin from scratch",
        "begin a transaction on an empty configuration",
        |house, asked| begin(house, asked, true),
    )
    .help("What is built in remains: thread pools, debug flags and the format of timestamps. Committing it without a control listener is refused,\nbecause it would close the console; see config commit. config diff shows beforehand what a commit would warn of.");
    let set = command(house, "config set [SCOPE...] OPTION [=] VALUE", "set an option", |house, asked| async move {
        let line = asked.rest.clone();
        change(&house, &asked, move |transaction| transaction.set(&line)).await
    })
    .help("In effect at once, or at the commit of an open transaction. A list is ( a b ), a dictionary [ key = value ]; quote a value with\nblanks or #. Nothing is on disk before config writeback.");
    let unset = command(
        house,
        "config unset [SCOPE...] [OPTION]",
        "remove a setting, or a scope with all in it",
        |house, asked| async move {
            let words = words(&asked);
            change(&house, &asked, move |transaction| transaction.unset(&borrowed(&words))).await
        },
    )
    .help("The value it falls back to is shown. The global scope cannot be removed.");
    let replay = command(
        house,
        "config replay",
        "the set and unset commands of the open transaction",
        |house, asked| async move { replay(&house, &asked).await },
    );
    let rollback = command(house, "config rollback", "drop the open transaction", |house, asked| async move {
        asked.no_args()?;
        let dropped =
            aside(&house, &asked, |_, open| Ok::<_, String>(open.take().map(|dropped| dropped.replay().len())));
        let changes = dropped.await?.ok_or_else(none_open)?;
        Ok(Reply::new(
            format!("Transaction rolled back; {} dropped.\n", counted(changes)),
            json!({ "dropped": changes }),
        ))
    });
    let commit = command(
        house,
        "config commit [--force]",
        "put the open transaction into effect",
        |house, asked| async move { commit(&house, &asked).await },
    )
    .help("As a whole or not at all. Whoever commits first wins: a transaction begun before that commit is refused and must be\nrolled back. No file is changed; see config writeback. What would leave no listener, or no Control_Listener although there is\none now, is refused unless --force insists.");
    vec![plain, from_scratch, completed(house, set, true), completed(house, unset, true), replay, rollback, commit]
}

fn none_open() -> CommandError {
    CommandError::Failed("no transaction is open in this session; begin one with config begin".to_owned())
}

fn counted(changes: usize) -> String {
    if changes == 1 { "1 change".to_owned() } else { format!("{changes} changes") }
}

async fn begin(house: Rc<House>, asked: Invocation, from_scratch: bool) -> Result<Reply, CommandError> {
    asked.no_args()?;
    let base = aside(&house, &asked, move |configuration, open| {
        if open.is_some() {
            return Err("a transaction is open in this session; commit it or roll it back first".to_owned());
        }
        let transaction = open.insert(configuration.begin(from_scratch));
        Ok(transaction.base().number())
    });
    let base = base.await?;
    Ok(Reply::new(format!("Transaction begun from generation {base}.\n"), json!({ "base": base })))
}

async fn replay(house: &House, asked: &Invocation) -> Result<Reply, CommandError> {
    asked.no_args()?;
    let lines = aside(house, asked, |_, open| Ok::<_, String>(open.as_ref().map(|open| open.replay().to_vec())));
    let lines = lines.await?.ok_or_else(none_open)?;
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    Ok(Reply::new(text, json!({ "commands": lines })))
}

/// A change in the session's transaction, or one that is committed at once.
async fn change(
    house: &Rc<House>,
    asked: &Invocation,
    edit: impl FnOnce(&mut Transaction) -> Result<Answer, String> + Send + 'static,
) -> Result<Reply, CommandError> {
    if Open::of(asked).is_open() {
        let answer = aside(house, asked, |_, open| match open {
            Some(transaction) => edit(transaction),
            None => Err("the transaction has ended".to_owned()),
        });
        return answer.await.map(reply);
    }
    let before = house.configuration.current();
    let who = asked.peer.to_string();
    let changed = house.change(
        &who,
        Reach::Kept,
        Box::new(move |configuration, prepare| {
            let mut transaction = configuration.begin(false);
            let answer = edit(&mut transaction)?;
            let generation = configuration.commit(&mut transaction, prepare).map_err(refused)?;
            Ok((generation, answer))
        }),
    );
    let (generation, answer) = changed.await.map_err(told)?;
    let mut reply = reply(answer);
    add_warnings(&mut reply, &generation.warnings().beyond(before.warnings()));
    Ok(reply)
}

async fn commit(house: &Rc<House>, asked: &Invocation) -> Result<Reply, CommandError> {
    let (reach, rest) = Reach::of(&asked.args);
    if !rest.is_empty() {
        return Err(CommandError::Usage("config commit takes --force and nothing else".into()));
    }
    let open = Open::of(asked);
    if !open.is_open() {
        return Err(none_open());
    }
    let before = house.configuration.current();
    let committing = open.clone();
    let who = asked.peer.to_string();
    let committed = house.change(
        &who,
        reach,
        Box::new(move |configuration, prepare| {
            committing.with(|slot| {
                let transaction = slot.as_mut().ok_or("the transaction has ended")?;
                let changes = transaction.replay().len();
                let generation = configuration.commit(transaction, prepare).map_err(refused)?;
                *slot = None;
                Ok((generation, changes))
            })
        }),
    );
    let (generation, changes) = committed.await.map_err(told)?;
    let number = generation.number();
    let text = format!("Committed {}; generation {number}.\n", counted(changes));
    let mut reply = Reply::new(text, json!({ "changes": changes, "generation": number }));
    add_warnings(&mut reply, &generation.warnings().beyond(before.warnings()));
    Ok(reply)
}

/// Puts warnings before an answer.
pub(super) fn add_warnings(reply: &mut Reply, warnings: &config::Diagnostics) {
    if !warnings.is_empty() {
        reply.text = format!("{}{}", warnings.render(false), reply.text);
        reply.json["warnings"] = warnings.to_json();
    }
}
