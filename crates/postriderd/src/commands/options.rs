//! `config options`: every word of the configuration, what state it is in and what it means.

use std::fmt::Write as _;
use std::rc::Rc;

use config::Description;
use console::{Command, CommandError, Invocation, Reply};
use serde_json::json;

use super::command;
use crate::house::House;

/// The family.
pub fn commands(house: &Rc<House>) -> Vec<Command> {
    let options = command(
        house,
        "config options [FILTER]",
        "every option, scope and module: state, type, default, scopes and meaning",
        |house, asked| async move { options(&house, &asked) },
    )
    .help(
        "FILTER is a part of a name, of an owner (core, or a module), of a state (in effect, not yet, not supported) or of what it \
         means to be without it (harmless, protective, routing, accepted), or \
         /a regular expression/. The name of one option gives its whole description.",
    );
    let names = house.clone();
    vec![options.complete(move |_, _| {
        let described = names.configuration.registry().describe();
        described.into_iter().map(|one| one.name.to_owned()).collect()
    })]
}

fn options(house: &House, asked: &Invocation) -> Result<Reply, CommandError> {
    let filter = asked.args.join(" ");
    let chosen = choose(house.configuration.current().describe(), &filter).map_err(CommandError::Usage)?;
    if chosen.is_empty() {
        return Err(CommandError::Failed(format!("no option, owner or state contains {filter:?}")));
    }
    let text = match chosen.iter().all(|one| one.name.eq_ignore_ascii_case(&filter)) {
        true => chosen.iter().map(Description::text).collect::<Vec<_>>().join("\n"),
        false => table(&chosen),
    };
    let list: Vec<_> = chosen.iter().map(Description::to_json).collect();
    Ok(Reply::new(text, json!({ "options": list })))
}

/// Those a filter means: the ones of exactly that name, else all that contain it.
fn choose(all: Vec<Description>, filter: &str) -> Result<Vec<Description>, String> {
    let pattern = filter.strip_prefix('/').and_then(|rest| rest.strip_suffix('/')).filter(|inner| !inner.is_empty());
    if let Some(pattern) = pattern {
        return Description::matching(all, pattern);
    }
    let exactly = |one: &Description| one.name.eq_ignore_ascii_case(filter);
    let only_exact = all.iter().any(exactly);
    Ok(all.into_iter().filter(|one| if only_exact { exactly(one) } else { one.contains(filter) }).collect())
}

/// A line of facts for each, and what it means and where it may stand below.
fn table(chosen: &[Description]) -> String {
    let mut out = String::new();
    let heading = ["NAME", "STATE", "TYPE", "DEFAULT", "CHANGE"];
    let _ = writeln!(out, "{}", facts(heading));
    for one in chosen {
        let kind = if one.is_option() { one.shape.word() } else { one.kind };
        let change = match one.tunable {
            Some(true) => "reload",
            Some(false) => "start",
            None => "-",
        };
        let default = if one.default.is_empty() { "-" } else { one.default };
        let _ = writeln!(out, "{}", facts([one.name, one.state.word(), kind, default, change]));
        wrap(&mut out, one.meaning);
        wrap(&mut out, &format!("[{}] {}", one.owner, one.scopes.join(", ")));
    }
    let _ = writeln!(out, "{} listed; config options NAME tells everything about one", chosen.len());
    out
}

fn facts([name, state, kind, default, change]: [&str; 5]) -> String {
    format!("{name:<42} {state:<13} {kind:<11} {change:<6} {default}").trim_end().to_owned()
}

/// Appends a text in lines of at most [`WIDTH`] columns, indented.
fn wrap(out: &mut String, text: &str) {
    let mut line = String::new();
    for word in text.split(' ') {
        if !line.is_empty() && INDENT.len() + line.chars().count() + 1 + word.chars().count() > WIDTH {
            let _ = writeln!(out, "{INDENT}{line}");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    let _ = writeln!(out, "{INDENT}{line}");
}

const WIDTH: usize = 100;
const INDENT: &str = "    ";

#[cfg(test)]
mod tests {
    use super::*;
    use config::Registry;

    fn chosen(filter: &str) -> Vec<&'static str> {
        choose(Registry::new().describe(), filter).expect("a filter").iter().map(|one| one.name).collect()
    }

    #[test]
    fn a_filter_is_a_part_of_name_owner_or_state_or_a_pattern() {
        assert_eq!(chosen("/^pause.*time$/"), ["pause_time"]);
        assert_eq!(chosen("ConnTrol"), ["conntrol"]);
        assert!(chosen("ha_proxy").len() > 3);
        assert!(chosen("not supported").len() > 100);
        assert!(chosen("no such thing at all").is_empty());
        assert!(choose(Registry::new().describe(), "/(/").is_err());
    }

    #[test]
    fn no_line_below_the_facts_is_wider_than_a_terminal() {
        let table = table(&Registry::new().describe());
        assert!(table.lines().filter(|line| line.starts_with(INDENT)).all(|line| line.chars().count() <= WIDTH));
    }
}
