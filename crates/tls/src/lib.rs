//! TLS contexts for both directions, with reload.
