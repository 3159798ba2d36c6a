//! `config set` as it is typed: which words are the scope, which is the option, and what is the value.
//!
//! `[SCOPE [NAME]...] OPTION [=] VALUE`. The first `=` outside quotes and lists ends the option; without one, scope words
//! are taken as long as they are scopes and enough is left for an option and a value. A word that stands for itself need
//! not be quoted for characters the file would want quotes for, because here nothing follows it.

use crate::console::ScopePath;
use crate::generation::Generation;
use crate::kinds::Naming;
use crate::lexer::is_smart_quote;
use crate::parser::parse_value;
use crate::suggest::hint;
use crate::tree::{Quote, Scalar, Value, ValueKind};

/// What `config set` asks for.
#[derive(Debug)]
pub(crate) struct Assigned {
    pub path: ScopePath,
    pub option: String,
    pub value: Value,
}

/// A word and where it ends.
struct Typed {
    text: String,
    quoted: bool,
    end: usize,
}

impl Generation {
    /// Reads what follows `config set`.
    pub(crate) fn assignment(&self, line: &str) -> Result<Assigned, String> {
        let (left, value) = match equals_at(line) {
            Some(at) => (&line[..at], Some(&line[at + 1..])),
            None => (line, None),
        };
        let words = words_of(left)?;
        let scope_words = match value {
            Some(_) => words.len().saturating_sub(1),
            None => self.scope_words(&words),
        };
        let option =
            words.get(scope_words).ok_or("name an option and a value: config set [SCOPE...] OPTION = VALUE")?;
        let value = value.unwrap_or_else(|| &line[option.end..]).trim();
        let scope: Vec<&str> = words[..scope_words].iter().map(|word| word.text.as_str()).collect();
        let path = self.scope_path(&scope)?;
        if self.name_id(&option.text).is_none() {
            return Err(self.no_option(&option.text));
        }
        if value.is_empty() {
            return Err(format!("{} needs a value; an empty one is \"\"", option.text));
        }
        let value = value_of(value).map_err(|problem| self.scope_without_name(&option.text).unwrap_or(problem))?;
        Ok(Assigned { path, option: option.text.clone(), value })
    }

    /// What is wrong with a word that is no option.
    fn no_option(&self, word: &str) -> String {
        if ["include", "readonly_include", "if_env"].iter().any(|own| own.eq_ignore_ascii_case(word)) {
            return format!("'{word}' is a line of a file and no option: write it into a file, then config reload");
        }
        let known = self.registry.all_names().chain(self.registry.all_stanzas());
        self.scope_without_name(word).unwrap_or_else(|| format!("Unknown option '{word}'{}", hint(word, known)))
    }

    /// What is wrong where a scope stands and its name, or the option in it, was left out.
    fn scope_without_name(&self, word: &str) -> Option<String> {
        let named = match self.registry.kind(&word.to_ascii_lowercase())?.naming {
            Naming::Anonymous => "",
            Naming::Named => " NAME",
            Naming::Free => " [NAME]",
        };
        let command = format!("config set {word}{named} OPTION = VALUE");
        Some(format!("'{word}' is a scope, and something is left out: {command}"))
    }

    /// How many of the words are the scope, when no `=` tells the option.
    fn scope_words(&self, words: &[Typed]) -> usize {
        // No option has a colon in its name: it is the path of a scope, as `config locate` shows it.
        if words.first().is_some_and(|word| word.text.contains(':')) {
            return 1;
        }
        let mut at = 0;
        while let Some(word) = words.get(at).filter(|word| !word.quoted) {
            let Some(kind) = self.registry.kind(&word.text.to_ascii_lowercase()) else { break };
            let named = match kind.naming {
                Naming::Anonymous => false,
                Naming::Named => true,
                // A name that is also an option is read as the option.
                Naming::Free => words.get(at + 1).is_some_and(|name| name.quoted || self.name_id(&name.text).is_none()),
            };
            let next = at + 1 + usize::from(named);
            if words.len() < next + 2 {
                break;
            }
            at = next;
        }
        at
    }
}

/// A value as typed; what the file would want quotes for gets them.
///
/// A list or a string that stands in quotes as a whole is what is left of a shell word: the quotes are the client's.
fn value_of(text: &str) -> Result<Value, String> {
    let read = |text: &str| parse_value(text).or_else(|| plain_list(text));
    if let Some(value) = read(text) {
        let word = value.scalar().filter(|scalar| scalar.quote() != Quote::Bare).map(|scalar| scalar.text());
        let inner = word.filter(|word| word.starts_with(['(', '[', '"', '\''])).and_then(|word| read(&word));
        return Ok(inner.unwrap_or(value));
    }
    if let Some(mark) = text.chars().next().filter(|first| is_smart_quote(*first)) {
        let plain = text.trim_matches(is_smart_quote);
        return Err(format!("typographic quotation mark {mark} where a plain \" belongs: write \"{plain}\""));
    }
    let quoted = match text.as_bytes() {
        [b'(' | b'[' | b'"' | b'\'', ..] => None,
        _ if text.contains(char::is_whitespace) || text.contains(['"', '#']) => None,
        _ => Some(Value { kind: ValueKind::Scalar(Scalar::from_text(text)), ..Value::from_text("") }),
    };
    quoted.ok_or_else(|| {
        format!("`{text}` is not a value: quote it if it contains blanks or # \" {{ }}, write a list as ( a b ) and a dictionary as [ k = v ]")
    })
}

/// A list of words none of which is quoted, though a file would want quotes for some.
fn plain_list(text: &str) -> Option<Value> {
    let inner = text.strip_prefix('(')?.strip_suffix(')')?;
    if inner.contains(['"', '\'', '(', ')', '[', ']', '{', '}', '=', '#', '$']) {
        return None;
    }
    let words = inner.split([' ', '\t', ',']).filter(|word| !word.is_empty());
    Some(Value { kind: ValueKind::Array(words.map(Scalar::from_text).collect()), ..Value::from_text("") })
}

/// The first `=` that stands outside quotes and lists.
fn equals_at(line: &str) -> Option<usize> {
    let mut quote = None;
    for (at, c) in line.char_indices() {
        match (quote, c) {
            (Some(open), c) if open == c => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '(' | '[') if line[..at].ends_with(char::is_whitespace) => return None,
            (None, '=') => return Some(at),
            (None, _) => {}
        }
    }
    None
}

/// Words separated by blanks; one that begins with a quote reaches to the next one.
fn words_of(line: &str) -> Result<Vec<Typed>, String> {
    let mut words = Vec::new();
    let mut at = 0;
    while let Some(blanks) = line[at..].find(|c: char| !c.is_whitespace()) {
        let start = at + blanks;
        let quote = line[start..].chars().next().filter(|c| matches!(c, '"' | '\''));
        let (text, end) = match quote {
            Some(quote) => {
                let close = line[start + 1..].find(quote).ok_or("a quote is not closed")?;
                (line[start + 1..start + 1 + close].to_owned(), start + close + 2)
            }
            None => {
                let end = line[start..].find(char::is_whitespace).map_or(line.len(), |at| start + at);
                (line[start..end].to_owned(), end)
            }
        };
        words.push(Typed { text, quoted: quote.is_some(), end });
        at = end;
    }
    Ok(words)
}
