//! Jobs whose panic stays with what they work on.
//!
//! Work over octets from strangers (reading MIME, converting content) may meet a defect that one message calls up. If the process
//! ended there, it would meet the same message again after each start. Such a job is marked: its panic unwinds and becomes its
//! result. Whoever decides what a panic does to the process asks [`is_contained`] on the thread that panics. A panic anywhere else
//! is not for this file.

use std::cell::Cell;

thread_local! {
    static CONTAINED: Cell<bool> = const { Cell::new(false) };
}

/// Whether the current thread does marked work, so that a panic is to unwind.
pub fn is_contained() -> bool {
    CONTAINED.get()
}

/// Does marked work. The mark ends with it, also by a panic.
pub(crate) fn contain<T>(work: impl FnOnce() -> T) -> T {
    let _mark = Mark(CONTAINED.replace(true));
    work()
}

struct Mark(bool);

impl Drop for Mark {
    fn drop(&mut self) {
        CONTAINED.set(self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::*;

    #[test]
    fn the_mark_ends_with_the_work_and_with_its_panic() {
        assert!(!is_contained());
        assert!(contain(is_contained));
        assert!(!is_contained());
        assert!(catch_unwind(|| contain(|| panic!("as a defect would"))).is_err());
        assert!(!is_contained());
        contain(|| {
            contain(|| ());
            assert!(is_contained());
        });
    }
}
