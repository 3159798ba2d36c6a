//! The module `pipe_io`: where programs' output goes, and how long they may take to end.

use std::time::Duration;

use config::{Declared, Generation, Lookup, Opt, Perms, Scope, Seconds};
use hooks::HookSetBuilder;
use module::{Module, Setup, Stage};

use crate::{PipeDriver, Settings};

const PIPE_IO: &[Scope] = &[Scope::Module("pipe_io")];

const fn file(name: &'static str, doc: &'static str) -> Opt<String> {
    Opt::new(name, "\"\"", PIPE_IO, doc)
}

const fn mode(name: &'static str) -> Opt<Perms> {
    Opt::new(name, "0666", PIPE_IO, "The mode of that file when it is made, less the umask.")
}

/// Where standard output goes.
pub const OUTPUT_FILE: Opt<String> =
    file("output_file", "The file programs' standard output is appended to; nowhere if empty.");
/// Mode of that file.
pub const OUTPUT_MODE: Opt<Perms> = mode("output_mode");
/// Where standard error goes.
pub const ERROR_FILE: Opt<String> =
    file("error_file", "The file programs' standard error is appended to; nowhere if empty.");
/// Mode of that file.
pub const ERROR_MODE: Opt<Perms> = mode("error_mode");
/// How long a program may take to end.
pub const TIMEOUT: Opt<Seconds> = Opt::new(
    "timeout",
    "10",
    PIPE_IO,
    "How long a program may go on after its input has been closed; then it is killed.",
);

/// All of them.
pub const OPTIONS: &[&dyn Declared] = &[&OUTPUT_FILE, &OUTPUT_MODE, &ERROR_FILE, &ERROR_MODE, &TIMEOUT];

/// The module's `.ecm` file, for the catalogue of a daemon it is linked into.
pub const ECM: &str = include_str!("../pipe_io.ecm");

/// The module.
pub struct PipeIo(PipeDriver);

impl PipeIo {
    /// The module that configures `driver`.
    pub fn new(driver: PipeDriver) -> Self {
        Self(driver)
    }
}

impl Module for PipeIo {
    fn name(&self) -> &str {
        NAME
    }

    fn description(&self) -> &str {
        "pipe://: lines written to a program"
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
        self.0.configure(Settings {
            output_file: generation.get(&OUTPUT_FILE, &lookup),
            output_mode: generation.get(&OUTPUT_MODE, &lookup).0,
            error_file: generation.get(&ERROR_FILE, &lookup),
            error_mode: generation.get(&ERROR_MODE, &lookup).0,
            timeout: Duration::from_secs(generation.get(&TIMEOUT, &lookup).0),
            ..Settings::default()
        });
        Ok(())
    }
}

const NAME: &str = "pipe_io";
