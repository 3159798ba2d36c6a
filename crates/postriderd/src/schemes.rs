//! The kinds of names this build can open, and the modules that set them up.
//!
//! Made before the configuration is read, which may itself include a URL.

use std::sync::Arc;

use http_io::{HttpDriver, HttpIo, Limits, Roots};
use io_wrapper::{Error, IoWrappers};
use module::Module;
use persist_io::{PersistDriver, PersistIo, Place};

/// Every scheme, with its driver registered.
pub struct Schemes {
    /// Opens them.
    pub files: IoWrappers,
    persist: PersistDriver,
}

impl Schemes {
    /// Registers the drivers of this build.
    pub fn register() -> Result<Self, Error> {
        let files = IoWrappers::new();
        let place = Place { folder: Place::FOLDER.into(), folder_mode: 0o700, file_mode: 0o600 };
        let persist = PersistDriver::new(files.clone(), place);
        for driver in HttpDriver::both(Limits::default(), &Roots::System) {
            files.register(Arc::new(driver))?;
        }
        files.register(Arc::new(persist.clone()))?;
        Ok(Self { files, persist })
    }

    /// The `.ecm` files of the modules behind the schemes.
    pub const DESCRIBED: [(&str, &str); 2] = [("http_io.ecm", http_io::ECM), ("persist_io.ecm", persist_io::ECM)];

    /// The modules behind the schemes.
    pub fn modules(&self) -> Vec<Arc<dyn Module>> {
        vec![Arc::new(HttpIo), Arc::new(PersistIo::new(self.persist.clone()))]
    }
}
