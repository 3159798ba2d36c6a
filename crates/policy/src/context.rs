//! The validation context: policy's two dictionaries, and how policy answers the client.
//!
//! The connection dictionary lives as long as the session, the message dictionary from MAIL to the end of the message. Both go
//! with the message. Keys keep the order they were first set in. A dictionary is shared with whoever has it and copied by
//! whoever changes it.

use std::time::Duration;

use message::Dictionary;
use smtp::Reply;

use crate::error::PolicyError;

/// Which dictionary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// VCTX_CONN, ECMESS_CTX_CONN.
    Connection,
    /// VCTX_MESS, ECMESS_CTX_MESS.
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
    /// How long the client is to wait for the reply; added up over the providers of a phase.
    pub tarpit: Duration,
}

impl ValidationContext {
    /// The value of a key; empty if it is not set.
    pub fn get(&self, scope: Scope, key: &str) -> &str {
        self.find(scope, key).unwrap_or("")
    }

    /// The value of a key, if it is set.
    pub fn find(&self, scope: Scope, key: &str) -> Option<&str> {
        self.dictionary(scope).find(key)
    }

    /// Whether a key is set.
    pub fn exists(&self, scope: Scope, key: &str) -> bool {
        self.find(scope, key).is_some()
    }

    /// Sets a key, whatever the bounds: for the core.
    pub fn set(&mut self, scope: Scope, key: &str, value: &str) {
        self.dictionary_mut(scope).set(key, value);
    }

    /// Sets a key, within the bounds of a context.
    pub fn try_set(&mut self, scope: Scope, key: &str, value: &str) -> Result<(), PolicyError> {
        if key.is_empty() {
            return Err(PolicyError::EmptyKey);
        }
        let dictionary = self.dictionary(scope);
        let is_new = dictionary.len() < VARIABLES_MAX || dictionary.find(key).is_some();
        if VARIABLE_OCTETS_MAX < key.len() + value.len() || !is_new {
            return Err(PolicyError::ContextFull);
        }
        self.set(scope, key, value);
        Ok(())
    }

    /// Removes a key; whether it was set.
    pub fn unset(&mut self, scope: Scope, key: &str) -> bool {
        self.dictionary_mut(scope).unset(key)
    }

    /// The keys, in order.
    pub fn keys(&self, scope: Scope) -> impl Iterator<Item = &str> {
        self.dictionary(scope).iter().map(|(key, _)| &**key)
    }

    /// Answers with a code and a text.
    pub fn set_code(&mut self, code: u16, note: &str) {
        self.code = code;
        note.clone_into(&mut self.note);
    }

    /// Whether policy has decided to refuse.
    pub fn refuses(&self) -> bool {
        self.disconnect || (400..600).contains(&self.code)
    }

    /// Takes the refusal, if policy has decided on one: the reply, and whether to close the connection.
    pub fn take_refusal(&mut self) -> Option<(Reply, bool)> {
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

    /// Takes the time that the client is to wait, 300 seconds at most.
    pub fn take_tarpit(&mut self) -> Duration {
        std::mem::take(&mut self.tarpit).min(TARPIT_MAX)
    }

    /// One dictionary.
    pub fn dictionary(&self, scope: Scope) -> &Dictionary {
        match scope {
            Scope::Connection => &self.variables.connection,
            Scope::Message => &self.variables.message,
        }
    }

    fn dictionary_mut(&mut self, scope: Scope) -> &mut Dictionary {
        match scope {
            Scope::Connection => &mut self.variables.connection,
            Scope::Message => &mut self.variables.message,
        }
    }
}

/// The longest a provider may keep a client waiting with one answer.
pub const TARPIT_MAX: Duration = Duration::from_secs(300);
/// Variables of one dictionary.
pub(crate) const VARIABLES_MAX: usize = 1024;
/// Octets of a key and its value.
pub(crate) const VARIABLE_OCTETS_MAX: usize = 64 << 10;

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
        assert!(context.unset(Scope::Message, "a") && !context.unset(Scope::Message, "a"));
        assert!(!context.exists(Scope::Message, "a") && context.exists(Scope::Message, "b"));
        assert_eq!(context.keys(Scope::Message).collect::<Vec<_>>(), ["b"]);
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

    #[test]
    fn a_context_is_bounded() {
        let mut context = ValidationContext::default();
        assert_eq!(context.try_set(Scope::Message, "", "x"), Err(PolicyError::EmptyKey));
        let long = "x".repeat(VARIABLE_OCTETS_MAX);
        assert_eq!(context.try_set(Scope::Message, "k", &long), Err(PolicyError::ContextFull));
        for number in 0..VARIABLES_MAX {
            context.try_set(Scope::Message, &number.to_string(), "x").unwrap();
        }
        assert_eq!(context.try_set(Scope::Message, "more", "x"), Err(PolicyError::ContextFull));
        assert_eq!(context.try_set(Scope::Message, "7", "y"), Ok(()), "what is there can be set again");
        context.tarpit = Duration::from_secs(9999);
        assert_eq!((context.take_tarpit(), context.take_tarpit()), (TARPIT_MAX, Duration::ZERO));
    }
}
