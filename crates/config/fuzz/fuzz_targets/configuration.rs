//! Lexer, parser, references, merge, evaluation, printing and formatting over any bytes; see `tests/common/exercise.rs`.

#![no_main]

#[path = "../../tests/common/mod.rs"]
mod common;

use std::sync::LazyLock;

use common::Etc;
use common::exercise::{exercise, ground};

static ETC: LazyLock<Etc> = LazyLock::new(ground);

libfuzzer_sys::fuzz_target!(|text: &[u8]| {
    exercise(&ETC, text);
});
