//! Changes to a configuration text that leave everything else as it stands, byte for byte.
//!
//! In: a text and places in it, as the parser found them. Out: the new text. What is added follows the layout around it:
//! its indentation, its line ends, one line or several. Knows no options.

use std::ops::Range;

/// What is added: a line, within stanzas that are not there yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Addition {
    /// `word "name"` of each stanza, outermost first.
    pub headings: Vec<String>,
    /// `name = value`.
    pub setting: String,
}

impl Addition {
    /// On lines of their own.
    fn lines(&self, indent: &str, layout: &Layout) -> String {
        let Layout { unit, newline } = layout;
        let deeper = |depth: usize| format!("{indent}{}", unit.repeat(depth));
        let mut out = String::new();
        for (depth, heading) in self.headings.iter().enumerate() {
            out.push_str(&format!("{}{heading} {{{newline}", deeper(depth)));
        }
        out.push_str(&format!("{}{}{newline}", deeper(self.headings.len()), self.setting));
        for depth in (0..self.headings.len()).rev() {
            out.push_str(&format!("{}}}{newline}", deeper(depth)));
        }
        out
    }

    /// On one line.
    pub fn line(&self) -> String {
        let open: String = self.headings.iter().map(|heading| format!("{heading} {{ ")).collect();
        format!("{open}{}{}", self.setting, " }".repeat(self.headings.len()))
    }
}

/// How a file is laid out.
struct Layout {
    /// One step of indentation.
    unit: String,
    newline: &'static str,
}

impl Layout {
    /// Taken from the first line that is indented; two blanks where none is.
    fn of(text: &str) -> Self {
        let indents = text.lines().filter(|line| !line.trim().is_empty()).map(indent_of);
        let first = indents.filter(|indent| !indent.is_empty()).map(str::to_owned).next();
        let unit = match first {
            Some(tabs) if tabs.starts_with('\t') => "\t".to_owned(),
            Some(blanks) if blanks.len() <= 8 => blanks,
            _ => "  ".to_owned(),
        };
        Layout { unit, newline: if text.contains("\r\n") { "\r\n" } else { "\n" } }
    }
}

/// A text and the changes to it, each told by the places of the text as it stands.
pub(crate) struct Editing<'t> {
    text: &'t str,
    layout: Layout,
    /// What takes the place of a range; ranges do not overlap.
    patches: Vec<(Range<usize>, String)>,
}

impl<'t> Editing<'t> {
    pub fn new(text: &'t str) -> Self {
        Editing { text, layout: Layout::of(text), patches: Vec::new() }
    }

    /// Something else in a range.
    pub fn replace(&mut self, range: Range<usize>, new: &str) {
        self.patches.push((range, new.to_owned()));
    }

    /// Additions before the closing brace of the stanza whose braces are at the ends of `braces`.
    pub fn insert(&mut self, braces: Range<usize>, additions: &[Addition]) {
        let (text, layout) = (self.text, &self.layout);
        let (open, close) = (braces.start, braces.end - 1);
        let line = line_start(text, close);
        let own = &text[line..close];
        if own.trim().is_empty() && open < line {
            let body = text[open..line].split_inclusive('\n').skip(1);
            let neighbour = body.filter(|line| !line.trim().is_empty()).map(indent_of).next();
            let indent = neighbour.map_or_else(|| format!("{own}{}", layout.unit), str::to_owned);
            let new = additions.iter().map(|addition| addition.lines(&indent, layout)).collect();
            return self.patches.push((line..line, new));
        }
        let before = if text[..close].ends_with(char::is_whitespace) { "" } else { " " };
        let new: String = additions.iter().map(|addition| addition.line() + " ").collect();
        self.patches.push((close..close, format!("{before}{new}")));
    }

    /// Additions at the end.
    pub fn append(&mut self, additions: &[Addition]) {
        let end = self.text.len();
        let gap = if self.text.is_empty() || self.text.ends_with('\n') { "" } else { self.layout.newline };
        let new: String = additions.iter().map(|addition| addition.lines("", &self.layout)).collect();
        self.patches.push((end..end, format!("{gap}{new}")));
    }

    /// The text with all changes, made in one pass.
    pub fn finish(mut self) -> String {
        self.patches.sort_by_key(|(range, _)| (range.start, range.end));
        let added: usize = self.patches.iter().map(|(_, new)| new.len()).sum();
        let mut out = String::with_capacity(self.text.len() + added);
        let mut done = 0;
        for (range, new) in &self.patches {
            out.push_str(&self.text[done..range.start]);
            out.push_str(new);
            done = range.end;
        }
        out.push_str(&self.text[done..]);
        out
    }
}

/// The text without a range; its line goes too if nothing else stands there. A comment behind it stays.
pub(crate) fn removed(text: &str, range: Range<usize>) -> String {
    let start = line_start(text, range.start);
    let end = text[range.end..].find('\n').map_or(text.len(), |at| range.end + at + 1);
    if text[start..range.start].trim().is_empty() && text[range.end..end].trim().is_empty() {
        return without(text, start..end);
    }
    let rest = &text[range.end..end];
    let blanks = rest.len() - rest.trim_start_matches([' ', '\t']).len();
    let at_end = rest.trim().is_empty();
    let before = text[start..range.start].trim_end_matches([' ', '\t']).len();
    match at_end {
        // Blanks in front of it would be left over at the end of the line.
        true => without(text, start + before..range.end),
        false => without(text, range.start..range.end + blanks),
    }
}

fn without(text: &str, range: Range<usize>) -> String {
    format!("{}{}", &text[..range.start], &text[range.end..])
}

fn line_start(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |newline| newline + 1)
}

fn indent_of(line: &str) -> &str {
    &line[..line.len() - line.trim_start_matches([' ', '\t']).len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(text: &str) -> Addition {
        Addition { headings: Vec::new(), setting: text.to_owned() }
    }

    fn braces(text: &str) -> Range<usize> {
        text.find('{').expect("an opening brace")..text.rfind('}').expect("a closing brace") + 1
    }

    fn with(text: &str, addition: &Addition) -> String {
        let mut editing = Editing::new(text);
        editing.insert(braces(text), std::slice::from_ref(addition));
        editing.finish()
    }

    fn appended(text: &str, addition: &Addition) -> String {
        let mut editing = Editing::new(text);
        editing.append(std::slice::from_ref(addition));
        editing.finish()
    }

    #[test]
    fn several_changes_stand_as_if_made_one_after_the_other() {
        let all = |text: &str| {
            let mut editing = Editing::new(text);
            editing.insert(braces(text), &[setting("y = 2"), setting("z = 3")]);
            editing.replace(text.find('1').expect("1")..text.find('1').expect("1") + 1, "11");
            editing.append(&[setting("end = 4")]);
            editing.finish()
        };
        assert_eq!(all("d {\n  x = 1\n}\n"), "d {\n  x = 11\n  y = 2\n  z = 3\n}\nend = 4\n");
        assert_eq!(all("d { x = 1 }"), "d { x = 11 y = 2 z = 3 }\nend = 4\n");
    }

    #[test]
    fn an_addition_is_laid_out_like_its_neighbours() {
        let added = setting("y = 2");
        assert_eq!(with("d \"a\" {\n    x = 1 # one\n}\n", &added), "d \"a\" {\n    x = 1 # one\n    y = 2\n}\n");
        assert_eq!(with("d {\r\n\tx = 1\r\n}\r\n", &added), "d {\r\n\tx = 1\r\n\ty = 2\r\n}\r\n");
        assert_eq!(with("d { x = 1 }", &added), "d { x = 1 y = 2 }");
        assert_eq!(with("d {}", &added), "d { y = 2 }");
        assert_eq!(with("d {\n}", &added), "d {\n  y = 2\n}");
        assert_eq!(with("d {\n  x = 1 }", &added), "d {\n  x = 1 y = 2 }");
    }

    #[test]
    fn stanzas_that_are_not_there_come_with_it() {
        let added = Addition { headings: vec!["b \"1\"".into(), "d \"2\"".into()], setting: "y = 2".into() };
        assert_eq!(
            with("g {\n   x = 1\n}", &added),
            "g {\n   x = 1\n   b \"1\" {\n      d \"2\" {\n         y = 2\n      }\n   }\n}"
        );
        assert_eq!(with("g { }", &added), "g { b \"1\" { d \"2\" { y = 2 } } }");
        assert_eq!(appended("x = 1", &added), "x = 1\nb \"1\" {\n  d \"2\" {\n    y = 2\n  }\n}\n");
        assert_eq!(appended("", &setting("y = 2")), "y = 2\n");
    }

    #[test]
    fn what_goes_takes_its_line_along_unless_something_else_stands_there() {
        let without = |text: &str| removed(text, text.find('x').expect("x")..text.find('1').expect("1") + 1);
        assert_eq!(without("a = 0\n  x = 1\nb = 2\n"), "a = 0\nb = 2\n");
        assert_eq!(without("a = 0\n  x = 1 # one\n"), "a = 0\n  # one\n");
        assert_eq!(without("d { x = 1 y = 2 }"), "d { y = 2 }");
        assert_eq!(without("d { x = 1 }"), "d { }");
        assert_eq!(without("a = 0 x = 1\nb = 2"), "a = 0\nb = 2");
        assert_eq!(without("x = 1"), "");
    }
}
