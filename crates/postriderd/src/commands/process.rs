//! `version`, `pid`, `sysinfo`, `reopen logs`, `module list`, `paniclog`, `shutdown`.

use std::rc::Rc;

use console::shapes::{self, LogsReopened, ModuleList, ModuleRow, Paniclog, PaniclogEntry, ReopenedLog, Shape as _};
use console::{Command, CommandError, Invocation, Reply};
use logging::Level;
use serde_json::json;

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
        command(house, "sysinfo", "the program and the machine it runs on", |house, asked| async move {
            asked.no_args()?;
            sysinfo(&house).await
        }),
        command(
            house,
            "reopen logs [NAME]",
            "close and open log files, after a rotation",
            |house, asked| async move { reopen_logs(&house, asked).await },
        )
        .help(
            "All of them, or those of NAME: a logger (ec_logger, or ec_logger:INSTANCE), a log (mainlog), or a path. What cannot be\n\
             opened is told, and its lines go to the old file still.",
        ),
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
async fn reopen_logs(house: &House, asked: Invocation) -> Result<Reply, CommandError> {
    let only = match asked.args.as_slice() {
        [] => None,
        [name] => Some(name.clone()),
        [_, surplus, ..] => return Err(CommandError::Usage(format!("'{surplus}' is one argument too many"))),
    };
    let (hooks, name) = (house.log_hooks(), only.clone());
    let reopened = house.pools.get("IO").run(move || hooks.reopen(name.as_deref())).await;
    let (logs, known) = reopened.map_err(CommandError::failed)?;
    if let (Some(name), true) = (only, logs.is_empty()) {
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        return Err(CommandError::Failed(format!("no log is called {name}; open are: {known}")));
    }
    let log = |done: logging::Reopened| ReopenedLog {
        logger: done.logger,
        log: done.log.to_owned(),
        path: done.path,
        error: done.error,
    };
    let told = LogsReopened { logs: logs.into_iter().map(log).collect() };
    match told.has_failed() {
        false => Ok(told.reply()),
        true => Err(CommandError::Refused { why: told.text().trim_end().to_owned(), details: told.json() }),
    }
}

/// Reads files: not on the master scheduler.
async fn sysinfo(house: &House) -> Result<Reply, CommandError> {
    let read = || {
        let files = io_wrapper::IoWrappers::new();
        let release = files.read_text("/etc/os-release", RELEASE_OCTETS_MAX).unwrap_or_default();
        let pretty = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
        pretty.map_or_else(|| "unknown".to_owned(), |name| name.trim_matches('"').to_owned())
    };
    let release = house.pools.get("IO").run(read).await.map_err(CommandError::failed)?;
    let uname = rustix::system::uname();
    let part = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    let kernel =
        [uname.sysname(), uname.nodename(), uname.release(), uname.version(), uname.machine()].map(part).join(" ");
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    let text =
        format!("Version: {VERSION}\nBuild: {profile}\nProduct: {PRODUCT}\nOS Release: {release}\nUname: {kernel}\n");
    let json =
        json!({ "version": VERSION, "build": profile, "product": PRODUCT, "os_release": release, "uname": kernel });
    Ok(Reply::new(text, json))
}

/// Nobody's is longer.
const RELEASE_OCTETS_MAX: usize = 16 << 10;

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
