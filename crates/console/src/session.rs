//! What commands keep for the length of one control connection, such as an open transaction.
//!
//! Each kind of value has one place, found by its type and made empty when it is first asked for. Everything is dropped
//! when the connection ends. Lives on the master scheduler.

use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;

/// The state of one control connection; clones share it.
#[derive(Clone, Default)]
pub struct SessionState(Rc<RefCell<HashMap<TypeId, Rc<dyn Any>>>>);

impl SessionState {
    /// The value of a type, its default when the connection has none yet.
    pub fn get<T: Default + 'static>(&self) -> Rc<T> {
        let mut places = self.0.borrow_mut();
        let place = places.entry(TypeId::of::<T>()).or_insert_with(|| Rc::new(T::default()));
        // A place holds what its key says; another would be a defect of this function.
        Rc::clone(place).downcast().unwrap_or_else(|_| unreachable!("kept under its own type"))
    }
}

impl fmt::Debug for SessionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionState({} values)", self.0.borrow().len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn a_value_is_kept_by_its_type_until_the_last_clone_goes() {
        let state = SessionState::default();
        state.clone().get::<Cell<u32>>().set(7);
        assert_eq!((state.get::<Cell<u32>>().get(), state.get::<Cell<u64>>().get()), (7, 0));
        let kept = Rc::downgrade(&state.get::<Cell<u32>>());
        drop(state);
        assert!(kept.upgrade().is_none());
    }
}
