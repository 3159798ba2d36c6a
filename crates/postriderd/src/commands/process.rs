//! `version`, `pid`, `reopen logs`, `module list`, `module hooks`, `paniclog`, `shutdown`.

use std::rc::Rc;

use console::shapes::{
    self, CalledHook, HookList, HookProvider, HookRow, ModuleList, ModuleRow, Paniclog, PaniclogEntry, Shape as _,
};
use console::{Command, CommandError, Reply};
use hooks::{HookDescription, HookSet, ProviderDescription};
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
        command(
            house,
            "module hooks",
            "every hook, its prototype, and the modules that provide it",
            |house, asked| async move {
                asked.no_args()?;
                Ok(module_hooks(&house).reply())
            },
        ),
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

/// Those that are called, with what was counted, and those that await something.
fn module_hooks(house: &House) -> HookList {
    let set = house.configuration.current().extension::<HookSet>();
    let called = set.map(|set| set.descriptions()).unwrap_or_default().into_iter().map(called_hook);
    let awaited = hooks::awaited().map(|awaited| HookRow {
        name: awaited.title.to_owned(),
        prototype: awaited.prototype.to_owned(),
        tier: awaited.tier.to_owned(),
        awaits: Some(awaited.room.to_owned()),
        called: None,
    });
    let mut hooks: Vec<HookRow> = called.chain(awaited).collect();
    hooks.sort_by(|one, other| one.name.cmp(&other.name));
    HookList { hooks }
}

fn called_hook(hook: HookDescription) -> HookRow {
    let HookDescription { declaration, providers } = hook;
    let called = CalledHook {
        rule: declaration.rule.to_string(),
        failing: declaration.failing.word().to_owned(),
        runs: declaration.runs.word().to_owned(),
        needs: declaration.needs.word().to_owned(),
        suspends: declaration.suspends,
        meaning: declaration.meaning.to_owned(),
        providers: providers.into_iter().map(hook_provider).collect(),
    };
    HookRow {
        name: declaration.title(),
        prototype: declaration.prototype(),
        tier: declaration.tier.word().to_owned(),
        awaits: None,
        called: Some(called),
    }
}

fn hook_provider(provider: ProviderDescription) -> HookProvider {
    let ProviderDescription { module, figures } = provider;
    let was_timed = 0 < figures.timed;
    let microseconds = |seconds: f64| was_timed.then_some(seconds * 1e6);
    HookProvider {
        module,
        calls: figures.calls,
        suspensions: figures.suspensions,
        refusals: figures.refusals,
        errors: figures.errors,
        mean_microseconds: microseconds(figures.time.as_secs_f64() / figures.timed.max(1) as f64),
        longest_microseconds: microseconds(figures.longest.as_secs_f64()),
    }
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
