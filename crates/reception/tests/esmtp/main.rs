//! The ESMTP listener on real sockets: a client talks, a memory spool and a queue's end listen.

mod bounces;
mod changes;
mod conformance;
mod house;
mod listeners;
mod messages;
mod policy;
mod probed;
