//! Listener types by name: bind, accept, peer options and concurrency caps.
