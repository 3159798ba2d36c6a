//! See `config_tools::dump`.

use std::process::ExitCode;

fn main() -> ExitCode {
    config_tools::dump(std::env::args_os()).print()
}
