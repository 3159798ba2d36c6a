//! `dig`, `refresh domain`, `dns_cache`: what is known of names, and asking anew.
//!
//! Plans of mail hosts are kept by the resolver. What was asked here by `dns_cache submit` is kept beside, bounded, until its
//! time is over, for `dns_cache lookup`.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use console::{Command, CommandError, Reply, arguments};
use delivery::Selection;
use dns::{AskedRecord, DnsError, MxPlan, RecordKind};
use serde_json::json;

use super::completion::{Place, completed};
use super::{command, gateways};
use crate::house::House;

/// The family.
pub fn commands(house: &Rc<House>) -> Vec<Command> {
    let asked: Rc<Asked> = Rc::default();
    let (kept, submitted) = (asked.clone(), asked);
    let dig = command(house, "dig DOMAIN", "ask for the mail hosts of a domain anew", |house, asked| async move {
        let domain = domain_name(asked.only_arg()?)?;
        renew(&house, vec![domain.clone()]);
        let selection = Selection::domain(&domain);
        house.engine.refresh_routes(&selection).await;
        Ok(Reply::new("submitted\n", json!({ "submitted": domain })))
    })
    .help("The answer is shown by domain DOMAIN and dns_cache lookup DOMAIN MX once it is there.");
    let refresh =
        command(house, "refresh domain NAME|all", "have the hosts of queues found anew", |house, asked| async move {
            refresh(&house, arguments::domain_or_all(&asked.args)?).await
        })
        .help("Before their next connection. What is kept of the names is forgotten, and asked for now.");
    let lookup = command(house, "dns_cache lookup NAME TYPE", "what is kept of a name", move |house, asked| {
        let kept = kept.clone();
        async move {
            let (name, kind) = name_and_kind(&asked.args)?;
            Ok(lookup(&house, &kept, &name, kind))
        }
    })
    .help("TYPE is A, AAAA, MX, PTR, TXT or CNAME. MX shows the plan of mail hosts that deliveries use, too; other types what\nwas asked for by dns_cache submit.");
    let submit = command(house, "dns_cache submit NAME TYPE", "ask for records now", move |house, asked| {
        let submitted = submitted.clone();
        async move {
            let (name, kind) = name_and_kind(&asked.args)?;
            submit(&house, submitted, name.clone(), kind);
            Ok(Reply::new("Submitted\n", json!({ "submitted": name, "type": kind.to_string() })))
        }
    })
    .help("dns_cache lookup NAME TYPE shows the answer once it is there.");
    let stats = command(
        house,
        "dns_cache stats",
        "questions, answers and how often none was needed",
        |house, asked| async move {
            asked.no_args()?;
            Ok(stats(&house))
        },
    );
    vec![
        completed(house, dig, &[Place::Domain]),
        completed(house, refresh, &[Place::DomainOrAll]),
        completed(house, lookup, KIND_BEHIND_A_NAME),
        completed(house, submit, KIND_BEHIND_A_NAME),
        stats,
    ]
}

/// Answers to what was asked here, by name and type.
#[derive(Default)]
struct Asked(RefCell<HashMap<(String, RecordKind), Kept>>);

struct Kept {
    until: Instant,
    answer: Result<Vec<AskedRecord>, DnsError>,
}

impl Asked {
    fn keep(&self, key: (String, RecordKind), kept: Kept, now: Instant) {
        let mut all = self.0.borrow_mut();
        if ASKED_MAX <= all.len() {
            all.retain(|_, kept| now < kept.until);
        }
        if ASKED_MAX <= all.len() {
            let first = all.iter().min_by_key(|(_, kept)| kept.until).map(|(key, _)| key.clone());
            first.and_then(|first| all.remove(&first));
        }
        all.insert(key, kept);
    }
}

fn domain_name(text: &str) -> Result<String, CommandError> {
    let name = text.trim_end_matches('.').to_ascii_lowercase();
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-' || octet == b'_')
    };
    match name.len() <= 253 && name.split('.').all(is_label) {
        true => Ok(name),
        false => Err(CommandError::Usage(format!("'{text}' is no domain name"))),
    }
}

fn name_and_kind(args: &[String]) -> Result<(String, RecordKind), CommandError> {
    let (name, kind) = match args {
        [name, kind] => (name, kind),
        [] | [_] => return Err(CommandError::Usage("a name and a type belong here".to_owned())),
        [_, _, surplus, ..] => return Err(CommandError::Usage(format!("'{surplus}' is one argument too many"))),
    };
    let known = RecordKind::ALL.into_iter().find(|(word, _)| word.eq_ignore_ascii_case(kind));
    let (_, kind) = known.ok_or_else(|| {
        let words = RecordKind::ALL.map(|(word, _)| word).join(", ");
        CommandError::Usage(format!("'{kind}' is no type that can be asked for: {words}"))
    })?;
    let is_address = kind == RecordKind::Ptr && name.parse::<std::net::IpAddr>().is_ok();
    let name = if is_address { name.clone() } else { domain_name(name)? };
    Ok((name, kind))
}

/// Asks for plans anew, beside everything else, a few at once.
fn renew(house: &House, names: Vec<String>) {
    let resolver = house.resolver.clone();
    tokio::task::spawn_local(async move {
        for name in &names {
            resolver.refresh(name);
        }
        for name in names {
            // Kept for whoever asks next; nobody waits for it here.
            let _ = resolver.mx(&name).await;
        }
    });
}

async fn refresh(house: &House, domain: Option<String>) -> Result<Reply, CommandError> {
    let selection = Selection { binding: None, domain: domain.clone() };
    let (queues, names) = house.engine.refresh_routes(&selection).await;
    let what = domain.as_deref().unwrap_or("All domains");
    let gateway = domain.as_ref().and_then(|domain| {
        let gateways = gateways::of_domain(&house.configuration.current(), domain);
        gateways::sentence(&gateways)
    });
    let text = match queues {
        0 if gateway.is_some() => {
            format!("No queue is known for {what}: nothing was refreshed. {what} {}\n", gateway.unwrap_or_default())
        }
        0 => format!("No queue is known for {what}: nothing was refreshed; dig NAME asks for a domain without mail.\n"),
        queues => {
            format!("{what} refreshed. {queues} queues find their hosts anew; {} names are asked for.\n", names.len())
        }
    };
    let json = json!({ "domain": domain, "known": queues != 0, "queues": queues, "names": names.len() });
    renew(house, names);
    Ok(Reply::new(text, json))
}

fn submit(house: &House, asked: Rc<Asked>, name: String, kind: RecordKind) {
    let (resolver, clock) = (house.resolver.clone(), house.clock);
    tokio::task::spawn_local(async move {
        let answer = resolver.lookup(&name, kind).await;
        let shortest = answer.iter().flatten().map(|record| record.ttl).min();
        let ttl = Duration::from_secs(shortest.map_or(FAILURE_KEPT_SECONDS, u64::from));
        let now = clock.now();
        asked.keep((name, kind), Kept { until: now + ttl, answer }, now);
    });
}

fn lookup(house: &House, asked: &Asked, name: &str, kind: RecordKind) -> Reply {
    let now = house.clock.now();
    let all = asked.0.borrow();
    let kept = all.get(&(name.to_owned(), kind)).filter(|kept| now < kept.until);
    let plan = house.resolver.kept(name).filter(|_| kind == RecordKind::Mx);
    let (records, failure) = match (kept, plan) {
        (Some(kept), _) => match &kept.answer {
            Ok(records) => (records.clone(), None),
            Err(error) => (Vec::new(), Some(error.to_string())),
        },
        (None, Some(Ok(plan))) => (of_plan(name, &plan, now), None),
        (None, Some(Err(error))) => (Vec::new(), Some(error.to_string())),
        (None, None) => {
            let text = "Cached result not found, try a submit.\n";
            return Reply::new(text, json!({ "name": name, "type": kind.to_string(), "found": false }));
        }
    };
    let mut text = format!(";; QUESTION SECTION:\n;{name}.\t\tIN\t{kind}\n\n;; ANSWER SECTION:\n");
    for record in &records {
        text.push_str(&format!("{}\t{}\tIN\t{kind}\t{}\n", record.name, record.ttl, record.data));
    }
    if let Some(failure) = &failure {
        text.push_str(&format!(";; {failure}\n"));
    }
    let list: Vec<_> =
        records.iter().map(|record| json!({ "name": record.name, "ttl": record.ttl, "data": record.data })).collect();
    Reply::new(
        text,
        json!({ "name": name, "type": kind.to_string(), "found": true, "records": list, "error": failure }),
    )
}

/// The hosts of a plan as MX records; an implicit one is the domain itself.
fn of_plan(name: &str, plan: &MxPlan, now: Instant) -> Vec<AskedRecord> {
    let ttl = u32::try_from(plan.expires.saturating_duration_since(now).as_secs()).unwrap_or(u32::MAX);
    let record = |host: &dns::MxHost| {
        let addresses: Vec<String> = host.addresses.iter().map(ToString::to_string).collect();
        let implicit = if plan.implicit { " (implicit)" } else { "" };
        AskedRecord {
            name: format!("{name}."),
            ttl,
            data: format!("{} {}.{implicit} ; {}", host.preference, host.name, addresses.join(" ")),
        }
    };
    plan.hosts.iter().map(record).collect()
}

fn stats(house: &House) -> Reply {
    let get = |name: &str| house.meters.get(&format!("dns.{name}"));
    let cache = house.resolver.stats();
    let lookups = cache.hits + cache.misses + cache.joined;
    let rate = if lookups == 0 { 0.0 } else { 100.0 * (cache.hits + cache.joined) as f64 / lookups as f64 };
    let timeouts: u64 = ["mx", "a", "aaaa", "other"].iter().map(|kind| get(&format!("timeouts.{kind}"))).sum();
    let text = format!(
        "DNS Queries:\n\tMX: {}\n\tA: {}\n\tAAAA: {}\n\tOther: {}\nDNS responses:\n\tTotal: {}\n\tBad: {}\n\tTimeouts: {timeouts}\n\
         DNS cache:\n\tEntries: {}\n\tLookups: {lookups}\n\tHit Rate: {rate:.2}%\n",
        get("queries.mx"),
        get("queries.a"),
        get("queries.aaaa"),
        get("queries.other"),
        get("answers"),
        get("failures"),
        cache.plans,
    );
    let json = json!({
        "queries": {
            "mx": get("queries.mx"), "a": get("queries.a"), "aaaa": get("queries.aaaa"), "other": get("queries.other"),
        },
        "responses": { "total": get("answers"), "bad": get("failures"), "timeouts": timeouts },
        "cache": { "entries": cache.plans, "lookups": lookups, "hit_rate_percent": rate },
    });
    Reply::new(text, json)
}

/// Answers kept at most.
const ASKED_MAX: usize = 1000;
/// How long it is shown that there was none.
const FAILURE_KEPT_SECONDS: u64 = 60;
const KIND_BEHIND_A_NAME: &[Place] = &[Place::Domain, Place::Words(&["A", "AAAA", "MX", "PTR", "TXT", "CNAME"])];

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn a_question_is_a_name_and_a_known_type() {
        assert_eq!(name_and_kind(&words("Shop.Example. mx")), Ok(("shop.example".to_owned(), RecordKind::Mx)));
        assert_eq!(name_and_kind(&words("2001:db8::1 PTR")), Ok(("2001:db8::1".to_owned(), RecordKind::Ptr)));
        for (line, said) in [
            ("shop.example", "a name and a type"),
            ("shop.example X", "'X' is no type that can be asked for: A, AAAA"),
            ("shop..example A", "'shop..example' is no domain name"),
            ("a b c", "'c' is one argument too many"),
        ] {
            let refused = name_and_kind(&words(line));
            assert!(matches!(&refused, Err(CommandError::Usage(why)) if why.contains(said)), "{line}: {refused:?}");
        }
    }
}
