//! `config get|eval|show|showrecurse|locate`: what is set, where, and what counts. Inside a transaction they see it.
//!
//! The whole configuration is shown with what is built in beside it, as comments: what would run is more than what is set.

use std::rc::Rc;

use config::{Answer, Generation};
use console::{Command, CommandError, Invocation, Reply};
use scheduler::ThreadPools;
use serde_json::json;

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
        |house, asked| async move { shown(&house, &asked, false).await },
    )
    .help("Without a scope, what is built in and not set follows as comments.");
    let recurse =
        command(house, "config showrecurse [SCOPE...]", "a scope with everything in it", |house, asked| async move {
            shown(&house, &asked, true).await
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

/// A scope, and for the global one what is built in.
async fn shown(house: &House, asked: &Invocation, recurse: bool) -> Result<Reply, CommandError> {
    let pools: Vec<String> = house.pools.stats().into_iter().map(|pool| pool.name).collect();
    read(house, asked, move |generation, words| {
        let mut answer = generation.show(words, recurse)?;
        if words.is_empty() {
            let built_in = built_in(generation, &pools);
            let comments: Vec<String> = built_in.iter().map(|line| format!("#   {line}")).collect();
            let title = "# Built in, because nothing above says otherwise:";
            let parts = [answer.text.as_str(), title, &comments.join("\n")];
            answer.text = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n");
            answer.json["built_in"] = json!(built_in);
        }
        Ok(answer)
    })
    .await
}

/// What runs although nothing sets it, in the words of a file.
fn built_in(generation: &Generation, pools: &[String]) -> Vec<String> {
    let named: Vec<String> = generation.stanzas("threadpool").map(|pool| pool.name()).collect();
    let mut lines: Vec<String> = pools
        .iter()
        .filter(|pool| !named.iter().any(|named| named.eq_ignore_ascii_case(pool)))
        .map(|pool| format!("ThreadPool \"{pool}\" {{ Concurrency = {} }}", ThreadPools::predefined(pool).concurrency))
        .collect();
    if generation.stanzas("debug_flags").next().is_none() {
        let levels = ["critical", "error", "warning", "notice", "info", "debug"];
        let set = levels.iter().filter_map(|level| generation.eval_text(&["debug_flags", level]).ok());
        let set: Vec<String> = set.map(|answer| answer.text).filter(|text| !text.ends_with("\"\"")).collect();
        lines.push(format!("Debug_Flags {{ {} }}", set.join(" ")));
    }
    let format = generation.eval_text(&["timestampformat"]).map(|answer| answer.text);
    let unset = generation.get_text(&["timestampformat"]).is_ok_and(|answer| answer.json["value"].is_null());
    lines.extend(format.ok().filter(|_| unset));
    lines
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
