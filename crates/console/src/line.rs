//! A command line cut into words.
//!
//! Words are separated by blanks. A word that begins with `'` or `"` reaches to the same mark and may hold blanks; inside
//! `"…"` the pairs `\"` and `\\` stand for `"` and `\`, inside `'…'` nothing is special. A mark or a backslash anywhere else
//! is an ordinary character, so `can't` and `\.example$` need no quoting. An unquoted `--json` anywhere, or `json` as the
//! first of several words, asks for JSON and is taken out of the line; `xml` in that place is refused.

/// One word, and where it stood in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Word {
    text: String,
    start: usize,
    end: usize,
    quoted: bool,
}

/// A command line after the words that choose the format were taken out.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line {
    source: String,
    words: Vec<Word>,
    pub(crate) json: bool,
}

impl Line {
    /// Cuts `text`. The error is a sentence for the operator.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut line = Self { source: text.to_owned(), words: words_of(text)?, json: false };
        if 1 < line.words.len() && !line.words[0].quoted {
            match line.words[0].text.as_str() {
                "json" => line.take_out(0),
                "xml" => return Err("XML output is not offered; put --json on the line for JSON".to_owned()),
                _ => {}
            }
        }
        while let Some(at) = line.words.iter().position(|word| !word.quoted && word.text == "--json") {
            line.take_out(at);
        }
        Ok(line)
    }

    fn take_out(&mut self, at: usize) {
        self.json = true;
        let word = self.words.remove(at);
        // The blanks before the word go with it; those before the first word stay with the next one.
        let start = if at == 0 { word.start } else { self.words[at - 1].end };
        self.source.replace_range(start..word.end, "");
        for later in &mut self.words[at..] {
            later.start -= word.end - start;
            later.end -= word.end - start;
        }
    }

    /// The words, without their quotes.
    pub(crate) fn words(&self) -> impl ExactSizeIterator<Item = &str> {
        self.words.iter().map(|word| word.text.as_str())
    }

    /// The text as typed after the first `count` words; blanks at its end are kept.
    pub(crate) fn rest_after(&self, count: usize) -> &str {
        let from = count.checked_sub(1).and_then(|last| self.words.get(last)).map_or(0, |word| word.end);
        self.source[from..].trim_start()
    }
}

fn words_of(text: &str) -> Result<Vec<Word>, String> {
    let mut words = Vec::new();
    let mut at = 0;
    while let Some(blanks) = text[at..].find(|c: char| !c.is_whitespace()) {
        let start = at + blanks;
        let word = word_at(text, start)?;
        at = word.end;
        words.push(word);
    }
    Ok(words)
}

fn word_at(text: &str, start: usize) -> Result<Word, String> {
    let mut chars = text[start..].char_indices().peekable();
    let mark = chars.next_if(|(_, c)| matches!(c, '"' | '\'')).map(|(_, c)| c);
    let mut open = mark.is_some();
    let mut word = String::new();
    while let Some(&(offset, c)) = chars.peek() {
        if !open && c.is_whitespace() {
            return Ok(Word { text: word, start, end: start + offset, quoted: mark.is_some() });
        }
        chars.next();
        if open && Some(c) == mark {
            open = false;
        } else if open && mark == Some('"') && c == '\\' {
            let escaped = chars.next_if(|(_, next)| matches!(next, '"' | '\\'));
            word.push(escaped.map_or('\\', |(_, next)| next));
        } else {
            word.push(c);
        }
    }
    if open {
        return Err(format!("the quote opened at {} is not closed", &text[start..]));
    }
    Ok(Word { text: word, start, end: text.len(), quoted: mark.is_some() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        Line::parse(text).unwrap().words().map(str::to_owned).collect()
    }

    #[test]
    fn words_are_separated_by_blanks_and_may_be_quoted() {
        assert_eq!(words("  flush\tdomain  all "), ["flush", "domain", "all"]);
        assert_eq!(words(r#"a "b c" 'd "e"' "f \"g\" \\ \n" """#), ["a", "b c", "d \"e\"", "f \"g\" \\ \\n", ""]);
        assert_eq!(words(r"config show domain \.example$ can't"), ["config", "show", "domain", r"\.example$", "can't"]);
        assert_eq!(words(""), Vec::<String>::new());
    }

    #[test]
    fn an_open_quote_is_refused() {
        let error = Line::parse("fail domain x 'no such").unwrap_err();
        assert_eq!(error, "the quote opened at 'no such is not closed");
    }

    #[test]
    fn json_is_asked_for_by_a_word_anywhere_or_in_front() {
        let line = Line::parse("fail domain a.example --json 554  gone").unwrap();
        assert!(line.json);
        assert_eq!(line.rest_after(2), "a.example 554  gone");
        let line = Line::parse("json summary").unwrap();
        assert!(line.json);
        assert_eq!(line.words().collect::<Vec<_>>(), ["summary"]);
        assert!(Line::parse("--json pid").unwrap().json);
        assert!(!Line::parse("fail domain x '--json'").unwrap().json);
        assert!(!Line::parse("json").unwrap().json);
    }

    #[test]
    fn xml_is_refused_with_the_way_out() {
        assert_eq!(
            Line::parse("xml memory").unwrap_err(),
            "XML output is not offered; put --json on the line for JSON"
        );
    }

    #[test]
    fn the_rest_is_the_text_as_typed() {
        let line = Line::parse("config set x = \"a  b\" ").unwrap();
        assert_eq!(line.rest_after(2), "x = \"a  b\" ");
        assert_eq!(line.rest_after(99), "config set x = \"a  b\" ");
        assert_eq!(Line::parse("pid").unwrap().rest_after(1), "");
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_cut_or_refused_and_the_rest_is_always_there(text in "(json |xml )?([a-zä'\"\\\\\u{2003} ]|--json){0,24}") {
            if let Ok(line) = Line::parse(&text) {
                for count in 0..=line.words().len() {
                    proptest::prop_assert!(line.source.ends_with(line.rest_after(count)));
                }
            }
        }
    }
}
