//! A folder of other things is told apart from one that holds no message.

use std::sync::Arc;

use spool::disk::RealDisk;
use spool::import::Source;

#[test]
fn a_message_without_its_envelope_is_no_export() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Source::open(dir.path(), Vec::new(), Arc::new(RealDisk)).unwrap();
    assert!(open().is_known(), "an empty folder holds no message, and that is true");
    std::fs::write(dir.path().join("letter.eml"), "Subject: hello\r\n\r\nhello\r\n").unwrap();
    assert_eq!(open().units().unwrap().1, 0);
    assert!(!open().is_known());
}
