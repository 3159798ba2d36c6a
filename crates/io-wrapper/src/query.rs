//! `name?key=value&key=value`: the parameters a URL brings for its driver. Pure.

use std::io;

/// What stands before the first `?`, and the parameters behind it in their order, percent-decoded (RFC 3986 2.1). A
/// parameter without `=` has an empty value.
pub fn parameters(rest: &str) -> io::Result<(&str, Vec<(String, String)>)> {
    let (name, query) = rest.split_once('?').unwrap_or((rest, ""));
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let decoded = pairs.map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        Ok((decode(key)?, decode(value)?))
    });
    Ok((name, decoded.collect::<io::Result<_>>()?))
}

fn decode(text: &str) -> io::Result<String> {
    let mut octets = Vec::with_capacity(text.len());
    let mut pieces = text.split('%');
    octets.extend_from_slice(pieces.next().unwrap_or_default().as_bytes());
    for piece in pieces {
        let hex = piece.get(..2).filter(|hex| hex.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let octet = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        octets.push(octet.ok_or_else(|| wrong(text, "a % must be followed by two hexadecimal digits"))?);
        octets.extend_from_slice(&piece.as_bytes()[2..]);
    }
    String::from_utf8(octets).map_err(|_| wrong(text, "is not UTF-8 when decoded"))
}

fn wrong(text: &str, why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("{text:?}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_and_keep_their_order() {
        let (name, found) = parameters("/bin/a b?arg2=x%20y%3D1&arg1=&flag&env1=A=b").unwrap();
        let pairs: Vec<_> = found.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(name, "/bin/a b");
        assert_eq!(pairs, [("arg2", "x y=1"), ("arg1", ""), ("flag", ""), ("env1", "A=b")]);
        assert_eq!(parameters("/plain").unwrap(), ("/plain", Vec::new()));
    }

    #[test]
    fn half_an_escape_is_refused() {
        for text in ["?a=%", "?a=%4", "?a=%zz", "?a=%ff", "?a=%\u{e4}x", "?a=%+1"] {
            assert!(parameters(text).is_err(), "{text}");
        }
    }
}
