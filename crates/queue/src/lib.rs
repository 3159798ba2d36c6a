//! Domain queues: active and delayed messages, the retry schedule, expiry.
