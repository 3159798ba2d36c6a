//! A reader with a defect, for tests of what holds a defect: in a build with debug assertions a message that begins with a marked
//! field makes whatever looks into its parts panic. A release has no such message.

/// Panics over a marked message, if this build is one for tests.
pub(crate) fn provoke(plain: &[u8]) {
    if cfg!(debug_assertions) && memchr::memmem::find(header_section(plain), MARK).is_some() {
        panic!("a message that asks for a defect");
    }
}

fn header_section(plain: &[u8]) -> &[u8] {
    let end = memchr::memmem::find(plain, b"\r\n\r\n").unwrap_or(plain.len());
    &plain[..end]
}

const MARK: &[u8] = b"X-Postrider-Defect: panic";
