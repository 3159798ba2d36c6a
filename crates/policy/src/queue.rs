//! A queue as policy sees it: what C calls `domain_record`, and Lua `dr`. Read only.

/// The queue of a binding and a routing domain.
pub trait DomainRecord {
    /// The routing domain.
    fn domain(&self) -> &str;

    /// The binding.
    fn binding(&self) -> &str;

    /// Its binding group.
    fn binding_group(&self) -> &str;

    /// One of its counters.
    fn count(&self, count: Count) -> u64;

    /// What an option is for this queue, as `config show` prints it; `None` if there is no such option.
    fn setting(&self, option: &str) -> Option<String>;
}

/// A counter of a queue. Closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Count {
    /// Messages that are due.
    Active,
    /// Messages that wait for their next attempt.
    Delayed,
    /// Messages that are being attempted.
    InFlight,
    /// Connections open.
    Connections,
    /// Messages received for it since the start.
    Received,
    /// Messages delivered.
    Delivered,
    /// Attempts that failed for now.
    Transient,
    /// Messages that failed for good.
    Permanent,
}
