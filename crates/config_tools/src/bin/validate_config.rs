//! See `config_tools::validate`.

use std::process::ExitCode;

fn main() -> ExitCode {
    config_tools::validate(std::env::args_os()).print()
}
