//! What a server offers in its reply to EHLO (RFC 5321 4.1.1.1, 2.2).

/// The service extensions a client session can use. All absent after HELO.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extensions {
    /// PIPELINING (RFC 2920).
    pub pipelining: bool,
    /// 8BITMIME (RFC 6152).
    pub eight_bit_mime: bool,
    /// ENHANCEDSTATUSCODES (RFC 2034).
    pub enhanced_status_codes: bool,
    /// SIZE (RFC 1870): the limit in octets; zero if it is offered without one.
    pub size: Option<u64>,
    /// STARTTLS (RFC 3207).
    pub start_tls: bool,
    /// CHUNKING (RFC 3030).
    pub chunking: bool,
    /// SMTPUTF8 (RFC 6531).
    pub smtp_utf8: bool,
    /// DSN (RFC 3461).
    pub dsn: bool,
}

impl Extensions {
    /// Reads the text of a 250 to EHLO, lines joined by `\n`; the first line is the server's name. What is not known is
    /// passed over, and so is a SIZE whose number is none.
    pub fn parse(text: &str) -> Self {
        let mut offered = Self::default();
        for line in text.split('\n').skip(1) {
            let mut words = line.split_ascii_whitespace();
            let keyword = words.next().unwrap_or("").to_ascii_uppercase();
            match keyword.as_str() {
                "PIPELINING" => offered.pipelining = true,
                "8BITMIME" => offered.eight_bit_mime = true,
                "ENHANCEDSTATUSCODES" => offered.enhanced_status_codes = true,
                "STARTTLS" => offered.start_tls = true,
                "CHUNKING" => offered.chunking = true,
                "SMTPUTF8" => offered.smtp_utf8 = true,
                "DSN" => offered.dsn = true,
                "SIZE" => offered.size = Some(words.next().and_then(|octets| octets.parse().ok()).unwrap_or(0)),
                _ => {}
            }
        }
        offered
    }

    /// Whether a message of that many octets is over the server's declared limit.
    pub fn refuses_size(&self, octets: u64) -> bool {
        self.size.is_some_and(|limit| limit != 0 && limit < octets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_are_read_whatever_their_case_and_order() {
        let offered = Extensions::parse("mx.example.test\nsize 1000\nPipelining\nX-ODD y\n8BITMIME\nSTARTTLS");
        let expected = Extensions {
            pipelining: true,
            eight_bit_mime: true,
            size: Some(1000),
            start_tls: true,
            ..Extensions::default()
        };
        assert_eq!(offered, expected);
        assert!(offered.refuses_size(1001) && !offered.refuses_size(1000));
        assert!(!Extensions::parse("PIPELINING").pipelining, "the first line is a name");
        assert!(!Extensions::parse("x\nSIZE").refuses_size(u64::MAX));
    }
}
