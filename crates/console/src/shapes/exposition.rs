//! `metrics`: every counter in the text exposition format that Prometheus and OpenTelemetry collectors read.
//!
//! A counter `room.thing.event` becomes `postrider_room_thing_event`; the label in braces at the end of a name becomes the
//! label `of`. Everything is exposed as `untyped`, because a name alone does not tell a count from a measured value.

use serde_json::Value;

use super::{Shape, line};

/// The counters, in name order, each name with its value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exposition {
    /// Names as the registry has them, with values.
    pub counters: Vec<(String, u64)>,
}

impl Shape for Exposition {
    fn text(&self) -> String {
        let (mut text, mut family) = (String::new(), String::new());
        for (name, value) in &self.counters {
            let (name, label) = split(name);
            let exposed = exposed(name);
            if exposed != family {
                line!(text, "# TYPE {exposed} untyped");
                family.clone_from(&exposed);
            }
            match label {
                Some(label) => line!(text, "{exposed}{{of=\"{}\"}} {value}", escaped(label)),
                None => line!(text, "{exposed} {value}"),
            }
        }
        text
    }

    fn json(&self) -> Value {
        self.counters.iter().cloned().collect()
    }
}

/// `name{label}` in its two parts.
fn split(name: &str) -> (&str, Option<&str>) {
    match name.strip_suffix('}').and_then(|rest| rest.split_once('{')) {
        Some((name, label)) => (name, Some(label)),
        None => (name, None),
    }
}

fn exposed(name: &str) -> String {
    let legal = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' };
    format!("postrider_{}", name.chars().map(legal).collect::<String>())
}

/// A label value as the format wants it: backslash, quote and line end escaped.
fn escaped(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_labels_are_what_a_collector_reads() {
        let counters = [("delivery.messages", 3), ("queue.left{b 1/a\"b.test}", 4), ("queue.left{c}", 5)];
        let counters = counters.map(|(name, value)| (name.to_owned(), value)).to_vec();
        let expected = "# TYPE postrider_delivery_messages untyped\n\
                        postrider_delivery_messages 3\n\
                        # TYPE postrider_queue_left untyped\n\
                        postrider_queue_left{of=\"b 1/a\\\"b.test\"} 4\n\
                        postrider_queue_left{of=\"c\"} 5\n";
        assert_eq!(Exposition { counters }.text(), expected);
    }
}
