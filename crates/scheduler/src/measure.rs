//! What a meter counts, declared as an option is: a constant beside its use, which the console's `metrics` and the manual read.
//!
//! A name is that of a counter in the registry, with a `*` for each part that is only known at run time: the name of a loop,
//! what stands in the braces. Each `*` is a label of the exposition. Pure.

/// What a number does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It grows from the start of the process on; what counts is how fast.
    Counter,
    /// It was measured, and may be less the next time.
    Gauge,
    /// Occurrences up to each bound, which the last label names; with the counters of their sum and of all of them.
    Distribution {
        /// The counter of what was measured, added up.
        sum: &'static str,
        /// The counter of occurrences.
        count: &'static str,
    },
}

/// One meter, or one for each value of its labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measure {
    /// The name in the registry.
    pub name: &'static str,
    /// What the number does.
    pub kind: Kind,
    /// What it is a number of.
    pub unit: &'static str,
    /// What each `*` of the name stands for.
    pub labels: &'static [&'static str],
    /// What is counted, and when.
    pub meaning: &'static str,
}

impl Measure {
    /// Something that is counted.
    pub const fn counter(name: &'static str, unit: &'static str, meaning: &'static str) -> Self {
        Self { name, kind: Kind::Counter, unit, labels: &[], meaning }
    }

    /// Something that is measured.
    pub const fn gauge(name: &'static str, unit: &'static str, meaning: &'static str) -> Self {
        Self { name, kind: Kind::Gauge, unit, labels: &[], meaning }
    }

    /// Occurrences by size. `sum` and `count` are names of counters with the same labels but the last.
    pub const fn distribution(
        name: &'static str,
        unit: &'static str,
        (sum, count): (&'static str, &'static str),
        meaning: &'static str,
    ) -> Self {
        Self { name, kind: Kind::Distribution { sum, count }, unit, labels: &[], meaning }
    }

    /// Names what each `*` stands for.
    pub const fn by(self, labels: &'static [&'static str]) -> Self {
        Self { labels, ..self }
    }

    /// What stands in a name of the registry for each `*`, if the name is one of this measure's.
    pub fn values<'n>(&self, name: &'n str) -> Option<Vec<&'n str>> {
        let mut parts = self.name.split('*');
        let mut rest = name.strip_prefix(parts.next()?)?;
        let mut values = Vec::new();
        let mut parts = parts.peekable();
        while let Some(part) = parts.next() {
            let at = if parts.peek().is_none() { rest.len().checked_sub(part.len())? } else { rest.find(part)? };
            let (value, behind) = (rest.get(..at)?, rest.get(at..)?);
            values.push(value);
            rest = behind.strip_prefix(part)?;
        }
        (rest.is_empty() && values.iter().all(|value| !value.is_empty())).then_some(values)
    }

    /// The name with these values in the place of each `*` of `pattern`.
    pub fn filled(pattern: &str, values: &[&str]) -> String {
        let mut values = values.iter();
        let mut name = String::new();
        for (place, part) in pattern.split('*').enumerate() {
            if place != 0 {
                name.push_str(values.next().unwrap_or(&"*"));
            }
            name.push_str(part);
        }
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_again_with_what_it_stands_for() {
        let values = |pattern, name| Measure::counter(pattern, "", "").values(name).map(|values| values.join(" & "));
        assert_eq!(values("a.b", "a.b").as_deref(), Some(""));
        assert_eq!(values("a.b", "a.b.c"), None);
        assert_eq!(values("loop.*.left", "loop.default/0.left").as_deref(), Some("default/0"));
        assert_eq!(values("loop.*.left", "loop..left"), None);
        assert_eq!(values("loop.*.left", "loop.left"), None);
        assert_eq!(values("loop.*.left", "loop.a.b.left").as_deref(), Some("a.b"));
        assert_eq!(values("lost{*}", "lost{/var/log/a{b}}").as_deref(), Some("/var/log/a{b}"));
        assert_eq!(values("spool.*.up_to{*}", "spool.journal.up_to{250}").as_deref(), Some("journal & 250"));
        assert_eq!(Measure::filled("spool.*.up_to{*}", &["journal", "250"]), "spool.journal.up_to{250}");
    }
}
