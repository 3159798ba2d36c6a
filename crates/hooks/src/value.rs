//! What a provider in another language is handed: the arguments of a call as values, in the order of the C prototype.
//!
//! Values borrow from what exists at the point of the call; nothing is copied to make one. The objects of policy
//! (message, session, …) come through as an [`Object`]: this crate knows their kind and nothing else of them, and the
//! crate that has their accessors asks for the parts they are views of.

use std::any::{Any, TypeId};
use std::time::Duration;

/// What an argument is. One for each parameter of the C prototype but the closure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `ec_message *`: a message.
    Message,
    /// `accept_construct *`: a session.
    Session,
    /// `validate_context *`: policy's variables and verdict.
    ValidationContext,
    /// `domain_record *`: the queues of a domain.
    DomainRecord,
    /// `delivery_construct *`, `connection_handle *`: a delivery attempt.
    Attempt,
    /// `list_node *`: the recipients of a transaction.
    Recipients,
    /// `ec_accounting_record *`: who was let in, or was not.
    Accounting,
    /// `ec_config_header *`: a configuration generation.
    Generation,
    /// `command_construct *`: a line of the console.
    Command,
    /// Octets to read, mostly text.
    Text,
    /// A text that the provider may write.
    TextPlace,
    /// A number.
    Number,
    /// A number that the provider may write.
    NumberPlace,
    /// A time, since 1970.
    Time,
    /// A time that the provider may write.
    TimePlace,
    /// What only the modules know that agreed on it; always absent in a call by the daemon.
    Other,
}

impl Kind {
    /// In one word or two, for listings.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Message => "message",
            Kind::Session => "session",
            Kind::ValidationContext => "validation context",
            Kind::DomainRecord => "domain record",
            Kind::Attempt => "delivery attempt",
            Kind::Recipients => "recipients",
            Kind::Accounting => "accounting record",
            Kind::Generation => "generation",
            Kind::Command => "console command",
            Kind::Text => "text",
            Kind::TextPlace => "text to write",
            Kind::Number => "number",
            Kind::NumberPlace => "number to write",
            Kind::Time => "time",
            Kind::TimePlace => "time to write",
            Kind::Other => "other",
        }
    }

    /// Whether arguments of this kind are [`Value::Object`]s.
    pub fn is_object(self) -> bool {
        self <= Kind::Command
    }
}

/// One argument of one call.
pub enum Value<'a> {
    /// NULL: there is none at this point.
    Absent,
    /// An object of policy.
    Object(&'a mut dyn Object),
    /// Octets.
    Text(&'a [u8]),
    /// A text to write; what it holds at first is the value that would be taken.
    TextPlace(&'a mut Vec<u8>),
    /// A number.
    Number(i64),
    /// A number to write.
    NumberPlace(&'a mut i64),
    /// Since 1970.
    Time(Duration),
    /// A time to write.
    TimePlace(&'a mut Duration),
    /// Between modules.
    Other(&'a mut dyn Any),
}

impl<'a> Value<'a> {
    /// A text.
    pub fn text(text: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        Value::Text(text.as_ref())
    }

    /// The length of a text, as C has it.
    pub fn length(text: &(impl AsRef<[u8]> + ?Sized)) -> Self {
        Value::Number(i64::try_from(text.as_ref().len()).unwrap_or(i64::MAX))
    }

    /// An object, if there is one.
    pub fn object(object: Option<&'a mut dyn Object>) -> Self {
        object.map_or(Value::Absent, Value::Object)
    }

    /// Whether it is of a kind, or absent.
    pub fn is(&self, kind: Kind) -> bool {
        match self {
            Value::Absent => true,
            Value::Object(object) => object.kind() == kind,
            Value::Text(_) => kind == Kind::Text,
            Value::TextPlace(_) => kind == Kind::TextPlace,
            Value::Number(_) => kind == Kind::Number,
            Value::NumberPlace(_) => kind == Kind::NumberPlace,
            Value::Time(_) => kind == Kind::Time,
            Value::TimePlace(_) => kind == Kind::TimePlace,
            Value::Other(_) => kind == Kind::Other,
        }
    }
}

/// An object of policy: a view of parts that exist at the point of a call. Not to be kept beyond one poll.
///
/// The crate that knows what a message is implements this for its own view, and finds the view's parts again from here;
/// a point of a crate below it hands over [`Parts`].
pub trait Object {
    /// Which object it is.
    fn kind(&self) -> Kind;

    /// The part of a type; none if this point has none.
    fn part_of(&self, id: TypeId) -> Option<&dyn Any>;

    /// The same, to change it; none if this point has none, or only shows it.
    fn part_of_mut(&mut self, id: TypeId) -> Option<&mut dyn Any>;
}

impl<'o> dyn Object + 'o {
    /// The part of a type; none if this point has none.
    pub fn part<T: 'static>(&self) -> Option<&T> {
        self.part_of(TypeId::of::<T>())?.downcast_ref()
    }

    /// The part of a type, to change it; none if this point has none, or only shows it.
    pub fn part_mut<T: 'static>(&mut self) -> Option<&mut T> {
        self.part_of_mut(TypeId::of::<T>())?.downcast_mut()
    }
}

/// Part of an object.
pub enum Part<'a> {
    /// To be read.
    Shown(&'a dyn Any),
    /// To be read and changed.
    Open(&'a mut dyn Any),
}

/// An object that is nothing but its parts.
pub struct Parts<'a, const N: usize> {
    kind: Kind,
    parts: [Part<'a>; N],
}

impl<'a, const N: usize> Parts<'a, N> {
    /// An object of a kind that is made of these.
    pub fn new(kind: Kind, parts: [Part<'a>; N]) -> Self {
        Self { kind, parts }
    }
}

impl<const N: usize> Object for Parts<'_, N> {
    fn kind(&self) -> Kind {
        self.kind
    }

    fn part_of(&self, id: TypeId) -> Option<&dyn Any> {
        self.parts.iter().map(Part::shown).find(|part| (**part).type_id() == id)
    }

    fn part_of_mut(&mut self, id: TypeId) -> Option<&mut dyn Any> {
        self.parts.iter_mut().filter_map(Part::open).find(|part| (**part).type_id() == id)
    }
}

impl Part<'_> {
    fn shown(&self) -> &dyn Any {
        match self {
            Part::Shown(part) => *part,
            Part::Open(part) => &**part,
        }
    }

    fn open(&mut self) -> Option<&mut dyn Any> {
        match self {
            Part::Shown(_) => None,
            Part::Open(part) => Some(&mut **part),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_an_object_are_found_by_their_type_and_what_is_only_shown_stays_as_it_is() {
        let (queue, mut binding) = (7_u16, String::from("default"));
        let mut message = Parts::new(Kind::Message, [Part::Shown(&queue), Part::Open(&mut binding)]);
        let object: &mut dyn Object = &mut message;
        assert_eq!((object.kind(), object.part::<u16>(), object.part::<u8>()), (Kind::Message, Some(&7), None));
        assert_eq!(object.part_mut::<u16>(), None);
        object.part_mut::<String>().unwrap().push_str("-1");
        assert_eq!(object.part::<String>().map(String::as_str), Some("default-1"));
        assert!(Value::Object(object).is(Kind::Message));
        assert_eq!(binding, "default-1");
    }
}
