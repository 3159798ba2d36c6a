//! The contexts of one configuration generation: a renewed certificate comes with the next one, and closes nobody.
//!
//! Loading reads files and may block, so it belongs where a generation is prepared; a file that is wrong refuses the generation.
//! Taking a context is a look into a map. The keys of tickets outlive generations, so that a client that comes back after a reload
//! resumes; where clients are asked for certificates they do not, and every context has its own.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, LazyLock};

use io_wrapper::IoWrappers;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::ProducesTickets;

use crate::error::TlsError;
use crate::server::{ServerContext, ServerSetup};

/// The contexts of a generation, by what they were made from.
#[derive(Debug, Default)]
pub struct TlsContexts {
    servers: HashMap<ServerSetup, ServerContext>,
}

impl TlsContexts {
    /// Reads the files of a setup, unless that is done. `as_root`: a key that everyone can read is an error instead of a warning.
    /// Blocks.
    pub fn add(&mut self, setup: ServerSetup, wrappers: &IoWrappers, as_root: bool) -> Result<(), TlsError> {
        if let Entry::Vacant(place) = self.servers.entry(setup) {
            // A ticket stands for a handshake that was judged by this context's CAs: no other takes it, nor does the next one.
            let tickets = if place.key().asks_for_certificates() { Ticketer::new().ok() } else { TICKETS.clone() };
            let context = place.key().load(wrappers, as_root, &tickets.ok_or(TlsError::NoRandom)?)?;
            place.insert(context);
        }
        Ok(())
    }

    /// For handshakes with clients.
    pub fn server(&self, setup: &ServerSetup) -> Option<&ServerContext> {
        self.servers.get(setup)
    }
}

/// Turns its keys every six hours, and takes the ones before for as long again.
static TICKETS: LazyLock<Option<Arc<dyn ProducesTickets>>> = LazyLock::new(|| Ticketer::new().ok());
