//! The importlog: what was taken in from another spool (reference: log-formats.md section 6).

use std::io::Write as _;

use crate::acctlog::put_field;
use crate::line::Stamp;
use crate::record::ImportRecord;

/// Appends one line: `ts@old_mid@I@new_mid@result@spool_dir`.
pub fn import(out: &mut Vec<u8>, stamp: Stamp, record: &ImportRecord<'_>) {
    stamp.put(out, record.at);
    // A vector takes everything.
    let _ = write!(out, "@{}@I@{}@{}", record.old, record.new, record.result as u8);
    put_field(out, record.directory);
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mainlog::tests::line;
    use crate::record::ImportResult;
    use message::MessageId;
    use std::time::Duration;

    #[test]
    fn a_line_names_both_ids_the_result_and_the_directory() {
        let (old, new) = (MessageId::from_bits(1 << 32), MessageId::from_bits(2 << 32));
        let at = Duration::from_secs(1_790_000_021);
        let record = ImportRecord { at, old, new, result: ImportResult::BodyUnreadable, directory: "/old@spool" };
        let written = line(|out| import(out, Stamp::Seconds, &record));
        assert_eq!(written, format!("1790000021@{old}@I@{new}@3@/old\\@spool\n"));
    }
}
