//! `config reload|diff|writeback` and `write config`: the configuration that runs, and the files it is kept in.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use config::{
    Configuration, ConsoleChange, Diagnostics, Difference, Generation, differences, differences_json, differences_text,
    dropped_changes,
};
use console::shapes::{ConfigReloaded, Shape as _};
use console::{Command, CommandError, Invocation, Reply};
use declarations::fitness::{self, Purpose};
use io_wrapper::IoWrappers;
use module::Modules;
use serde_json::json;

use super::{Open, aside, told};
use crate::commands::command;
use crate::generation;
use crate::house::{House, Reach, Refusal, Reloaded, refused};

/// The commands about files.
pub fn commands(house: &Rc<House>) -> Vec<Command> {
    vec![
        command(
            house,
            "config reload [--dry-run|--force] [PATH]",
            "read the files again; refused as a whole if there is a mistake",
            reload,
        )
        .help("The running configuration stays if the files are refused. Work in progress keeps the one it started with. Changes from\nthe console that were not written back are dropped, and listed. With --dry-run nothing is put into effect: it tells what would\nchange, what would wait for the next start, and which options have no effect. With PATH that file is read, and once it is\nin effect it is the main file: a later config reload, SIGHUP and config writeback mean it. The next start of the daemon\nreads the file it is started with. A file without any listener, or without the Control_Listener there is now, is refused\nunless --force insists: nobody could reach the daemon but by a signal."),
        command(
            house,
            "config diff [FILE]",
            "what differs between the running configuration and its files",
            |house, asked| async move { diff(&house, &asked).await },
        )
        .help("What was is marked with -, what takes its place with +, and the first two lines say which is which: the files are -, and what\nruns is +, as it was changed from the console; but FILE, and the open transaction of this session, are + against what\nruns. Of a transaction the warnings of its commit are shown too."),
        command(
            house,
            "config writeback [PATH]",
            "write the running configuration to the files it came from",
            |house, asked| async move { writeback(&house, &asked).await },
        )
        .help("Only files with changes are written; comments and layout stay. All of them or none, also over a crash. Refused when a\nfile was changed on disk since it was read.\nWith PATH everything goes into that one file. A relative PATH starts from the directory of the main file."),
        command(
            house,
            "write config [PATH]",
            "print the running configuration, or write it to a file",
            |house, asked| async move { write_config(&house, &asked).await },
        )
        .help("As config showrecurse prints it, without an open transaction. A relative PATH starts from the directory of the main file."),
    ]
}

fn only_path(words: &[String]) -> Result<Option<PathBuf>, CommandError> {
    match words {
        [] => Ok(None),
        [path] => Ok(Some(PathBuf::from(path))),
        _ => Err(CommandError::Usage("one path at most".into())),
    }
}

async fn reload(house: Rc<House>, asked: Invocation) -> Result<Reply, CommandError> {
    if let Some((first, rest)) = asked.args.split_first()
        && first == "--dry-run"
    {
        let path = only_path(rest)?;
        return dry_run(&house, &asked, path).await;
    }
    let (reach, words) = Reach::of(&asked.args);
    let path = only_path(&words)?;
    if Open::of(&asked).is_open() {
        return Err(CommandError::Failed(
            "a transaction is open in this session; commit it or roll it back before a reload".to_owned(),
        ));
    }
    let Reloaded { generation, dropped } = house.reload(path, reach, &asked.peer.to_string()).await.map_err(told)?;
    let path = house.configuration.path().display().to_string();
    let mut reply = ConfigReloaded { path, generation: generation.number() }.reply();
    reply.text.push_str(&dropped_text(&dropped, "Dropped"));
    reply.json["dropped"] = dropped_json(&dropped);
    let warnings = generation.warnings();
    if !warnings.is_empty() {
        reply.text = format!("{}{}", warnings.render(false), reply.text);
        reply.json["warnings"] = warnings.to_json();
    }
    Ok(reply)
}

/// A file as it would be loaded now, or why it would be refused.
fn candidate(
    configuration: &Configuration,
    modules: &Modules,
    files: &IoWrappers,
    path: Option<&Path>,
) -> Result<Generation, Refusal> {
    let would_be = |text: String| format!("{text}\nIt would be refused; nothing was changed.");
    let candidate = configuration
        .candidate(path)
        .map_err(|diagnostics| Refusal { why: would_be(diagnostics.render(false)), diagnostics: Some(diagnostics) })?;
    fitness::verdict(&fitness::faults(&candidate, modules, files, Purpose::Reload)).map_err(would_be)?;
    Ok(candidate)
}

async fn dry_run(house: &House, asked: &Invocation, path: Option<PathBuf>) -> Result<Reply, CommandError> {
    let (modules, files, netlisteners) = (house.modules.clone(), house.files.clone(), house.netlisteners.clone());
    let tried = aside(house, asked, move |configuration, _| -> Result<_, Refusal> {
        let candidate = candidate(configuration, &modules, &files, path.as_deref())?;
        generation::check_reachable(&candidate, &configuration.current())
            .and_then(|()| generation::check_sockets(&candidate, &netlisteners))
            .map_err(|why| format!("{why}\nIt would be refused; nothing was changed."))?;
        let found = differences(&configuration.current(), &candidate);
        let dropped = dropped_changes(&configuration.current(), &candidate);
        let (idle, warnings) = (candidate.not_in_effect(), candidate.warnings());
        let waiting = |difference: &&Difference| difference.needs_restart;
        let restart: Vec<_> = found.iter().filter(waiting).filter_map(|difference| difference.option.clone()).collect();
        let mut text = format!("{}{}", warnings.render(false), differences_text(&found));
        text.push_str(&match found.len() {
            0 => "No differences.\n".to_owned(),
            1 => "1 difference.\n".to_owned(),
            many => format!("{many} differences.\n"),
        });
        if !restart.is_empty() {
            text.push_str(&format!("Waits for the next start: {}.\n", restart.join(", ")));
        }
        if !idle.is_empty() {
            text.push_str(&format!("Not in effect in this version: {}.\n", idle.join(", ")));
        }
        text.push_str(&dropped_text(&dropped, "A reload would drop"));
        text.push_str("Nothing was changed.\n");
        let json = json!({
            "dropped": dropped_json(&dropped),
            "differences": differences_json(&found),
            "needs_restart": restart,
            "not_in_effect": idle,
            "warnings": warnings.to_json(),
        });
        Ok(Reply::new(text, json))
    });
    tried.await
}

/// The changes from the console that a reload drops, one a line.
fn dropped_text(dropped: &[ConsoleChange], what: &str) -> String {
    match dropped {
        [] => String::new(),
        dropped => {
            let lines: String = dropped.iter().map(|change| format!("  {change}\n")).collect();
            let changes = if dropped.len() == 1 { "change" } else { "changes" };
            format!("{what} {} {changes} made from the console, which no file has:\n{lines}", dropped.len())
        }
    }
}

fn dropped_json(dropped: &[ConsoleChange]) -> serde_json::Value {
    let change = |change: &ConsoleChange| {
        let author = change.author.as_ref();
        json!({
            "scope": change.scope, "option": change.option, "value": change.value,
            "who": author.map(|author| &author.who), "when": author.map(|author| &author.when),
        })
    };
    dropped.iter().map(change).collect()
}

async fn diff(house: &House, asked: &Invocation) -> Result<Reply, CommandError> {
    let path = only_path(&asked.args)?;
    let (modules, files) = (house.modules.clone(), house.files.clone());
    let found = aside(house, asked, move |configuration, transaction| -> Result<_, Refusal> {
        let running = configuration.current();
        match transaction {
            Some(transaction) if path.is_none() => {
                let inside = transaction.generation().map_err(refused)?;
                let warnings = inside.warnings().beyond(running.warnings());
                Ok((
                    ["what runs".to_owned(), "the open transaction".to_owned()],
                    differences(&running, &inside),
                    warnings,
                ))
            }
            _ => {
                let candidate = candidate(configuration, &modules, &files, path.as_deref())?;
                let (sides, found) = match path {
                    Some(path) => {
                        (["what runs".to_owned(), path.display().to_string()], differences(&running, &candidate))
                    }
                    None => (["the files".to_owned(), "what runs".to_owned()], differences(&candidate, &running)),
                };
                Ok((sides, found, Diagnostics::default()))
            }
        }
    });
    let ([old, new], found, warnings) = found.await?;
    let text = match found.is_empty() {
        true => "No differences.\n".to_owned(),
        false => format!("--- {old}\n+++ {new}\n{}", differences_text(&found)),
    };
    let mut reply = Reply::new(text, json!({ "old": old, "new": new, "differences": differences_json(&found) }));
    super::changing::add_warnings(&mut reply, &warnings);
    Ok(reply)
}

async fn writeback(house: &House, asked: &Invocation) -> Result<Reply, CommandError> {
    let path = only_path(&asked.args)?;
    let written = aside(house, asked, move |configuration, _| match &path {
        Some(path) => configuration.writeback_to(path),
        None => configuration.writeback(),
    });
    let written = written.await?;
    let mut text: String = written.files.iter().map(|file| format!("Written: {}\n", file.display())).collect();
    if !written.homeless.is_empty() {
        text.push_str("Warning: no file takes these changes; they are lost at the next reload or restart:\n");
        text.push_str(&written.homeless);
    } else if written.files.is_empty() {
        text.push_str(match written.adrift.is_empty() {
            true => "Nothing to write: the files say what runs.\n",
            false => "Nothing was written: nothing was changed from the console.\n",
        });
    }
    if !written.adrift.is_empty() {
        text.push_str("Warning: these files do not say what runs, and the next start takes what they say:\n");
        written.adrift.iter().for_each(|file| text.push_str(&format!("  {file}\n")));
        text.push_str(
            "See what a reload would make of them with config reload --dry-run; config writeback PATH writes what runs to a new file.\n",
        );
    }
    let files: Vec<String> = written.files.iter().map(|file| file.display().to_string()).collect();
    Ok(Reply::new(text, json!({ "written": files, "without_file": written.homeless, "not_as_read": written.adrift })))
}

async fn write_config(house: &House, asked: &Invocation) -> Result<Reply, CommandError> {
    let path = only_path(&asked.args)?;
    let done = aside(house, asked, move |configuration, _| match &path {
        Some(path) => {
            let path = configuration.dump_to(path)?.display().to_string();
            Ok(Reply::new(format!("Written: {path}\n"), json!({ "written": [path] })))
        }
        None => configuration.current().show(&[], true).map(super::reply),
    });
    done.await
}
