//! Why a provider or a hook of a module's own is refused. For the operator: the module's generation is.

use std::fmt;

/// A registration that is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookError {
    /// Nobody declares that hook.
    Unknown {
        /// The hook.
        hook: String,
    },
    /// It is documented, and what would call it is not built yet.
    Awaited {
        /// The hook.
        hook: String,
        /// What it waits for.
        room: &'static str,
    },
    /// The hook is declared with another prototype.
    Prototype {
        /// The hook.
        hook: String,
        /// The parameter types as declared.
        declared: String,
        /// As the provider has them.
        offered: String,
    },
    /// A module declares a hook that the daemon has.
    Taken {
        /// The hook.
        hook: String,
    },
}

impl fmt::Display for HookError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HookError::Unknown { hook } => {
                write!(
                    f,
                    "no hook is called {hook}, and nobody would call a provider of it; module hooks lists all of them"
                )
            }
            HookError::Awaited { hook, room } => write!(
                f,
                "hook {hook} is documented, but nothing calls it before there is {room}; a provider of it would never run"
            ),
            HookError::Prototype { hook, declared, offered } => {
                write!(
                    f,
                    "hook {hook} takes {declared}, and the provider {offered}; build the module with this daemon's headers"
                )
            }
            HookError::Taken { hook } => {
                write!(f, "hook {hook} is the daemon's own; a hook of a module needs a scope of its own")
            }
        }
    }
}

impl std::error::Error for HookError {}
