//! See `config_tools::manual`.

use std::process::ExitCode;

fn main() -> ExitCode {
    config_tools::manual(std::env::args_os()).print()
}
