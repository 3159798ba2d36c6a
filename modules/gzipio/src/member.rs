//! One gzip member that tells its own length, in an extra field that other programs skip (RFC 1952 2.3.1.1). Pure.

use std::io::{self, Read as _, Write as _};

use flate2::{Compression, GzBuilder, bufread::GzDecoder};

/// What is read to see how long a member of ours is.
pub(crate) const HEAD_OCTETS: usize = 20;

/// What stands at the start of some octets.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Head {
    /// A member of ours, so many octets long.
    Ours(u64),
    /// The beginning of one, cut off.
    Cut,
    /// Anything else.
    Foreign,
}

/// A whole member.
pub(crate) fn member(plain: &[u8]) -> io::Result<Vec<u8>> {
    let extra = [FIELD.as_slice(), &[0; 4]].concat();
    let mut encoder = GzBuilder::new().extra(extra).write(Vec::new(), Compression::default());
    encoder.write_all(plain)?;
    let mut octets = encoder.finish()?;
    let length = u32::try_from(octets.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
    octets[LENGTH_AT..HEAD_OCTETS].copy_from_slice(&length.to_le_bytes());
    Ok(octets)
}

pub(crate) fn head(octets: &[u8]) -> Head {
    // Time, flags of the compressor and system are of no interest.
    let same = |at: usize, octet: u8| (4..10).contains(&at) || octet == START[at];
    let known = octets.len().min(LENGTH_AT);
    if !octets[..known].iter().enumerate().all(|(at, &octet)| same(at, octet)) {
        return Head::Foreign;
    }
    match octets.get(LENGTH_AT..HEAD_OCTETS).and_then(|length| length.try_into().ok()) {
        Some(length) => Head::Ours(u32::from_le_bytes(length).into()),
        None => Head::Cut,
    }
}

/// Whether the octets are one whole, undamaged member.
pub(crate) fn is_whole(octets: &[u8]) -> bool {
    io::copy(&mut GzDecoder::new(octets).take(u64::MAX), &mut io::sink()).is_ok()
}

/// Compressed by deflate, an extra field of eight octets, which is `PR` with four octets.
const START: [u8; LENGTH_AT] = [0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0, 8, 0, b'P', b'R', 4, 0];
const FIELD: [u8; 4] = [b'P', b'R', 4, 0];
const LENGTH_AT: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_tells_its_length_and_whether_it_is_whole() {
        let octets = member(b"some text").unwrap();
        assert_eq!(head(&octets), Head::Ours(octets.len() as u64));
        assert!(is_whole(&octets));
        for cut in 1..octets.len() {
            assert!(!is_whole(&octets[..cut]), "{cut}");
            let expected = if cut < HEAD_OCTETS { Head::Cut } else { Head::Ours(octets.len() as u64) };
            assert_eq!(head(&octets[..cut]), expected, "{cut}");
        }
        assert_eq!(head(b"plain text, and more of it"), Head::Foreign);
    }
}
