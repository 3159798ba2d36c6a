//! The spool: the IO chain and its backends, durable before the 250.
