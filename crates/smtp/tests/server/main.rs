//! The server session from outside: transcripts, properties, and another grammar as a witness.

mod dialogue;
mod properties;
mod transcripts;
