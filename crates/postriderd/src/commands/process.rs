//! `version`, `pid`, `reopen logs`, `module list`, `paniclog`, `shutdown`.

use std::rc::Rc;

use console::shapes::{self, ModuleList, ModuleRow, Paniclog, PaniclogEntry, Shape as _};
use console::{Command, CommandError, Reply};
use logging::Level;

use super::command;
use crate::house::House;
use crate::{PRODUCT, VERSION};

/// The family.
pub fn commands(house: &Rc<House>) -> Vec<Command> {
    vec![
        command(house, "version", "product and version", |_, asked| async move {
            asked.no_args()?;
            Ok(shapes::version(PRODUCT, VERSION))
        }),
        command(house, "pid", "process id of the daemon", |_, asked| async move {
            asked.no_args()?;
            Ok(shapes::pid(std::process::id()))
        }),
        command(house, "reopen logs", "close and open every log file, after a rotation", |house, asked| async move {
            asked.no_args()?;
            reopen_logs(&house).await
        }),
        command(house, "module list", "the loaded modules", |house, asked| async move {
            asked.no_args()?;
            Ok(module_list(&house).reply())
        }),
        command(house, "paniclog", "the last diagnostics of each level", |house, asked| async move {
            asked.no_args()?;
            Ok(paniclog(&house).reply())
        }),
        command(house, "shutdown", "stop accepting, finish what is in flight, and exit", |house, asked| async move {
            asked.no_args()?;
            house.request_stop("console command");
            Ok(shapes::shutting_down())
        }),
    ]
}

/// Opening a log again may wait for a disk or start a program: not on the master scheduler.
async fn reopen_logs(house: &House) -> Result<Reply, CommandError> {
    let hooks = house.log_hooks();
    house.pools.get("IO").run(move || hooks.reopen()).await.map_err(CommandError::failed)?;
    let loggers = house.loaded_modules().map(|loaded| loaded.list()).unwrap_or_default();
    let names: Vec<String> = loggers.into_iter().map(|module| module.instance.unwrap_or(module.module)).collect();
    Ok(shapes::logs_reopened(&names))
}

fn module_list(house: &House) -> ModuleList {
    let row = |module: module::Listed| ModuleRow {
        name: module.instance.as_ref().map_or_else(|| module.module.clone(), |own| format!("{}:{own}", module.module)),
        module: module.module.clone(),
        scope_name: module.module,
        instance_name: module.instance,
        enabled: module.enabled,
        api: module.version,
        description: module.description,
    };
    let listed = house.loaded_modules().map(|loaded| loaded.list()).unwrap_or_default();
    ModuleList { modules: listed.into_iter().map(row).collect() }
}

fn paniclog(house: &House) -> Paniclog {
    let mut entries = Vec::new();
    for level in Level::ALL {
        entries.extend(house.paniclog.recent(level).into_iter().map(|entry| PaniclogEntry {
            at_unix: entry.at.as_secs(),
            level: level.as_str().to_owned(),
            text: entry.message,
        }));
    }
    entries.sort_by_key(|entry| entry.at_unix);
    Paniclog { entries }
}
