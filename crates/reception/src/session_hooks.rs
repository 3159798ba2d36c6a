//! The call-out points of a session beside its phases: its beginning and end, and whether it may relay.
//!
//! Called on the session's loop. None may suspend: they observe, or answer at once.

use hooks::{
    Declaration, DeclaredHook, Failing, Hook, HookPoint, HookSet, Kind, Listed, Needs, Parameter, Part, Parts,
    Returned, Rule, Runs, Tier, Value,
};

use policy::Session;

/// A connection that begins or ends.
#[derive(Clone, Copy)]
pub struct ConnectionArgs<'a> {
    /// The session.
    pub session: &'a Session,
}

/// Whether a client that is not trusted may name a recipient of a domain.
#[derive(Debug)]
pub struct RelayArgs<'a> {
    /// The recipient's domain.
    pub domain: &'a str,
    /// What is answered: not 0 means that mail for the domain is taken.
    pub verdict: i64,
    /// Set to 1 (VALIDATE_DONE) by a provider of [`PreCanRelayTo`] whose verdict is to hold whatever the configuration
    /// says.
    pub decided: i64,
}

macro_rules! connection_hook {
    ($(#[doc = $meaning:literal])* $hook:ident, $name:literal, $parameters:expr) => {
        $(#[doc = $meaning])*
        #[derive(Debug)]
        pub enum $hook {}

        impl Hook for $hook {
            const DECLARATION: &'static Declaration = &Declaration {
                scope: "core",
                name: $name,
                returns: "void",
                parameters: $parameters,
                rule: Rule::Every,
                failing: Failing::PassedOver,
                runs: Runs::Session,
                needs: Needs::Nothing,
                suspends: false,
                tier: Tier::B,
                meaning: concat!($($meaning),*).trim_ascii(),
            };
            type Args<'a> = ConnectionArgs<'a>;
            type Verdict = ();

            fn show(args: &mut Self::Args<'_>, call: &mut dyn FnMut(&mut [Value<'_>])) {
                let mut session = Parts::new(Kind::Session, [Part::Shown(args.session)]);
                let all = &mut [Value::text(CONNECTION), Value::Number(NO_DESCRIPTOR), Value::Object(&mut session)];
                let shown = all.len() - Self::DECLARATION.parameters.len();
                call(&mut all[shown..]);
            }

            fn verdict(_: Returned) -> Option<()> {
                None
            }
        }
    };
}

connection_hook!(
    /// A session begins.
    IncInboundConnections,
    "inc_inbound_connections",
    CONNECTION_PARAMETERS
);
connection_hook!(
    /// A session has ended, and its connection is closed.
    DecInboundConnections,
    "dec_inbound_connections",
    CONNECTION_PARAMETERS
);
connection_hook!(
    /// A client is gone without QUIT.
    ServerEsmtpSessionAbort,
    "server_esmtp_session_abort",
    &[Parameter::session("ac")]
);

/// Before the configuration says whether a recipient's domain is relayed for.
#[derive(Debug)]
pub enum PreCanRelayTo {}

impl Hook for PreCanRelayTo {
    const DECLARATION: &'static Declaration = &Declaration {
        scope: "core",
        name: "pre_ec_can_relay_to",
        returns: "void",
        parameters: &[Parameter::text("domain"), Parameter::number_place("rv"), Parameter::number_place("cont")],
        rule: Rule::Every,
        failing: Failing::PassedOver,
        runs: Runs::Session,
        needs: Needs::Envelope,
        suspends: false,
        tier: Tier::A,
        meaning: "Before the configuration says whether a recipient's domain is relayed for: with *cont = VALIDATE_DONE (1), \
                  *rv holds in its place.",
    };
    type Args<'a> = RelayArgs<'a>;
    type Verdict = ();

    fn show(args: &mut Self::Args<'_>, call: &mut dyn FnMut(&mut [Value<'_>])) {
        let domain = Value::text(args.domain);
        call(&mut [domain, Value::NumberPlace(&mut args.verdict), Value::NumberPlace(&mut args.decided)]);
    }

    fn verdict(_: Returned) -> Option<()> {
        None
    }
}

/// Whether a recipient's domain is relayed for, in place of the configuration's answer.
#[derive(Debug)]
pub enum ConfigGetDomainRelay {}

impl Hook for ConfigGetDomainRelay {
    const DECLARATION: &'static Declaration = &Declaration {
        scope: "core",
        name: "config_get_domain_relay",
        returns: "int",
        parameters: &[
            Parameter::new("generic_module_infrastructure *", "cs", Kind::Other),
            Parameter::text("domain"),
            Parameter::number_place("retval"),
        ],
        rule: Rule::NonZeroEnds,
        failing: Failing::PassedOver,
        runs: Runs::Session,
        needs: Needs::Envelope,
        suspends: false,
        tier: Tier::A,
        meaning: "Whether a recipient's domain is relayed for: who returns other than 0 has said so in *retval, in place of \
                  the configuration.",
    };
    type Args<'a> = RelayArgs<'a>;
    type Verdict = ();

    fn show(args: &mut Self::Args<'_>, call: &mut dyn FnMut(&mut [Value<'_>])) {
        call(&mut [Value::Absent, Value::text(args.domain), Value::NumberPlace(&mut args.verdict)]);
    }

    fn verdict(_: Returned) -> Option<()> {
        Some(())
    }
}

/// For the registry of hooks.
pub(crate) const SESSION_HOOKS: &[&dyn DeclaredHook] = &[
    &Listed::<IncInboundConnections>::NEW,
    &Listed::<DecInboundConnections>::NEW,
    &Listed::<ServerEsmtpSessionAbort>::NEW,
    &Listed::<PreCanRelayTo>::NEW,
    &Listed::<ConfigGetDomainRelay>::NEW,
];

/// The points of one generation.
#[derive(Clone, Debug, Default)]
pub(crate) struct SessionHooks {
    pub(crate) begins: HookPoint<IncInboundConnections>,
    pub(crate) ends: HookPoint<DecInboundConnections>,
    pub(crate) aborted: HookPoint<ServerEsmtpSessionAbort>,
    pre_can_relay_to: HookPoint<PreCanRelayTo>,
    domain_relay: HookPoint<ConfigGetDomainRelay>,
}

impl SessionHooks {
    pub(crate) fn of(set: &HookSet) -> Self {
        Self {
            begins: set.point(),
            ends: set.point(),
            aborted: set.point(),
            pre_can_relay_to: set.point(),
            domain_relay: set.point(),
        }
    }

    /// Tells of a session's beginning or end.
    pub(crate) fn tell<H>(point: &HookPoint<H>, session: &Session)
    where
        H: for<'a> Hook<Args<'a> = ConnectionArgs<'a>>,
    {
        if !point.is_empty() {
            point.call_now(&mut ConnectionArgs { session });
        }
    }

    /// What policy says on relaying to a domain; none if it is for the configuration to say.
    pub(crate) fn may_relay_to(&self, domain: &str) -> Option<bool> {
        let mut args = RelayArgs { domain, verdict: 0, decided: 0 };
        self.pre_can_relay_to.call_now(&mut args);
        if args.decided == VALIDATE_DONE {
            return Some(args.verdict != 0);
        }
        args.verdict = 0;
        self.domain_relay.call_now(&mut args).map(|_| args.verdict != 0)
    }
}

const VALIDATE_DONE: i64 = 1;
/// The type of a connection as documented; one of ESMTP is all that this crate has.
const CONNECTION: &str = "ESMTP";
/// A connection may be TLS one day, and its descriptor nobody's to read: none is given.
const NO_DESCRIPTOR: i64 = -1;
const CONNECTION_PARAMETERS: &[Parameter] =
    &[Parameter::new("char *", "conntype", Kind::Text), Parameter::number("fd"), Parameter::session("ac")];
