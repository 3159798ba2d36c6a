//! What is wrong with a configuration, said so that the operator can put it right.
//!
//! Checks collect [`Fault`]s with spans in [`Reports`]; at the end of a load they become [`Diagnostics`], which know
//! file, line and column, show the offending text, and print for people or as JSON. The number kept is bounded.

use std::fmt;
use std::io::IsTerminal;
use std::path::PathBuf;

use ariadne::{CharSet, Config, IndexType, Label, Report, ReportKind, Source};
use serde_json::{Value as Json, json};

use crate::source::Sources;
use crate::tree::Span;

/// Faults of one severity kept in one load; after that the text says that there are more.
const FAULTS_MAX: usize = 100;

/// Longest line shown with its fault underlined, in bytes.
const EXCERPT_BYTES_MAX: usize = 400;

/// Highest line number shown with its fault underlined: the renderer wants the lines before it, empty ones will do.
const EXCERPT_LINE_MAX: usize = 100_000;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The configuration is used all the same.
    Warning,
    /// The configuration is refused.
    Error,
}

/// One finding while it still knows only its span.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub severity: Severity,
    pub span: Option<Span>,
    pub message: String,
    pub label: String,
    pub help: String,
    /// Of a warning: see [`Diagnostic::grave`].
    pub grave: bool,
}

impl Fault {
    pub fn error(span: Span, message: impl Into<String>) -> Self {
        Fault {
            severity: Severity::Error,
            span: Some(span),
            message: message.into(),
            label: String::new(),
            help: String::new(),
            grave: false,
        }
    }

    /// Marks a warning that no log may leave out.
    pub fn grave(self) -> Self {
        Fault { grave: true, ..self }
    }

    pub fn warning(span: Span, message: impl Into<String>) -> Self {
        Fault { severity: Severity::Warning, ..Fault::error(span, message) }
    }

    /// A fault of no particular place in a file.
    pub fn nowhere(message: impl Into<String>) -> Self {
        Fault { span: None, ..Fault::error(Span::default(), message) }
    }

    /// The words under the offending text.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// What to do about it.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = help.into();
        self
    }
}

/// The findings of a load in progress.
#[derive(Debug, Default)]
pub(crate) struct Reports {
    faults: Vec<Fault>,
    errors: usize,
    warnings: usize,
    given_up: bool,
}

impl Reports {
    pub fn push(&mut self, fault: Fault) {
        let count = match fault.severity {
            Severity::Error => &mut self.errors,
            Severity::Warning => &mut self.warnings,
        };
        *count += 1;
        if *count <= FAULTS_MAX {
            self.faults.push(fault);
        }
    }

    /// Whether more errors would not be shown, or a bound was passed: time to stop looking.
    pub fn is_full(&self) -> bool {
        self.given_up || self.errors >= FAULTS_MAX
    }

    /// The configuration is larger than it may be: what is not looked at yet is better left alone.
    pub fn give_up(&mut self) {
        self.given_up = true;
    }

    pub fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// Whether one more warning would be shown: finding out more is worth the work.
    pub fn wants_warnings(&self) -> bool {
        self.warnings < FAULTS_MAX
    }

    /// Turns spans into places, in the order of files and lines.
    pub fn finish(mut self, sources: &Sources) -> Diagnostics {
        self.faults
            .sort_by_key(|fault| (fault.span.map_or(0, |span| span.file), fault.span.map_or(0, |span| span.start)));
        let hidden = (self.errors + self.warnings).saturating_sub(self.faults.len());
        Diagnostics { items: self.faults.into_iter().map(|fault| place(fault, sources)).collect(), hidden }
    }
}

fn place(fault: Fault, sources: &Sources) -> Diagnostic {
    let mut diagnostic = Diagnostic {
        severity: fault.severity,
        file: PathBuf::new(),
        line: 0,
        column: 0,
        message: fault.message,
        label: fault.label,
        help: fault.help,
        grave: fault.grave,
        included_from: Vec::new(),
        excerpt: String::new(),
        underline: 0..0,
    };
    let Some(span) = fault.span else { return diagnostic };
    let Some(file) = sources.file(span.file) else { return diagnostic };
    let position = file.position(span.start);
    let line_text = file.line_text(position.line);
    let from = (span.start - position.line_start) as usize;
    let to = ((span.end.saturating_sub(position.line_start)) as usize).clamp(from, line_text.len().max(from));
    diagnostic.file = file.path().to_owned();
    (diagnostic.line, diagnostic.column) = (position.line, position.column);
    if line_text.len() <= EXCERPT_BYTES_MAX {
        diagnostic.excerpt = line_text.to_owned();
        diagnostic.underline = from..to;
    }
    diagnostic.included_from = sources.include_chain(span.file);
    diagnostic
}

/// One finding: what, where, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// The file; empty when the fault is in none.
    pub file: PathBuf,
    /// Line, from 1; 0 when the fault is in no file.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The fault in one sentence.
    pub message: String,
    /// Words under the offending text; may be empty.
    pub label: String,
    /// What to change; may be empty.
    pub help: String,
    /// Whether it must stand in the log whatever `debug_flags` says of warnings: a protection that the operator does without.
    pub grave: bool,
    /// `file:line` of the include lines that led to the file, innermost first.
    pub included_from: Vec<String>,
    excerpt: String,
    underline: std::ops::Range<usize>,
}

impl Diagnostic {
    /// `file:line:column`, or `configuration` when there is no file.
    pub fn place(&self) -> String {
        match self.line {
            0 => "configuration".to_owned(),
            _ => format!("{}:{}:{}", self.file.display(), self.line, self.column),
        }
    }

    fn to_json(&self) -> Json {
        json!({
            "severity": match self.severity { Severity::Error => "error", Severity::Warning => "warning" },
            "file": self.file.display().to_string(),
            "line": self.line,
            "column": self.column,
            "text": self.excerpt.get(self.underline.clone()).unwrap_or_default(),
            "message": self.message,
            "label": self.label,
            "help": self.help,
            "included_from": self.included_from,
        })
    }

    fn render(&self, colour: bool, out: &mut String) {
        let excerpt = match self.line {
            0 => None,
            line if self.excerpt.is_empty() || line > EXCERPT_LINE_MAX => None,
            _ => self.excerpted(colour),
        };
        match excerpt {
            Some(text) => out.push_str(&text),
            None => {
                let word = if self.severity == Severity::Error { "Error" } else { "Warning" };
                out.push_str(&format!("{word}: {}: {}\n", self.place(), self.message));
                for (title, text) in
                    [("Note", &self.label), ("Help", &self.help)].into_iter().filter(|(_, text)| !text.is_empty())
                {
                    out.push_str(&format!("  {title}: {text}\n"));
                }
                self.included_from.iter().for_each(|place| out.push_str(&format!("  Note: included from {place}\n")));
            }
        }
    }

    fn excerpted(&self, colour: bool) -> Option<String> {
        let kind = match self.severity {
            Severity::Error => ReportKind::Error,
            Severity::Warning => ReportKind::Warning,
        };
        let charset = if colour { CharSet::Unicode } else { CharSet::Ascii };
        let config =
            Config::new().with_color(colour).with_index_type(IndexType::Byte).with_char_set(charset).with_tab_width(4);
        let id = self.file.display().to_string();
        let before = self.line - 1;
        let span = (id.clone(), self.underline.start + before..self.underline.end + before);
        // Without words the renderer would not underline at all.
        let words = if self.label.is_empty() { "here" } else { &self.label };
        let label = Label::new(span.clone()).with_message(words);
        let mut report = Report::build(kind, span).with_config(config).with_message(&self.message).with_label(label);
        if !self.help.is_empty() {
            report = report.with_help(&self.help);
        }
        for place in &self.included_from {
            report = report.with_note(format!("included from {place}"));
        }
        let source = Source::from("\n".repeat(before) + &self.excerpt);
        let mut bytes = Vec::new();
        report.finish().write((id, source), &mut bytes).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        Some(text.lines().map(|line| format!("{}\n", line.trim_end())).collect())
    }
}

/// All findings of a load, in file order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnostics {
    items: Vec<Diagnostic>,
    hidden: usize,
}

impl Diagnostics {
    /// A single error that belongs to no place in a file.
    pub fn refused(message: impl Into<String>) -> Self {
        let mut reports = Reports::default();
        reports.push(Fault::nowhere(message));
        reports.finish(&Sources::default())
    }

    /// Each finding.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.items.iter()
    }

    /// Those that say something `known` does not, wherever it stands.
    pub fn beyond(&self, known: &Diagnostics) -> Diagnostics {
        let is_new = |item: &&Diagnostic| !known.items.iter().any(|other| other.message == item.message);
        Diagnostics { items: self.items.iter().filter(is_new).cloned().collect(), hidden: 0 }
    }

    /// How many there are, those not kept included.
    pub fn len(&self) -> usize {
        self.items.len() + self.hidden
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Whether one of them refuses the configuration.
    pub fn has_errors(&self) -> bool {
        self.items.iter().any(|item| item.severity == Severity::Error)
    }

    /// The findings for a machine.
    pub fn to_json(&self) -> Json {
        json!({
            "valid": !self.has_errors(),
            "diagnostics": self.items.iter().map(Diagnostic::to_json).collect::<Vec<_>>(),
            "not_shown": self.hidden,
        })
    }

    /// The findings for a person, with or without colour.
    pub fn render(&self, colour: bool) -> String {
        let mut out = String::new();
        self.items.iter().for_each(|item| item.render(colour, &mut out));
        if self.hidden > 0 {
            out.push_str(&format!("({} more not shown)\n", self.hidden));
        }
        out
    }
}

impl<'d> IntoIterator for &'d Diagnostics {
    type Item = &'d Diagnostic;
    type IntoIter = std::slice::Iter<'d, Diagnostic>;
    fn into_iter(self) -> Self::IntoIter {
        self.items.iter()
    }
}

/// For people; coloured only when standard error is a terminal.
impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(std::io::stderr().is_terminal()))
    }
}

impl std::error::Error for Diagnostics {}
