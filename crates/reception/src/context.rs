//! The validation context: policy's two dictionaries, and how policy refuses.
//!
//! The connection dictionary lives as long as the session, the message dictionary from MAIL to the end of the message.
//! Both go with the message. Keys keep the order they were first set in; setting one again replaces its value.

use message::envelope::Dictionary;
use smtp::Reply;

/// Which dictionary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// VCTX_CONN.
    Connection,
    /// VCTX_MESS.
    Message,
}

/// What policy reads and writes during a session. A provider refuses by setting a code of 400 or more.
#[derive(Clone, Debug, Default)]
pub struct ValidationContext {
    /// The dictionaries, as they go with the message.
    pub variables: message::Context,
    /// The reply code policy wants; zero: none.
    pub code: u16,
    /// The reply text policy wants, with or without an enhanced status code in front.
    pub note: String,
    /// Close the connection after the reply.
    pub disconnect: bool,
}

impl ValidationContext {
    /// The value of a key; empty if it is not set.
    pub fn get(&self, scope: Scope, key: &str) -> &str {
        self.find(scope, key).unwrap_or("")
    }

    /// Whether a key is set.
    pub fn exists(&self, scope: Scope, key: &str) -> bool {
        self.find(scope, key).is_some()
    }

    /// Sets a key.
    pub fn set(&mut self, scope: Scope, key: &str, value: &str) {
        let dictionary = self.dictionary_mut(scope);
        match dictionary.iter_mut().find(|(name, _)| &**name == key) {
            Some((_, old)) => *old = value.into(),
            None => dictionary.push((key.into(), value.into())),
        }
    }

    /// Removes a key.
    pub fn unset(&mut self, scope: Scope, key: &str) {
        self.dictionary_mut(scope).retain(|(name, _)| &**name != key);
    }

    /// Refuses with a code and a text.
    pub fn set_code(&mut self, code: u16, note: &str) {
        self.code = code;
        self.note = note.to_owned();
    }

    /// Whether policy has decided to refuse.
    pub(crate) fn refuses(&self) -> bool {
        self.disconnect || (400..600).contains(&self.code)
    }

    /// Takes the refusal, if policy has decided on one: the reply, and whether to close the connection.
    pub(crate) fn take_refusal(&mut self) -> Option<(Reply, bool)> {
        let (code, note) = (std::mem::take(&mut self.code), std::mem::take(&mut self.note));
        let disconnect = std::mem::take(&mut self.disconnect);
        match code {
            400..600 => {
                let reply = Reply::parse(&note, code);
                // The code set is the one given, whatever number the text begins with.
                Some((Reply { code, ..reply }, disconnect))
            }
            _ if disconnect => Some((Reply::new(421, (4, 7, 0), "closing connection"), true)),
            _ => None,
        }
    }

    fn find(&self, scope: Scope, key: &str) -> Option<&str> {
        let dictionary = match scope {
            Scope::Connection => &self.variables.connection,
            Scope::Message => &self.variables.message,
        };
        dictionary.iter().find(|(name, _)| &**name == key).map(|(_, value)| &**value)
    }

    fn dictionary_mut(&mut self, scope: Scope) -> &mut Dictionary {
        match scope {
            Scope::Connection => &mut self.variables.connection,
            Scope::Message => &mut self.variables.message,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setting_a_key_again_replaces_its_value() {
        let mut context = ValidationContext::default();
        context.set(Scope::Message, "a", "1");
        context.set(Scope::Message, "b", "2");
        context.set(Scope::Message, "a", "3");
        assert_eq!((context.get(Scope::Message, "a"), context.get(Scope::Connection, "a")), ("3", ""));
        context.unset(Scope::Message, "a");
        assert!(!context.exists(Scope::Message, "a") && context.exists(Scope::Message, "b"));
    }

    #[test]
    fn a_refusal_is_taken_once() {
        let mut context = ValidationContext::default();
        assert!(context.take_refusal().is_none());
        context.set_code(550, "5.7.1 go away");
        let (reply, disconnect) = context.take_refusal().unwrap();
        assert_eq!((reply.to_string().as_str(), disconnect), ("550 5.7.1 go away", false));
        assert!(context.take_refusal().is_none());
        context.disconnect = true;
        assert_eq!(context.take_refusal().unwrap().0.code, 421);
        context.set_code(250, "fine");
        assert!(context.take_refusal().is_none(), "250 refuses nothing");
    }
}
