//! An inbound session as policy sees it: what C calls `accept_construct`, and Lua `ac`.

use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use message::MessageId;

/// What is known of a session.
#[derive(Debug)]
pub struct Session {
    /// `ac.remote_addr`: the client; none on a Unix socket.
    pub peer: Option<SocketAddr>,
    /// Our end; none on a Unix socket.
    pub local: Option<SocketAddr>,
    /// `ac.conn_id`: the connection's id.
    pub connection: MessageId,
    /// The Listen stanza's name.
    pub listen: Arc<str>,
    /// The name given in EHLO or HELO; empty before.
    pub helo: Box<str>,
    /// It was EHLO.
    pub extended: bool,
    /// Whether the client may relay to anyone: by its address, a listener's option, or AUTH.
    pub can_relay: bool,
    /// Messages taken so far.
    pub messages: u64,
    /// Recipients taken so far.
    pub recipients: u64,
    /// What TLS there is.
    pub tls: Option<Box<Tls>>,
    /// How AUTH went, if it was tried.
    pub auth: Option<Box<Auth>>,
    /// What modules keep of it.
    pub slots: Slots,
}

/// TLS of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// The version, as `TLSv1.3`.
    pub version: Box<str>,
    /// The cipher suite.
    pub cipher: Box<str>,
    /// Bits of the cipher's algorithm, and of the key in use.
    pub bits: (u16, u16),
    /// The client's certificate: subject and issuer as distinguished names.
    pub client: Option<(Box<str>, Box<str>)>,
    /// It was verified.
    pub verified: bool,
}

/// AUTH of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Auth {
    /// The mechanism.
    pub mechanism: Box<str>,
    /// The user, as far as the mechanism tells.
    pub user: Box<str>,
    /// `pass`, `fail` or `error`.
    pub status: Box<str>,
}

impl Session {
    /// One that has just connected.
    pub fn new(peer: Option<SocketAddr>, local: Option<SocketAddr>, connection: MessageId, listen: Arc<str>) -> Self {
        Self {
            peer,
            local,
            connection,
            listen,
            helo: "".into(),
            extended: false,
            can_relay: false,
            messages: 0,
            recipients: 0,
            tls: None,
            auth: None,
            slots: Slots::default(),
        }
    }
}

/// What each module keeps of a session, by the module's name; gone with the session. Lives on the session's loop.
#[derive(Default)]
pub struct Slots(RefCell<Vec<Slot>>);

/// A module, and what it keeps.
type Slot = (Arc<str>, Box<dyn Any>);

impl Slots {
    /// Runs `work` on what the module keeps here, made by `Default` the first time. Not to be called from within itself for
    /// the same session: that panics.
    pub fn with<T: Default + 'static, R>(&self, module: &str, work: impl FnOnce(&mut T) -> R) -> R {
        let mut slots = self.0.borrow_mut();
        let place = slots.iter().position(|(of, kept)| **of == *module && kept.is::<T>()).unwrap_or_else(|| {
            slots.push((module.into(), Box::<T>::default()));
            slots.len() - 1
        });
        // The one found or made above is a `T`.
        work(slots[place].1.downcast_mut().expect("a slot of its own type"))
    }

    /// Forgets what the module keeps; whether there was something.
    pub fn clear(&self, module: &str) -> bool {
        let mut slots = self.0.borrow_mut();
        let before = slots.len();
        slots.retain(|(of, _)| **of != *module);
        slots.len() < before
    }
}

impl fmt::Debug for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slots = self.0.borrow();
        f.debug_list().entries(slots.iter().map(|(module, _)| module)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_module_keeps_its_own() {
        let slots = Slots::default();
        slots.with("a", |count: &mut u32| *count += 2);
        slots.with("b", |count: &mut u32| *count += 5);
        slots.with("a", |text: &mut String| text.push('x'));
        assert_eq!(slots.with("a", |count: &mut u32| *count), 2);
        assert!(slots.clear("a") && !slots.clear("a"));
        assert_eq!((slots.with("a", |count: &mut u32| *count), slots.with("b", |count: &mut u32| *count)), (0, 5));
    }
}
