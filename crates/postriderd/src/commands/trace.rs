//! `trace smtp add|list|remove`: dialogues with hosts, recorded in files.

use std::rc::Rc;

use config::Lookup;
use console::{Command, CommandError, Reply};
use declarations::daemon::TRACE_SMTP_MODE;
use delivery::{Selection, Tracer};
use serde_json::json;

use super::completion::{Place, completed};
use super::{command, gateways, known_binding};
use crate::house::House;

/// The family.
pub fn commands(house: &Rc<House>) -> Vec<Command> {
    let add = command(
        house,
        "trace smtp add BINDING|* DOMAIN|* FILE",
        "record the dialogues with hosts in a file",
        |house, asked| async move { add(&house, &asked.args).await },
    )
    .help(
        "FILE is an absolute path of a file that is not there yet; its mode is trace_smtp_mode. Connections that open from now on\n\
         are recorded until trace smtp remove; the octets of messages are counted and not written.",
    );
    let list = command(house, "trace smtp list", "who records dialogues", |house, asked| async move {
        asked.no_args()?;
        let tracers = house.engine.tracers().list();
        let text: String = tracers.iter().map(line).collect();
        Ok(Reply::new(text, json!({ "tracers": tracers.iter().map(shown).collect::<Vec<_>>() })))
    });
    let remove = command(house, "trace smtp remove ID", "stop recording", |house, asked| async move {
        let word = asked.only_arg()?.trim_start_matches('#').to_owned();
        let id: u64 =
            word.parse().map_err(|_| CommandError::Usage(format!("'{word}' is not the number of a tracer")))?;
        match house.engine.tracers().remove(id) {
            true => Ok(Reply::new(format!("Removed smtp tracer #{id}\n"), json!({ "removed": id }))),
            false => Err(CommandError::Failed(format!(
                "there is no smtp tracer #{id}; trace smtp list shows those there are"
            ))),
        }
    });
    vec![completed(house, add, &[Place::Binding, Place::Domain]), list, remove]
}

async fn add(house: &House, args: &[String]) -> Result<Reply, CommandError> {
    let [binding, domain, path] = args else {
        return Err(CommandError::Usage("a binding or *, a domain or *, and a file belong here".to_owned()));
    };
    let named = |word: &String| Some(word.clone()).filter(|word| word != "*");
    let of = Selection { binding: named(binding), domain: named(domain).map(|domain| domain.to_lowercase()) };
    if let Some(binding) = &of.binding {
        known_binding(house, binding).await?;
    }
    if !path.starts_with('/') {
        return Err(CommandError::Usage(format!("'{path}' is no absolute path")));
    }
    let mode = house.configuration.current().get(&TRACE_SMTP_MODE, &Lookup::Global).0;
    let (writer, file) = (house.log_writer.clone(), path.clone());
    let open = move || {
        // Whoever may ask the console must not have lines added to just any file.
        if rustix::fs::lstat(&file).is_ok() {
            return Err(format!("{file} is there already and is left alone: name a new file"));
        }
        writer.open(&file, mode).map_err(|error| format!("cannot open {file}: {error}"))
    };
    let opened = house.pools.get("IO").run(open).await.map_err(CommandError::failed)?;
    let file = opened.map_err(CommandError::Failed)?;
    let recorded = of.domain.clone();
    let id = house.engine.tracers().add(of, file).ok_or_else(|| {
        CommandError::Failed("there are as many smtp tracers as there may be: remove one first".to_owned())
    })?;
    let mut text = format!("Registered smtp tracer #{id}\n");
    let mut json = json!({ "registered": id, "file": path });
    // Dialogues are told by the queue whose mail they carry.
    let current = house.configuration.current();
    let gateways = recorded.as_ref().map_or_else(Vec::new, |domain| gateways::of_domain(&current, domain));
    if let (Some(domain), Some(sentence)) = (recorded, gateways::sentence(&gateways)) {
        text.push_str(&format!("Nothing of {domain} is recorded where it {sentence}: trace that name instead.\n"));
        json["gateways"] =
            gateways.into_iter().map(|(binding, name)| json!({ "binding": binding, "gateway": name })).collect();
    }
    Ok(Reply::new(text, json))
}

fn line(tracer: &Tracer) -> String {
    let any = |name: &Option<String>| name.clone().unwrap_or_else(|| "*".to_owned());
    let Tracer { id, of, file, .. } = tracer;
    format!(
        "[{id:>6}]  binding: {}\n          domain: {}\n          file: {}\n",
        any(&of.binding),
        any(&of.domain),
        file.path()
    )
}

fn shown(tracer: &Tracer) -> serde_json::Value {
    json!({ "id": tracer.id, "binding": tracer.of.binding, "domain": tracer.of.domain, "file": tracer.file.path() })
}
