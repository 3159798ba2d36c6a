//! `config get|eval|show|showrecurse|locate`: what is set, where, and what counts. Inside a transaction they see it.

use std::rc::Rc;

use config::{Answer, Generation};
use console::{Command, CommandError, Invocation, Reply};

use super::{aside, borrowed, completed, reply, words};
use crate::commands::command;
use crate::house::House;

/// The reading commands.
pub fn commands(house: &Rc<House>) -> Vec<Command> {
    let get = command(
        house,
        "config get [SCOPE...] OPTION",
        "the value set in exactly that scope",
        |house, asked| async move { read(&house, &asked, |generation, words| generation.get_text(words)).await },
    );
    let eval = command(
        house,
        "config eval [--why] [SCOPE...] OPTION",
        "the value in effect, after fallback",
        |house, asked| async move {
            read(&house, &asked, |generation, words| match words.split_first() {
                Some((&"--why", words)) => generation.why_text(words),
                _ => generation.eval_text(words),
            })
            .await
        },
    )
    .help("With --why: the file, line and scope that gave the value, and the settings it beat.");
    let show = command(
        house,
        "config show [SCOPE...] [OPTION]",
        "one scope, the scopes in it as { ... }",
        |house, asked| async move { read(&house, &asked, |generation, words| generation.show(words, false)).await },
    );
    let recurse =
        command(house, "config showrecurse [SCOPE...]", "a scope with everything in it", |house, asked| async move {
            read(&house, &asked, |generation, words| generation.show(words, true)).await
        });
    let locate = command(
        house,
        "config locate SCOPE [REGEX]",
        "the instances of a scope whose name matches, and where they are",
        |house, asked| async move { read(&house, &asked, |generation, words| generation.locate(words)).await },
    )
    .help("The path it shows can be given to the other config commands in place of the scope.");
    vec![
        completed(house, get, true),
        completed(house, eval, true),
        completed(house, show, true),
        completed(house, recurse, false),
        completed(house, locate, false),
    ]
}

async fn read(
    house: &House,
    asked: &Invocation,
    read: impl FnOnce(&Generation, &[&str]) -> Result<Answer, String> + Send + 'static,
) -> Result<Reply, CommandError> {
    let words = words(asked);
    let answer = aside(house, asked, move |configuration, transaction| {
        let generation = match transaction {
            Some(transaction) => transaction.generation().map_err(|refused| refused.render(false))?,
            None => configuration.current(),
        };
        read(&generation, &borrowed(&words))
    });
    answer.await.map(reply)
}
