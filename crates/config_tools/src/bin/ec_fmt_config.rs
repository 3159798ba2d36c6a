//! See `config_tools::format`.

use std::process::ExitCode;

fn main() -> ExitCode {
    config_tools::format(std::env::args_os()).print()
}
