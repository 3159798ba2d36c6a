//! `metrics`: every counter in the text exposition format that Prometheus and OpenTelemetry collectors read.
//!
//! Each has the kind, the labels and the sentence of its declaration ([`Measure`]). `room.thing.event` becomes
//! `postrider_room_thing_event`, with `_total` behind what only grows; what stands for a `*` of the declared name becomes a
//! label, and a distribution a histogram. One that nobody has declared is `untyped`, and a test keeps there from being any.

use std::collections::BTreeMap;

use scheduler::{Kind, Measure};
use serde_json::Value;

use super::{Shape, line};

/// The counters, in name order, each name with its value, and what they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exposition {
    /// Names as the registry has them, with values.
    pub counters: Vec<(String, u64)>,
    /// What is known of them.
    pub measures: Vec<&'static Measure>,
}

/// One name of the exposition, with everything that has it.
#[derive(Default)]
struct Family {
    kind: &'static str,
    meaning: &'static str,
    unit: &'static str,
    /// Suffix, labels and value.
    samples: Vec<(&'static str, String, u64)>,
}

impl Exposition {
    fn families(&self) -> BTreeMap<String, Family> {
        let values: BTreeMap<&str, u64> = self.counters.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        let mut families: BTreeMap<String, Family> = BTreeMap::new();
        let mut distributions: BTreeMap<(String, String), Vec<(u64, u64)>> = BTreeMap::new();
        for (name, value) in &self.counters {
            let found = self.measures.iter().find_map(|measure| Some((*measure, measure.values(name)?)));
            let Some((measure, own)) = found else {
                let family = families.entry(exposed(name)).or_default();
                (family.kind, family.meaning) = ("untyped", "Nothing is known of it.");
                family.samples.push(("", String::new(), *value));
                continue;
            };
            let exposed = family_of(measure);
            let family = families.entry(exposed.clone()).or_default();
            (family.kind, family.meaning, family.unit) = (kind(measure.kind), measure.meaning, measure.unit);
            let Kind::Distribution { sum, count } = measure.kind else {
                let labels: Vec<String> =
                    measure.labels.iter().zip(&own).map(|(label, own)| labelled(label, own)).collect();
                family.samples.push(("", labels.join(","), *value));
                continue;
            };
            let (bound, others) = own.split_last().map_or(("", &own[..]), |(bound, others)| (*bound, others));
            let labels: Vec<String> =
                measure.labels.iter().zip(others).map(|(label, own)| labelled(label, own)).collect();
            let bounds = distributions.entry((exposed, labels.join(","))).or_default();
            let total = |pattern| values.get(Measure::filled(pattern, others).as_str()).copied().unwrap_or_default();
            if bounds.is_empty() {
                family.samples.push(("_sum", labels.join(","), total(sum)));
                family.samples.push(("_count", labels.join(","), total(count)));
            }
            bounds.extend(bound.parse::<u64>().map(|bound| (bound, *value)));
        }
        for ((name, labels), mut bounds) in distributions {
            let Some(family) = families.get_mut(&name) else { continue };
            bounds.sort_unstable();
            let all = family.samples.iter().find(|(suffix, own, _)| *suffix == "_count" && *own == labels);
            let all = all.map_or(0, |(.., all)| *all);
            let comma = if labels.is_empty() { "" } else { "," };
            // What was counted while this is read is in the later numbers: a histogram never falls.
            let mut least = 0;
            let mut buckets: Vec<_> = bounds
                .into_iter()
                .map(|(bound, value)| {
                    least = least.max(value);
                    ("_bucket", format!("{labels}{comma}le=\"{bound}\""), least)
                })
                .collect();
            let all = all.max(least);
            buckets.push(("_bucket", format!("{labels}{comma}le=\"+Inf\""), all));
            for sample in &mut family.samples {
                if sample.0 == "_count" && sample.1 == labels {
                    sample.2 = all;
                }
            }
            buckets.append(&mut family.samples);
            family.samples = buckets;
        }
        families
    }
}

impl Shape for Exposition {
    fn text(&self) -> String {
        let mut text = String::new();
        for (name, family) in self.families() {
            let unit = if family.unit.is_empty() { String::new() } else { format!(" ({})", family.unit) };
            line!(text, "# HELP {name} {}{unit}", family.meaning.replace('\\', "\\\\").replace('\n', "\\n"));
            line!(text, "# TYPE {name} {}", family.kind);
            for (suffix, labels, value) in family.samples {
                match labels.is_empty() {
                    true => line!(text, "{name}{suffix} {value}"),
                    false => line!(text, "{name}{suffix}{{{labels}}} {value}"),
                }
            }
        }
        text
    }

    fn json(&self) -> Value {
        self.counters.iter().cloned().collect()
    }
}

/// What a measure is called outside: its name without what the labels say.
pub fn family_of(measure: &Measure) -> String {
    let name = measure.name.split('{').next().unwrap_or_default();
    let name: Vec<&str> = name.split('.').filter(|part| *part != "*").collect();
    let (name, suffix) = (name.join("."), if measure.kind == Kind::Counter { "_total" } else { "" });
    match measure.kind {
        // The bound is a label.
        Kind::Distribution { .. } => exposed(name.trim_end_matches("_up_to")),
        _ => exposed(&name) + suffix,
    }
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Distribution { .. } => "histogram",
    }
}

fn exposed(name: &str) -> String {
    let legal = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' };
    format!("postrider_{}", name.chars().map(legal).collect::<String>())
}

/// A label with its value as the format wants it: backslash, quote and line end escaped.
fn labelled(label: &str, value: &str) -> String {
    format!("{label}=\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    static MEASURES: [Measure; 4] = [
        Measure::counter("delivery.messages", "messages", "Taken."),
        Measure::gauge("queue.*.depth{*}", "messages", "Waiting.").by(&["binding", "domain"]),
        Measure::distribution("spool.*.took_up_to{*}", "microseconds", ("spool.*.took", "spool.*.done"), "Commits.")
            .by(&["store", "le"]),
        Measure::counter("spool.*.done", "commits", "Done.").by(&["store"]),
    ];

    #[test]
    fn names_labels_and_kinds_are_what_a_collector_reads() {
        let counters = [
            ("delivery.messages", 3),
            ("queue.b 1.depth{a\"b.test}", 4),
            ("queue.c.depth{d}", 5),
            ("spool.j.done", 7),
            ("spool.j.took", 900),
            ("spool.j.took_up_to{1000}", 6),
            ("spool.j.took_up_to{250}", 2),
        ];
        let counters = counters.map(|(name, value)| (name.to_owned(), value)).to_vec();
        let expected = "# HELP postrider_delivery_messages_total Taken. (messages)\n\
                        # TYPE postrider_delivery_messages_total counter\n\
                        postrider_delivery_messages_total 3\n\
                        # HELP postrider_queue_depth Waiting. (messages)\n\
                        # TYPE postrider_queue_depth gauge\n\
                        postrider_queue_depth{binding=\"b 1\",domain=\"a\\\"b.test\"} 4\n\
                        postrider_queue_depth{binding=\"c\",domain=\"d\"} 5\n\
                        # HELP postrider_spool_done_total Done. (commits)\n\
                        # TYPE postrider_spool_done_total counter\n\
                        postrider_spool_done_total{store=\"j\"} 7\n\
                        # HELP postrider_spool_j_took Nothing is known of it.\n\
                        # TYPE postrider_spool_j_took untyped\n\
                        postrider_spool_j_took 900\n\
                        # HELP postrider_spool_took Commits. (microseconds)\n\
                        # TYPE postrider_spool_took histogram\n\
                        postrider_spool_took_bucket{store=\"j\",le=\"250\"} 2\n\
                        postrider_spool_took_bucket{store=\"j\",le=\"1000\"} 6\n\
                        postrider_spool_took_bucket{store=\"j\",le=\"+Inf\"} 7\n\
                        postrider_spool_took_sum{store=\"j\"} 900\n\
                        postrider_spool_took_count{store=\"j\"} 7\n";
        let told = Exposition { counters, measures: MEASURES.iter().collect() }.text();
        assert_eq!(told, expected);
    }
}
