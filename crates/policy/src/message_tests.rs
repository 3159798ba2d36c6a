use std::time::Duration;

use ::message::{DeliveryState, Origin};

use super::*;
use crate::phases::Phase;

struct Fixed;

impl Bindings for Fixed {
    fn group_of(&self, binding: &str) -> Option<Arc<str>> {
        (binding == "bulk-1").then(|| "bulk".into())
    }

    fn choose(&self, binding_group: &str, _: &Envelope) -> Option<Arc<str>> {
        (binding_group == "bulk").then(|| "bulk-2".into())
    }
}

fn address(text: &str) -> Mailbox {
    Mailbox::parse(text).unwrap()
}

fn envelope() -> Envelope {
    Envelope {
        id: MessageId::from_bits(2),
        batch: MessageId::from_bits(1),
        reverse_path: ReversePath::Mailbox(address("news@here.example")),
        forward_path: ForwardPath(address("ann@shop.example")),
        created: Duration::from_secs(7),
        body_bytes: 0,
        eight_bit: false,
        origin: Origin { protocol: Protocol::Esmtp, peer: None, connection: MessageId::from_bits(3) },
        queue: QueueName { binding_group: "default".into(), binding: "default".into(), domain: "shop.example".into() },
        delivery: DeliveryState::default(),
        context: Default::default(),
        edits: None,
        particulars: None,
    }
}

fn transaction() -> Transaction {
    Transaction {
        reverse_path: ReversePath::Null,
        forward_paths: ["ann@shop.example", "bob@shop.example"]
            .map(|text| ForwardPath(address(text)))
            .into_iter()
            .collect(),
        declared_octets: None,
        eight_bit: false,
    }
}

struct World {
    envelope: Envelope,
    transaction: Transaction,
    content: Content,
    context: ValidationContext,
    side: Side,
}

impl World {
    fn new() -> Self {
        let content = Content::from(::message::Body::from_static(b"Subject: x\r\n\r\nhello\r\n.\r\n"));
        let (context, side) = (ValidationContext::default(), Side::default());
        Self { envelope: envelope(), transaction: transaction(), content, context, side }
    }

    /// One recipient's message, or the transaction's.
    fn message(&mut self, phase: Phase, of_recipient: bool) -> Message<'_> {
        let target = if of_recipient {
            Target::Recipient(&mut self.envelope)
        } else {
            Target::Transaction { id: MessageId::from_bits(1), transaction: &mut self.transaction, recipient: None }
        };
        Message {
            phase,
            target,
            session: None,
            content: Some(&mut self.content),
            context: &mut self.context,
            side: &mut self.side,
            bindings: &Fixed,
        }
    }
}

/// Tries to change a field in some valid way.
fn change(message: &mut Message<'_>, field: Field) -> Result<(), PolicyError> {
    match field {
        Field::Header => message.set_header("X", "1"),
        Field::Body => message.set_body(b"other\n"),
        Field::ReversePath => message.set_reverse_path("other@here.example"),
        Field::ForwardPath => message.set_forward_path("other@shop.example"),
        Field::Recipients => message.add_recipient("other@shop.example"),
        Field::Binding => message.set_binding("bulk-1"),
        Field::BindingGroup => message.set_binding_group("bulk"),
        Field::RoutingDomain => message.set_routing_domain("Relay.Example."),
        Field::Priority => message.set_urgent(true),
        Field::Context => message.context_set(Scope::Message, "key", "value"),
        Field::Code => message.set_code(550, "no"),
        Field::Discard => message.discard("550 5.7.1 no"),
        Field::Tarpit => Field::Tarpit.changeable_in(message.phase),
    }
}

#[test]
fn each_field_is_changed_where_the_table_says_so_and_refused_by_name_elsewhere() {
    for (phase, field) in Phase::ALL.into_iter().flat_map(|phase| Field::ALL.map(|field| (phase, field))) {
        let of_recipient = Phase::EachRcpt <= phase;
        let mut world = World::new();
        let changed = change(&mut world.message(phase, of_recipient), field);
        if field.phases().contains(&phase) {
            assert_eq!(changed, Ok(()), "{field} in {phase}");
            continue;
        }
        let error = changed.unwrap_err();
        assert_eq!(error, PolicyError::NotNow { field, phase });
        let told = error.to_string();
        assert!(told.starts_with(&format!("{field} cannot be changed in {phase}: change it in ")), "{told}");
        let untouched = World::new();
        assert_eq!((&world.envelope, &world.content), (&untouched.envelope, &untouched.content), "{field} in {phase}");
        assert_eq!(world.transaction, untouched.transaction);
        assert!(world.context.variables == Default::default() && world.side.discarded().is_none());
    }
}

#[test]
fn what_is_not_there_is_an_error_that_says_so() {
    let mut world = World::new();
    let mut message = world.message(Phase::Data, false);
    message.content = None;
    assert_eq!(message.header("X").unwrap_err().to_string(), "there is no content in data");
    assert_eq!(message.set_header("X", "1").unwrap_err().to_string(), "there is no content in data");
    assert_eq!((message.binding(), message.routing_domain()), (None, None));
    let mut of_one = world.message(Phase::EachRcpt, true);
    assert!(matches!(of_one.add_recipient("a@b.example"), Err(PolicyError::NotNow { .. })));
}

#[test]
fn illegal_values_change_nothing() {
    let mut world = World::new();
    let mut message = world.message(Phase::SetBinding, true);
    assert_eq!(message.set_binding("gone"), Err(PolicyError::NoBinding("gone".into())));
    assert_eq!(message.set_binding_group("gone"), Err(PolicyError::NoBindingGroup("gone".into())));
    for domain in ["a b", "a\r\nb", ".x", "é.example", &"x".repeat(300)] {
        assert!(matches!(message.set_routing_domain(domain), Err(PolicyError::RoutingDomain(_))), "{domain:?}");
    }
    for value in ["a\r\nBcc: b@x.example", "a\0"] {
        assert!(matches!(message.set_header("X", value), Err(PolicyError::Header(_))));
    }
    assert!(matches!(message.set_reverse_path("no address"), Err(PolicyError::Address(_))));
    assert_eq!(world.envelope, envelope());
    let mut message = world.message(Phase::Data, false);
    assert!(matches!(message.set_recipients(&["ann@shop.example", "no"]), Err(PolicyError::Address(_))));
    assert_eq!(message.set_code(99, ""), Err(PolicyError::Code(99)));
    assert_eq!(world.transaction, transaction());
}

#[test]
fn recipients_are_added_once_and_removed_by_address() {
    let mut world = World::new();
    let mut message = world.message(Phase::Data, false);
    message.add_recipient("ann@SHOP.example").unwrap();
    message.add_recipient("Ann@shop.example").unwrap();
    assert_eq!(message.recipients().len(), 3, "a local part in another case is another mailbox");
    assert_eq!(message.remove_recipient("bob@Shop.Example"), Ok(1));
    assert_eq!(message.remove_recipient("bob@shop.example"), Ok(0));
    message.set_recipients(&[]).unwrap();
    assert!(message.recipients().is_empty() && message.forward_path().is_none());
    message.set_reverse_path("<>").unwrap();
    assert_eq!(*message.reverse_path(), ReversePath::Null);
}

#[test]
fn the_queue_is_chosen_by_binding_group_domain_and_priority() {
    let mut world = World::new();
    let mut message = world.message(Phase::SetBinding, true);
    message.set_binding_group("bulk").unwrap();
    assert_eq!((message.binding(), message.binding_group()), (Some("bulk-2"), Some("bulk")));
    message.set_binding("bulk-1").unwrap();
    message.set_routing_domain("Relay.Example:2525").unwrap();
    message.set_urgent(false).unwrap();
    assert_eq!((message.binding(), message.routing_domain()), (Some("bulk-1"), Some("relay.example:2525")));
    message.set_routing_domain("").unwrap();
    assert_eq!(message.routing_domain(), Some("shop.example"));
    message.set_urgent(true).unwrap();
    assert!(message.is_urgent());
}

#[test]
fn variables_that_policy_sets_go_before_the_standard_ones() {
    let mut world = World::new();
    let mut message = world.message(Phase::EachRcpt, true);
    let domain = |message: &Message<'_>| message.context_get(Scope::Message, "rcptto_domain").map(Cow::into_owned);
    assert_eq!(domain(&message).as_deref(), Some("shop.example"));
    message.set_forward_path("eve@else.example").unwrap();
    assert_eq!(domain(&message).as_deref(), Some("else.example"), "computed when read");
    message.context_set(Scope::Message, "rcptto_domain", "mine").unwrap();
    assert_eq!(domain(&message).as_deref(), Some("mine"));
    assert_eq!(message.context_delete(Scope::Message, "rcptto_domain"), Ok(true));
    assert_eq!(domain(&message).as_deref(), Some("else.example"));
    assert_eq!(message.context_get(Scope::Message, "unknown"), None);
}

#[test]
fn a_snapshot_keeps_what_was_and_crosses_threads() {
    let mut world = World::new();
    let mut message = world.message(Phase::EachRcpt, true);
    message.context_set(Scope::Message, "a", "1").unwrap();
    let snapshot = message.snapshot();
    assert!(
        snapshot.content.as_ref().unwrap().shares_body(&message.content.as_ref().unwrap().body),
        "nothing is copied"
    );
    message.context_set(Scope::Message, "a", "2").unwrap();
    message.set_header("Subject", "other").unwrap();
    let seen = std::thread::spawn(move || {
        (snapshot.variables.message.find("a").map(str::to_owned), snapshot.content.unwrap().header("subject"))
    });
    assert_eq!(seen.join().unwrap(), (Some("1".to_owned()), vec!["x".to_owned()]));
}

#[test]
fn side_data_takes_a_pointer_until_there_is_some() {
    assert_eq!(size_of::<Side>(), 8);
    let mut side = Side::default();
    assert!(side.get::<u32>("a").is_none());
    side.keep("a", 1u32);
    side.keep("a", 2u32);
    side.keep("b", 3u32);
    assert_eq!((side.get::<u32>("a").copied(), side.get::<u32>("b").copied()), (Some(2), Some(3)));
    assert!(side.get::<String>("a").is_none() && side.discarded().is_none());
}
