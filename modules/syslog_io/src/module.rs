//! The module `syslog_io`: how lines are labelled.

use config::{Declared, Generation, Lookup, Opt, Scope};
use hooks::HookSetBuilder;
use module::{Module, Setup, Stage};

use crate::address::facility;
use crate::{Defaults, SyslogDriver};

const SYSLOG_IO: &[Scope] = &[Scope::Module("syslog_io")];

/// The tag.
pub const IDENT: Opt<String> = Opt::new("ident", "\"ecelerity\"", SYSLOG_IO, "The tag of lines in the system log.");
/// The facility.
pub const DEFAULT_FACILITY: Opt<String> =
    Opt::new("default_facility", "\"mail\"", SYSLOG_IO, "The facility of a syslog:// name that does not say another.")
        .check(|word: &String| facility(word).map(|_| ()).map_err(|error| error.to_string()));

/// All of them.
pub const OPTIONS: &[&dyn Declared] = &[&IDENT, &DEFAULT_FACILITY];

/// The module's `.ecm` file, for the catalogue of a daemon it is linked into.
pub const ECM: &str = include_str!("../syslog_io.ecm");

/// The module.
pub struct SyslogIo(SyslogDriver);

impl SyslogIo {
    /// The module that configures `driver`.
    pub fn new(driver: SyslogDriver) -> Self {
        Self(driver)
    }
}

impl Module for SyslogIo {
    fn name(&self) -> &str {
        NAME
    }

    fn description(&self) -> &str {
        "syslog://: lines sent to the system log"
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
        let (ident, facility) = (generation.get(&IDENT, &lookup), generation.get(&DEFAULT_FACILITY, &lookup));
        self.0.configure(Defaults { ident, facility });
        Ok(())
    }
}

const NAME: &str = "syslog_io";
