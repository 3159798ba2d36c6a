//! The module `persist_io`: where copies lie and who may read them.

use config::{Declared, Generation, Lookup, Opt, Perms, Scope};
use hooks::HookSetBuilder;
use module::{Module, Setup, Stage};

use crate::{PersistDriver, Place};

const PERSIST_IO: &[Scope] = &[Scope::Module("persist_io")];

/// Where copies lie.
pub const PERSIST_PATH: Opt<String> = Opt::new(
    "persist_path",
    "\"/var/log/ecelerity/persist\"",
    PERSIST_IO,
    "The folder in which persist:// keeps its copies. What is included before this option is known is kept in the default folder too.",
);
/// Mode of the folder.
pub const DIRMODE: Opt<Perms> = Opt::new("dirmode", "0700", PERSIST_IO, "The mode of that folder when it is made.");
/// Mode of a copy.
pub const FILEMODE: Opt<Perms> = Opt::new("filemode", "0600", PERSIST_IO, "The mode of a copy.");

/// All of them.
pub const OPTIONS: &[&dyn Declared] = &[&PERSIST_PATH, &DIRMODE, &FILEMODE];

/// The module's `.ecm` file, for the catalogue of a daemon it is linked into.
pub const ECM: &str = include_str!("../persist_io.ecm");

/// The module.
pub struct PersistIo(PersistDriver);

impl PersistIo {
    /// The module that configures `driver`.
    pub fn new(driver: PersistDriver) -> Self {
        Self(driver)
    }
}

impl Module for PersistIo {
    fn name(&self) -> &str {
        NAME
    }

    fn description(&self) -> &str {
        "persist://: a local copy of what another URL last answered"
    }

    fn version(&self) -> &str {
        env!("CARGO_PKG_VERSION")
    }

    fn singleton(&self) -> bool {
        true
    }

    fn conf_setup(&self, setup: &mut Setup<'_>) -> Result<(), String> {
        setup.options(OPTIONS);
        Ok(())
    }

    fn ext_init(&self, _: Stage, _: &str, generation: &Generation, _: &mut HookSetBuilder) -> Result<(), String> {
        let lookup = Lookup::Module { module: NAME, instance: "" };
        self.0.configure(Place {
            folder: generation.get(&PERSIST_PATH, &lookup).into(),
            folder_mode: generation.get(&DIRMODE, &lookup).0,
            file_mode: generation.get(&FILEMODE, &lookup).0,
        });
        Ok(())
    }
}

const NAME: &str = "persist_io";
