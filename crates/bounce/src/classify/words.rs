//! A reply as the classifier reads it: its codes, and its words without anything that says nothing.
//!
//! Words are lower case ASCII where the alphabet allows (`ä` is `ae`, `é` is `e`), parted by single blanks, with a blank at both
//! ends. Punctuation is a blank, an apostrophe nothing unless one letter stands before it; `addr` stands for a mail address and `ipaddr` for an IP address, so that
//! the name of a mailbox or a host is not taken for a reason. Codes that are repeated on each line of a long reply are left out.

use std::net::IpAddr;

use smtp::reply::{Enhanced, parse_enhanced};

/// A reply taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Words {
    /// The reply code.
    pub(super) code: Option<u16>,
    /// The first enhanced status code, wherever it stands.
    pub(super) enhanced: Option<Enhanced>,
    /// It is marked as this daemon's own.
    pub(super) is_local: bool,
    /// ` like this `.
    pub(super) text: String,
}

impl Words {
    /// Takes a reply apart.
    pub(super) fn of(reply: &str) -> Self {
        let mut words = Self { text: String::with_capacity(reply.len() + 8), ..Self::default() };
        words.text.push(' ');
        let reply = words.take_code(reply.trim_start());
        for (place, token) in reply.split_whitespace().enumerate() {
            words.add(place, token);
        }
        words
    }

    /// The failure may pass: 4yz, or 4.y.z without a reply code.
    pub(super) fn is_transient(&self) -> bool {
        match self.code {
            Some(code) => code < 500,
            None => self.enhanced.is_some_and(|(class, ..)| class == 4),
        }
    }

    fn take_code<'a>(&mut self, reply: &'a str) -> &'a str {
        let digits = reply.bytes().take_while(u8::is_ascii_digit).count();
        let ends = reply[digits..].chars().next().is_none_or(|after| !after.is_alphanumeric() && after != '.');
        match reply[..digits].parse() {
            Ok(code @ 200..=599) if digits == 3 && ends => {
                self.code = Some(code);
                reply[3..].trim_start_matches(['-', ' '])
            }
            _ => reply,
        }
    }

    fn add(&mut self, place: usize, token: &str) {
        if place < MARK_PLACES && token == "[internal]" {
            self.is_local = true;
        } else if !self.is_code(token) {
            self.add_words(token);
        }
    }

    /// `5.1.1`, `(#5.1.1)`, and, within a reply of several lines, `550-5.1.1`, `550-` and `550`.
    fn is_code(&mut self, token: &str) -> bool {
        let bare = token.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        let (code, rest) = match bare.split_once('-') {
            Some((code, rest)) => (code, rest),
            None => (bare, bare),
        };
        let repeats = code.len() == 3 && code.parse().ok() == self.code && self.code.is_some();
        match parse_enhanced(if repeats || code == rest { rest } else { bare }) {
            Some(enhanced) if enhanced.1 <= SUBJECT_MAX => {
                self.enhanced = self.enhanced.or(Some(enhanced));
                true
            }
            _ => repeats && (rest == code || rest.is_empty()),
        }
    }

    fn add_words(&mut self, token: &str) {
        let bare = token.trim_matches(|c: char| !c.is_alphanumeric());
        if bare.parse::<IpAddr>().is_ok() {
            return self.text.push_str("ipaddr ");
        }
        let rest = match bare.find('@') {
            Some(at) if 0 < at && at + 1 < bare.len() => {
                self.text.push_str("addr ");
                // What is glued to an address: `ann@shop.example...User`, `<ann@shop.example>:`.
                let domain = bare[at + 1..].find(|c: char| !c.is_alphanumeric() && c != '-' && c != '.');
                let end = [domain, bare[at + 1..].find("..")].into_iter().flatten().min();
                end.map_or("", |end| &bare[at + 1 + end..])
            }
            _ => bare,
        };
        for c in rest.chars() {
            match c {
                // `n'existe` and `l'adresse` are two words, `doesn't` is one.
                '\'' | '’' if self.has_letter_before() => self.end_word(),
                '\'' | '’' => {}
                c if c.is_ascii_alphanumeric() => self.text.push(c.to_ascii_lowercase()),
                c if c.is_alphabetic() => self.add_letter(c),
                _ => self.end_word(),
            }
        }
        self.end_word();
    }

    fn end_word(&mut self) {
        if !self.text.ends_with(' ') {
            self.text.push(' ');
        }
    }

    /// The word so far is one letter.
    fn has_letter_before(&self) -> bool {
        let mut before = self.text.bytes().rev();
        before.next().is_some_and(|letter| letter != b' ') && before.next() == Some(b' ')
    }

    fn add_letter(&mut self, c: char) {
        let plain = match c {
            'ä' | 'Ä' => "ae",
            'ö' | 'Ö' => "oe",
            'ü' | 'Ü' => "ue",
            'ß' => "ss",
            'á' | 'à' | 'â' | 'ã' | 'Á' | 'À' | 'Â' => "a",
            'é' | 'è' | 'ê' | 'ë' | 'É' | 'È' | 'Ê' => "e",
            'í' | 'ì' | 'î' | 'ï' => "i",
            'ó' | 'ò' | 'ô' | 'õ' => "o",
            'ú' | 'ù' | 'û' => "u",
            'ç' | 'Ç' => "c",
            'ñ' => "n",
            _ => return self.text.extend(c.to_lowercase()),
        };
        self.text.push_str(plain);
    }
}

/// `[internal]` stands right behind the codes.
const MARK_PLACES: usize = 2;
/// RFC 3463 section 4 knows no subject above it; what looks like a code with a higher one is a number of something else.
const SUBJECT_MAX: u16 = 7;

#[cfg(test)]
mod tests {
    use super::*;

    fn text(reply: &str) -> String {
        Words::of(reply).text.trim().to_owned()
    }

    #[test]
    fn codes_are_taken_out_wherever_they_stand() {
        let words = Words::of("550-5.7.1 fails to 550-5.7.1 pass checks. 550 5.7.1 See 550-5.7.1");
        assert_eq!((words.code, words.enhanced, words.is_local), (Some(550), Some((5, 7, 1)), false));
        assert_eq!(words.text, " fails to pass checks see ");
        assert_eq!(Words::of("Sorry, no mailbox here. (#5.1.1)").enhanced, Some((5, 1, 1)));
        assert_eq!(Words::of("5.1.1 - Bad host").enhanced, Some((5, 1, 1)));
        assert_eq!(Words::of("450 see [#4.16.5] or 4.16.50.1").enhanced, None);
        assert_eq!(text("550 over 100 of 550 and 5500"), "over 100 of and 5500");
    }

    #[test]
    fn names_are_not_words() {
        assert_eq!(text("550 <spam@virus.example>: User unknown"), "addr user unknown");
        assert_eq!(text("550 ann@shop.example...User unknown"), "addr user unknown");
        assert_eq!(text("554 [192.0.2.7] and 2001:db8::1 are listed"), "ipaddr and ipaddr are listed");
        assert_eq!(text("554 https://zen.example/?p=NoSuchUser"), "https zen example p nosuchuser");
        assert_eq!(text("550 @ user@ @host"), "user host");
    }

    #[test]
    fn letters_become_plain_and_apostrophes_nothing() {
        assert_eq!(
            text("550 Empfänger gelöscht, ß: doesn't n’existe Été"),
            "empfaenger geloescht ss doesnt n existe ete"
        );
        assert_eq!(text("550 ящик НЕ найден"), "ящик не найден");
    }

    #[test]
    fn only_what_stands_behind_the_codes_marks_a_reply_as_local() {
        assert!(Words::of("554 5.4.7 [internal] x").is_local);
        assert!(Words::of("554 [internal] x").is_local);
        assert!(!Words::of("554 5.4.7 he said: 450 4.4.4 [internal] x").is_local);
    }
}
