//! The contexts of one configuration generation: a renewed certificate comes with the next one, and closes nobody.
//!
//! Loading reads files and may block, so it belongs where a generation is prepared; a file that is wrong refuses the generation.
//! Taking a context is a look into a map. The keys of tickets outlive generations, so that a client that comes back after a reload
//! resumes.

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
    /// Reads the files of every setup. `as_root`: a key that everyone can read is an error instead of a warning. Blocks.
    pub fn load(
        servers: impl IntoIterator<Item = ServerSetup>,
        wrappers: &IoWrappers,
        as_root: bool,
    ) -> Result<Self, TlsError> {
        let mut contexts = Self::default();
        for setup in servers {
            if let Entry::Vacant(place) = contexts.servers.entry(setup) {
                let tickets = TICKETS.clone().ok_or(TlsError::NoRandom)?;
                let context = place.key().load(wrappers, as_root, &tickets)?;
                place.insert(context);
            }
        }
        Ok(contexts)
    }

    /// For handshakes with clients.
    pub fn server(&self, setup: &ServerSetup) -> Option<&ServerContext> {
        self.servers.get(setup)
    }
}

/// Turns its keys every six hours, and takes the ones before for as long again.
static TICKETS: LazyLock<Option<Arc<dyn ProducesTickets>>> = LazyLock::new(|| Ticketer::new().ok());
