//! The documented hooks that nothing calls yet, each with what it waits for: `awaited.tsv`, part of the program.
//!
//! A provider of one is refused, for it would never run. `crates/declarations/tests/hooks.rs` holds the file and the
//! declarations to the reference.

/// One row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Awaited {
    /// `scope_name`.
    pub title: &'static str,
    /// `A` or `B`.
    pub tier: &'static str,
    /// What has to be built before it can be called.
    pub room: &'static str,
    /// Its C prototype.
    pub prototype: &'static str,
}

/// The data file.
pub const AWAITED_TEXT: &str = include_str!("awaited.tsv");

/// Every row, in name order.
pub fn awaited() -> impl Iterator<Item = Awaited> {
    AWAITED_TEXT.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let mut fields = line.split('\t');
        Some(Awaited { title: fields.next()?, tier: fields.next()?, room: fields.next()?, prototype: fields.next()? })
    })
}
