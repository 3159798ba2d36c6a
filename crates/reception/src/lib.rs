//! The ESMTP listener: session shell, validation phases, relay control, limits.
