//! The resolver: MX routing data from DNS with caches and local overrides.
