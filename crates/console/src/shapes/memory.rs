//! `memory`: what the process holds, by type, what the kernel says it holds, and where its marks are.
//!
//! The three parts that are documented come first, then what they do not have: the marks and what they led to.

use serde_json::{Value, json};

use super::{Shape, line, percent};

/// The numbers of `memory`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryReport {
    /// Types whose objects all have one size.
    pub fixed: Vec<FixedType>,
    /// Types whose objects have any size.
    pub variable: Vec<VariableType>,
    /// What the process's own accounts add up to: what the marks are compared with.
    pub accounted_bytes: u64,
    /// Resident set as the kernel counts it.
    pub system_rss_bytes: u64,
    /// Resident anonymous memory that is on no account.
    pub unaccounted_bytes: u64,
    /// Memory the process may have; the percentages are shares of it.
    pub whole_bytes: u64,
    /// `memory_goal`.
    pub goal_bytes: u64,
    /// `memory_hwm`.
    pub high_water_bytes: u64,
    /// Which of them is exceeded.
    pub exceeded: Exceeded,
    /// Bodies that have left memory because it was short.
    pub bodies_dropped: u64,
    /// What the allocator tells, if it does.
    pub allocator: Option<AllocatorReport>,
}

/// What the allocator counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AllocatorReport {
    /// Asked for and not given back.
    pub allocated_bytes: u64,
    /// Pages that this lies in.
    pub active_bytes: u64,
    /// Those, and pages that will be given back.
    pub resident_bytes: u64,
    /// Addresses without memory.
    pub retained_bytes: u64,
}

impl AllocatorReport {
    fn figures(&self) -> [(&'static str, u64); 4] {
        [
            ("allocated", self.allocated_bytes),
            ("active", self.active_bytes),
            ("resident", self.resident_bytes),
            ("retained", self.retained_bytes),
        ]
    }
}

/// The mark that is exceeded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Exceeded {
    /// Neither.
    #[default]
    Nothing,
    /// `memory_goal`.
    Goal,
    /// `memory_hwm`, and with it `memory_goal`.
    HighWater,
}

impl Exceeded {
    fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "none",
            Self::Goal => "memory_goal",
            Self::HighWater => "memory_hwm",
        }
    }
}

/// Objects of one size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FixedType {
    /// Name of the type.
    pub name: String,
    /// Bytes of one object.
    pub object_bytes: u64,
    /// Objects in use.
    pub active: u64,
    /// The most that were in use at once.
    pub peak: u64,
    /// Objects memory is held for.
    pub allocated: u64,
}

/// Objects of any size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VariableType {
    /// Name of the type.
    pub name: String,
    /// Bytes in use.
    pub current_bytes: u64,
    /// The most that were in use at once, if that is kept.
    pub peak_bytes: Option<u64>,
    /// Mapped regions.
    pub mmap_count: u64,
}

impl Shape for MemoryReport {
    fn text(&self) -> String {
        let mut text = String::new();
        let heads = ["memory type", "buf size", "active objects", "peak objects", "allocd objects", "current bytes"];
        line!(text, "{:<24}{:>10}{:>16}{:>16}{:>16}{:>16}", heads[0], heads[1], heads[2], heads[3], heads[4], heads[5]);
        for of_type in &self.fixed {
            let FixedType { name, object_bytes, active, peak, allocated } = of_type;
            let bytes = of_type.current_bytes();
            line!(text, "{name:<24}{object_bytes:>10}{active:>16}{peak:>16}{allocated:>16}{bytes:>16}");
        }
        line!(text, "");
        line!(text, "{:<24}{:>16}{:>16}{:>12}", "type", "current bytes", "peak bytes", "mmap count");
        for VariableType { name, current_bytes, peak_bytes, mmap_count } in &self.variable {
            let peak_bytes = peak_bytes.map_or_else(|| "-".to_owned(), |bytes| bytes.to_string());
            line!(text, "{name:<24}{current_bytes:>16}{peak_bytes:>16}{mmap_count:>12}");
        }
        line!(text, "");
        for (label, bytes) in [
            ("RSS", self.accounted_bytes),
            ("System RSS", self.system_rss_bytes),
            ("Unaccounted", self.unaccounted_bytes),
            ("Goal", self.goal_bytes),
            ("High-water mark", self.high_water_bytes),
        ] {
            let share = percent(bytes as f64, self.whole_bytes as f64);
            line!(text, "{label}: {bytes}  {}  {share:.2}%", grouped(bytes));
        }
        line!(text, "Exceeded: {}", self.exceeded.as_str());
        line!(text, "Bodies dropped: {}", self.bodies_dropped);
        for (name, bytes) in self.allocator.iter().flat_map(AllocatorReport::figures) {
            line!(text, "Allocator {name}: {bytes}  {}", grouped(bytes));
        }
        text
    }

    fn json(&self) -> Value {
        let fixed = |of_type: &FixedType| {
            json!({
                "type": of_type.name,
                "buf_size": of_type.object_bytes,
                "active_objects": of_type.active,
                "peak_objects": of_type.peak,
                "allocd_objects": of_type.allocated,
                "current_bytes": of_type.current_bytes(),
            })
        };
        let variable = |of_type: &VariableType| {
            json!({
                "type": of_type.name,
                "current_bytes": of_type.current_bytes,
                "peak_bytes": of_type.peak_bytes,
                "mmap_count": of_type.mmap_count,
            })
        };
        json!({
            "fixed": self.fixed.iter().map(fixed).collect::<Value>(),
            "variable": self.variable.iter().map(variable).collect::<Value>(),
            "rss": self.accounted_bytes,
            "system_rss": self.system_rss_bytes,
            "unaccounted": self.unaccounted_bytes,
            "whole": self.whole_bytes,
            "goal": self.goal_bytes,
            "hwm": self.high_water_bytes,
            "exceeded": self.exceeded.as_str(),
            "bodies_dropped": self.bodies_dropped,
            "allocator": self.allocator.map(|allocator| allocator.figures().into_iter().collect::<Value>()),
        })
    }
}

impl FixedType {
    /// Bytes memory is held for.
    pub fn current_bytes(&self) -> u64 {
        self.object_bytes.saturating_mul(self.allocated)
    }
}

/// Digits in groups of three.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if 0 < at && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_has_fixed_types_variable_types_and_the_resident_set() {
        let report = MemoryReport {
            fixed: vec![FixedType { name: "message".into(), object_bytes: 184, active: 20, peak: 31, allocated: 32 }],
            variable: vec![VariableType {
                name: "body".into(),
                current_bytes: 81_920,
                peak_bytes: Some(99_000),
                mmap_count: 2,
            }],
            accounted_bytes: 7_340_032,
            system_rss_bytes: 14_680_064,
            unaccounted_bytes: 1_468_007,
            whole_bytes: 1_468_006_400,
            goal_bytes: 1_321_205_760,
            high_water_bytes: 1_394_606_080,
            exceeded: Exceeded::Goal,
            bodies_dropped: 7,
            allocator: Some(AllocatorReport {
                allocated_bytes: 8_000_000,
                active_bytes: 8_500_000,
                resident_bytes: 9_000_000,
                retained_bytes: 1000,
            }),
        };
        let golden = "\
memory type               buf size  active objects    peak objects  allocd objects   current bytes
message                        184              20              31              32            5888

type                       current bytes      peak bytes  mmap count
body                               81920           99000           2

RSS: 7340032  7,340,032  0.50%
System RSS: 14680064  14,680,064  1.00%
Unaccounted: 1468007  1,468,007  0.10%
Goal: 1321205760  1,321,205,760  90.00%
High-water mark: 1394606080  1,394,606,080  95.00%
Exceeded: memory_goal
Bodies dropped: 7
Allocator allocated: 8000000  8,000,000
Allocator active: 8500000  8,500,000
Allocator resident: 9000000  9,000,000
Allocator retained: 1000  1,000
";
        assert_eq!(report.text(), golden);
        assert_eq!(report.json()["fixed"][0]["current_bytes"], 5888);
        assert_eq!((&report.json()["exceeded"], &report.json()["bodies_dropped"]), (&json!("memory_goal"), &json!(7)));
        assert_eq!(report.json()["allocator"]["active"], 8_500_000);
        let unknown = VariableType { name: "index".into(), current_bytes: 7, ..VariableType::default() };
        let report = MemoryReport { variable: vec![unknown], ..MemoryReport::default() };
        let line = format!("{:<24}{:>16}{:>16}{:>12}\n", "index", 7, "-", 0);
        assert!(report.text().contains(&line), "{}", report.text());
    }

    #[test]
    fn digits_are_grouped_by_three() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}
