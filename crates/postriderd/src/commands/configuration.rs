//! `config get|eval|show|showrecurse|reload`.

use std::path::PathBuf;
use std::rc::Rc;

use console::shapes::{ConfigReloaded, Shape as _};
use console::{Command, CommandError, Invocation, Reply};

use super::command;
use crate::house::House;

/// The family.
pub fn commands(house: &Rc<House>) -> Vec<Command> {
    let get = command(
        house,
        "config get [SCOPE...] OPTION",
        "the value set in exactly that scope",
        |house, asked| async move { answer(house.configuration.current().get_text(&words(&asked))) },
    );
    let eval = command(
        house,
        "config eval [SCOPE...] OPTION",
        "the value in effect, after fallback",
        |house, asked| async move { answer(house.configuration.current().eval_text(&words(&asked))) },
    );
    let show =
        command(house, "config show [SCOPE...]", "one scope of the running configuration", |house, asked| async move {
            answer(house.configuration.current().show(&words(&asked), false))
        });
    let recurse =
        command(house, "config showrecurse [SCOPE...]", "a scope with everything in it", |house, asked| async move {
            answer(house.configuration.current().show(&words(&asked), true))
        });
    let reload = command(
        house,
        "config reload [PATH]",
        "read the file again; refused as a whole if it has a mistake",
        reload,
    )
    .help("The running configuration stays if the file is refused. Work in progress keeps the one it started with.");
    let with_options = |command: Command| {
        let house = house.clone();
        command.complete(move |_, _| option_names(&house))
    };
    vec![with_options(get), with_options(eval), with_options(show), recurse, reload]
}

/// Every option this build knows, for the Tab key.
fn option_names(house: &House) -> Vec<String> {
    house.configuration.registry().declared().into_iter().map(|option| option.name().to_owned()).collect()
}

async fn reload(house: Rc<House>, asked: Invocation) -> Result<Reply, CommandError> {
    let path = match &asked.args[..] {
        [] => None,
        [path] => Some(PathBuf::from(path)),
        _ => return Err(CommandError::Usage("one path at most".into())),
    };
    let generation = house.reload(path).await.map_err(CommandError::Failed)?;
    let path = house.configuration.path().display().to_string();
    let mut reply = ConfigReloaded { path, generation: generation.number() }.reply();
    let warnings = generation.warnings();
    if !warnings.is_empty() {
        reply.text = format!("{}{}", warnings.render(false), reply.text);
        reply.json["warnings"] = warnings.to_json();
    }
    Ok(reply)
}

fn words(asked: &Invocation) -> Vec<&str> {
    asked.args.iter().map(String::as_str).collect()
}

fn answer(result: Result<config::Answer, String>) -> Result<Reply, CommandError> {
    result.map(|answer| Reply::new(answer.text + "\n", answer.json)).map_err(CommandError::Failed)
}
