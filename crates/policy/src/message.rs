//! A message as policy sees it: what C calls `ec_message`, and Lua `msg`.
//!
//! Borrowed over what exists at the point of the call: the transaction with all its recipients, or the envelope of one. An
//! accessor changes what the view is of, at once, or says why not; it holds nothing afterwards.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use message::{Envelope, MessageId, Protocol, QueueName};
use smtp::{ForwardPath, Mailbox, ReversePath, Transaction};

use crate::content::Content;
use crate::context::{Scope, ValidationContext};
use crate::error::PolicyError;
use crate::phases::{Field, Phase};
use crate::session::Session;
use crate::variables::Facts;

/// A view of a message, for the length of one poll.
pub struct Message<'a> {
    /// Where policy is asked.
    pub phase: Phase,
    /// Whose message it is.
    pub target: Target<'a>,
    /// The session it came in, while there is one.
    pub session: Option<&'a Session>,
    /// The content; none before it has come, or where the hook did not ask for it.
    pub content: Option<&'a mut Content>,
    /// Dictionaries and reply.
    pub context: &'a mut ValidationContext,
    /// What policy keeps with it, and its wish to drop it.
    pub side: &'a mut Side,
    /// The bindings of the configuration.
    pub bindings: &'a dyn Bindings,
}

/// Whose message it is. Closed.
pub enum Target<'a> {
    /// All recipients of a transaction.
    Transaction {
        /// The id it will have; null before DATA.
        id: MessageId,
        /// Its envelope so far.
        transaction: &'a mut Transaction,
        /// The recipient that RCPT would add.
        recipient: Option<&'a ForwardPath>,
    },
    /// One recipient's.
    Recipient(&'a mut Envelope),
}

/// What a message may leave by. Known to whoever has the configuration.
pub trait Bindings {
    /// The group of a binding; `None` if there is no such binding.
    fn group_of(&self, binding: &str) -> Option<Arc<str>>;

    /// The binding of a group that a message is to take: one that is not suspended, if there is one; `None` if there is no
    /// such group.
    fn choose(&self, binding_group: &str, envelope: &Envelope) -> Option<Arc<str>>;
}

/// What policy keeps with a message in memory: 8 octets if that is nothing.
#[derive(Default)]
pub struct Side(Option<Box<Kept>>);

#[derive(Default)]
struct Kept {
    discarded: Option<Box<str>>,
    slots: Vec<(Arc<str>, Box<dyn Any + Send>)>,
}

impl Side {
    /// Why policy wants the message dropped, if it does.
    pub fn discarded(&self) -> Option<&str> {
        self.0.as_ref()?.discarded.as_deref()
    }

    /// What a module keeps with the message.
    pub fn get<T: Any + Send>(&mut self, module: &str) -> Option<&mut T> {
        let slots = &mut self.0.as_mut()?.slots;
        slots.iter_mut().filter(|(of, _)| **of == *module).find_map(|(_, kept)| kept.downcast_mut())
    }

    /// Keeps something with the message for a module, in the place of what it kept of that type.
    pub fn keep<T: Any + Send>(&mut self, module: &str, kept: T) {
        let slots = &mut self.0.get_or_insert_default().slots;
        slots.retain(|(of, kept)| **of != *module || !kept.is::<T>());
        slots.push((module.into(), Box::new(kept)));
    }

    fn discard(&mut self, reason: &str) {
        self.0.get_or_insert_default().discarded = Some(reason.into());
    }
}

impl fmt::Debug for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "side data (discarded: {:?})", self.discarded())
    }
}

/// A message that outlives the call and may cross threads. Changing it changes no mail.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Its id.
    pub id: MessageId,
    /// MAIL FROM.
    pub reverse_path: ReversePath,
    /// Its recipients.
    pub forward_paths: Vec<ForwardPath>,
    /// The content, shared.
    pub content: Option<Content>,
    /// The dictionaries, shared.
    pub variables: message::Context,
    /// The queue it belongs to, if that is known.
    pub queue: Option<QueueName>,
}

impl Message<'_> {
    /// `msg.id`: of a transaction the one that its first recipient's message will have.
    pub fn id(&self) -> MessageId {
        match &self.target {
            Target::Transaction { id, .. } => *id,
            Target::Recipient(envelope) => envelope.id,
        }
    }

    /// `msg.batch_id`.
    pub fn batch_id(&self) -> MessageId {
        match &self.target {
            Target::Transaction { id, .. } => *id,
            Target::Recipient(envelope) => envelope.batch,
        }
    }

    /// `msg.conn_id`.
    pub fn conn_id(&self) -> MessageId {
        match (&self.target, self.session) {
            (Target::Recipient(envelope), _) => envelope.origin.connection,
            (_, session) => session.map_or(MessageId::NULL, |session| session.connection),
        }
    }

    /// `msg.recv_method`.
    pub fn recv_method(&self) -> Protocol {
        match &self.target {
            Target::Recipient(envelope) => envelope.origin.protocol,
            Target::Transaction { .. } => Protocol::Esmtp,
        }
    }

    /// `msg:reception_peer`: the client.
    pub fn reception_peer(&self) -> Option<SocketAddr> {
        match (&self.target, self.session) {
            (Target::Recipient(envelope), _) => envelope.origin.peer,
            (_, session) => session.and_then(|session| session.peer),
        }
    }

    /// `msg:listener_addr`: our end, while the session lasts.
    pub fn listener_addr(&self) -> Option<SocketAddr> {
        self.session.and_then(|session| session.local)
    }

    /// `msg:mailfrom`.
    pub fn reverse_path(&self) -> &ReversePath {
        match &self.target {
            Target::Transaction { transaction, .. } => &transaction.reverse_path,
            Target::Recipient(envelope) => &envelope.reverse_path,
        }
    }

    /// `msg:mailfrom(addr)`: the empty address is the null reverse-path.
    pub fn set_reverse_path(&mut self, address: &str) -> Result<(), PolicyError> {
        Field::ReversePath.changeable_in(self.phase)?;
        let path = match address {
            "" | "<>" => ReversePath::Null,
            _ => ReversePath::Mailbox(mailbox(address)?),
        };
        match &mut self.target {
            Target::Transaction { transaction, .. } => transaction.reverse_path = path,
            Target::Recipient(envelope) => envelope.reverse_path = path,
        }
        Ok(())
    }

    /// `msg:rcptto`: of a transaction the recipient that RCPT is about, else the first one.
    pub fn forward_path(&self) -> Option<&ForwardPath> {
        match &self.target {
            Target::Transaction { recipient: Some(recipient), .. } => Some(recipient),
            Target::Transaction { transaction, .. } => transaction.forward_paths.first(),
            Target::Recipient(envelope) => Some(&envelope.forward_path),
        }
    }

    /// `msg:rcptto(addr)`.
    pub fn set_forward_path(&mut self, address: &str) -> Result<(), PolicyError> {
        Field::ForwardPath.changeable_in(self.phase)?;
        let path = ForwardPath(mailbox(address)?);
        self.envelope("recipient of its own")?.forward_path = path;
        Ok(())
    }

    /// `vctx:recipient_list`: everybody who gets the message.
    pub fn recipients(&self) -> &[ForwardPath] {
        match &self.target {
            Target::Transaction { transaction, .. } => &transaction.forward_paths,
            Target::Recipient(envelope) => std::slice::from_ref(&envelope.forward_path),
        }
    }

    /// `vctx:recipient_list(addrs)`.
    pub fn set_recipients(&mut self, addresses: &[&str]) -> Result<(), PolicyError> {
        Field::Recipients.changeable_in(self.phase)?;
        let paths = addresses.iter().map(|address| mailbox(address).map(ForwardPath)).collect::<Result<_, _>>()?;
        self.transaction()?.forward_paths = paths;
        Ok(())
    }

    /// `vctx:add_recipient`: one that is there already is not added again.
    pub fn add_recipient(&mut self, address: &str) -> Result<(), PolicyError> {
        Field::Recipients.changeable_in(self.phase)?;
        let path = ForwardPath(mailbox(address)?);
        let paths = &mut self.transaction()?.forward_paths;
        if !paths.iter().any(|known| is_same(known, path.as_str())) {
            paths.push(path);
        }
        Ok(())
    }

    /// `vctx:remove_recipient`: how many were removed.
    pub fn remove_recipient(&mut self, address: &str) -> Result<usize, PolicyError> {
        Field::Recipients.changeable_in(self.phase)?;
        let paths = &mut self.transaction()?.forward_paths;
        let before = paths.len();
        paths.retain(|known| !is_same(known, address));
        Ok(before - paths.len())
    }

    /// `msg:header(name)`.
    pub fn header(&self, name: &str) -> Result<Vec<String>, PolicyError> {
        Ok(self.read_content()?.header(name))
    }

    /// `msg:header(name, value)`: replaces all of the name; an empty value removes them.
    pub fn set_header(&mut self, name: &str, value: &str) -> Result<(), PolicyError> {
        self.content_for(Field::Header)?.set_header(name, value)
    }

    /// `msg:header(name, value, "append")`.
    pub fn append_header(&mut self, name: &str, value: &str) -> Result<(), PolicyError> {
        self.content_for(Field::Header)?.append_header(name, value)
    }

    /// `msg:header(name, value, "prepend")`.
    pub fn prepend_header(&mut self, name: &str, value: &str) -> Result<(), PolicyError> {
        self.content_for(Field::Header)?.prepend_header(name, value)
    }

    /// A whole field in wire form before all others, as signers make it.
    pub fn prepend_raw_header(&mut self, raw: &[u8]) -> Result<(), PolicyError> {
        self.content_for(Field::Header)?.prepend_raw_header(raw)
    }

    /// `msg:header(name, "")`: whether there was one.
    pub fn remove_header(&mut self, name: &str) -> Result<bool, PolicyError> {
        self.content_for(Field::Header)?.remove_header(name)
    }

    /// `msg:body`: what stands behind the header section, in plain form.
    pub fn body(&self) -> Result<Cow<'_, [u8]>, PolicyError> {
        Ok(self.read_content()?.text())
    }

    /// `msg:body(text)`: plain form, any line ends.
    pub fn set_body(&mut self, plain: &[u8]) -> Result<(), PolicyError> {
        self.content_for(Field::Body)?.set_text(plain);
        Ok(())
    }

    /// `msg:raw`: the whole message in plain form.
    pub fn raw(&self) -> Result<Vec<u8>, PolicyError> {
        let wire = self.read_content()?.rendered().into_bytes();
        Ok(message::wire::to_plain(&wire).into_owned())
    }

    /// `msg:raw(text)`.
    pub fn set_raw(&mut self, plain: &[u8]) -> Result<(), PolicyError> {
        Field::Header.changeable_in(self.phase)?;
        self.content_for(Field::Body)?.set_raw(plain);
        Ok(())
    }

    /// `msg:mime`: the parts, to read.
    pub fn parts(&self) -> Result<Vec<message::parts::PartView>, PolicyError> {
        Ok(self.read_content()?.parts())
    }

    /// `msg:get_message_size`: as RFC 1870 counts.
    pub fn message_size(&self) -> Result<u64, PolicyError> {
        Ok(self.read_content()?.octets())
    }

    /// `msg:binding`.
    pub fn binding(&self) -> Option<&str> {
        self.queue().map(|queue| &*queue.binding)
    }

    /// `msg:binding(name)`: its group follows.
    pub fn set_binding(&mut self, name: &str) -> Result<(), PolicyError> {
        Field::Binding.changeable_in(self.phase)?;
        let group = self.bindings.group_of(name).ok_or_else(|| PolicyError::NoBinding(name.to_owned()))?;
        let queue = &mut self.envelope("queue")?.queue;
        (queue.binding, queue.binding_group) = (name.into(), group);
        Ok(())
    }

    /// `msg:binding_group`.
    pub fn binding_group(&self) -> Option<&str> {
        self.queue().map(|queue| &*queue.binding_group)
    }

    /// `msg:binding_group(name)`: one of its bindings is taken at once.
    pub fn set_binding_group(&mut self, name: &str) -> Result<(), PolicyError> {
        Field::BindingGroup.changeable_in(self.phase)?;
        let bindings = self.bindings;
        let envelope = self.envelope("queue")?;
        let binding = bindings.choose(name, envelope).ok_or_else(|| PolicyError::NoBindingGroup(name.to_owned()))?;
        (envelope.queue.binding, envelope.queue.binding_group) = (binding, name.into());
        Ok(())
    }

    /// `msg:routing_domain`: the one that policy chose, else that of the recipient.
    pub fn routing_domain(&self) -> Option<&str> {
        let Target::Recipient(envelope) = &self.target else { return None };
        let chosen = envelope.particulars.as_ref().and_then(|particulars| particulars.routing_domain.as_deref());
        Some(chosen.unwrap_or(&envelope.queue.domain))
    }

    /// `msg:routing_domain(domain)`: lower case; an empty one gives it back to the recipient's.
    pub fn set_routing_domain(&mut self, domain: &str) -> Result<(), PolicyError> {
        Field::RoutingDomain.changeable_in(self.phase)?;
        let domain = domain.trim_end_matches('.').to_ascii_lowercase();
        let is_name = domain.len() <= DOMAIN_OCTETS_MAX
            && domain
                .bytes()
                .all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'-' | b'_' | b':' | b'[' | b']'));
        if !is_name || domain.starts_with('.') {
            return Err(PolicyError::RoutingDomain(domain));
        }
        let chosen = (!domain.is_empty()).then(|| Arc::from(domain));
        self.envelope("queue")?.particulars_mut().routing_domain = chosen;
        Ok(())
    }

    /// `msg.priority`: whether it goes before others of its queue.
    pub fn is_urgent(&self) -> bool {
        matches!(&self.target, Target::Recipient(envelope) if envelope.is_urgent())
    }

    /// `msg.priority = 1`.
    pub fn set_urgent(&mut self, urgent: bool) -> Result<(), PolicyError> {
        Field::Priority.changeable_in(self.phase)?;
        let envelope = self.envelope("queue")?;
        if urgent != envelope.is_urgent() {
            envelope.particulars_mut().urgent = urgent;
        }
        Ok(())
    }

    /// `msg:context_get`: what policy has set, else the standard variable; `None` if it is neither.
    pub fn context_get(&self, scope: Scope, key: &str) -> Option<Cow<'_, str>> {
        self.context.find(scope, key).map(Cow::Borrowed).or_else(|| self.facts().variable(scope, key))
    }

    /// `msg:context_set`.
    pub fn context_set(&mut self, scope: Scope, key: &str, value: &str) -> Result<(), PolicyError> {
        Field::Context.changeable_in(self.phase)?;
        self.context.try_set(scope, key, value)
    }

    /// `msg:context_delete`: whether it was set.
    pub fn context_delete(&mut self, scope: Scope, key: &str) -> Result<bool, PolicyError> {
        Field::Context.changeable_in(self.phase)?;
        Ok(self.context.unset(scope, key))
    }

    /// `vctx:set_code`, `msg:code`.
    pub fn set_code(&mut self, code: u16, note: &str) -> Result<(), PolicyError> {
        Field::Code.changeable_in(self.phase)?;
        if !(200..600).contains(&code) {
            return Err(PolicyError::Code(code));
        }
        self.context.set_code(code, note);
        Ok(())
    }

    /// `msg:discard`: dropped without telling the client; the reason, a reply text, goes into the rejectlog.
    pub fn discard(&mut self, reason: &str) -> Result<(), PolicyError> {
        Field::Discard.changeable_in(self.phase)?;
        self.side.discard(reason);
        Ok(())
    }

    /// A copy that outlives the call. Content and dictionaries are shared.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            id: self.id(),
            reverse_path: self.reverse_path().clone(),
            forward_paths: self.recipients().to_vec(),
            content: self.content.as_deref().cloned(),
            variables: self.context.variables.clone(),
            queue: self.queue().cloned(),
        }
    }

    /// What the standard variables are computed from.
    pub fn facts(&self) -> Facts<'_> {
        let (forward_path, message_recipients) = match &self.target {
            Target::Transaction { transaction, recipient, .. } => {
                (recipient.map(ForwardPath::mailbox), Some(transaction.forward_paths.len()))
            }
            Target::Recipient(envelope) => (Some(envelope.forward_path.mailbox()), None),
        };
        Facts { session: self.session, reverse_path: Some(self.reverse_path()), forward_path, message_recipients }
    }

    fn queue(&self) -> Option<&QueueName> {
        match &self.target {
            Target::Recipient(envelope) => Some(&envelope.queue),
            Target::Transaction { .. } => None,
        }
    }

    fn envelope(&mut self, what: &'static str) -> Result<&mut Envelope, PolicyError> {
        match &mut self.target {
            Target::Recipient(envelope) => Ok(envelope),
            Target::Transaction { .. } => Err(PolicyError::Absent { what, phase: self.phase }),
        }
    }

    fn transaction(&mut self) -> Result<&mut Transaction, PolicyError> {
        match &mut self.target {
            Target::Transaction { transaction, .. } => Ok(transaction),
            Target::Recipient(_) => Err(PolicyError::Absent { what: "list of recipients", phase: self.phase }),
        }
    }

    fn read_content(&self) -> Result<&Content, PolicyError> {
        self.content.as_deref().ok_or(PolicyError::Absent { what: "content", phase: self.phase })
    }

    fn content_for(&mut self, field: Field) -> Result<&mut Content, PolicyError> {
        field.changeable_in(self.phase)?;
        self.content.as_deref_mut().ok_or(PolicyError::Absent { what: "content", phase: self.phase })
    }
}

fn mailbox(address: &str) -> Result<Mailbox, PolicyError> {
    Mailbox::parse(address).map_err(|_| PolicyError::Address(address.to_owned()))
}

/// Local parts are compared as they are, domains in any case (RFC 5321 2.4).
fn is_same(path: &ForwardPath, address: &str) -> bool {
    let (local_part, domain) = address.rsplit_once('@').unwrap_or((address, ""));
    path.mailbox().local_part() == local_part && path.mailbox().domain().eq_ignore_ascii_case(domain)
}

/// Octets of a domain with a port.
const DOMAIN_OCTETS_MAX: usize = 261;

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
