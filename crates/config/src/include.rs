//! From the main file to one tree: reads files, parses them, and puts included text where the include stands.
//!
//! A relative target is looked for beside the including file, then along the search path. A directory stands for its
//! files in lexical order. Cycles, depth and the number of files are bounded.

use std::path::{Path, PathBuf};

use crate::diagnostics::{Fault, Reports};
use crate::parser::{Parsed, parse};
use crate::source::{self, Environment, Sources};
use crate::substitute::Substitution;
use crate::tree::{Include, Item, Span};

/// Deepest chain of includes.
const INCLUDE_DEPTH_MAX: usize = 32;

/// Most files in one load.
const FILES_MAX: usize = 10_000;

/// Most bytes in one load, repeated includes counted each time.
const BYTES_MAX: usize = 256 << 20;

/// The whole configuration as text and tree, before any word is checked.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    pub sources: Sources,
    pub items: Vec<Item>,
    /// Files whose nesting is a guess, because a brace is missing.
    pub unpaired: Vec<u32>,
}

/// Reads the main file and all it includes.
pub(crate) fn load(main: &Path, environment: &Environment, reports: &mut Reports) -> Loaded {
    let mut loader = Loader::new(main, environment, reports);
    match loader.file(main, None) {
        Ok(items) => loader.loaded.items = items,
        Err(problem) => loader.reports.push(
            Fault::nowhere(format!("cannot read the configuration {}: {problem}", main.display()))
                .help("name another file with -c, or create this one"),
        ),
    }
    loader.loaded
}

/// Takes a text for the main file, and reads all it includes.
pub(crate) fn load_text(main: &Path, text: &str, environment: &Environment, reports: &mut Reports) -> Loaded {
    let mut loader = Loader::new(main, environment, reports);
    let index = loader.loaded.sources.add(main.to_owned(), text.to_owned(), None, true);
    loader.loaded.items = loader.parsed(index, main);
    loader.loaded
}

struct Loader<'l> {
    environment: &'l Environment,
    search_path: Vec<PathBuf>,
    loaded: Loaded,
    /// Files being read, outermost first.
    chain: Vec<PathBuf>,
    reports: &'l mut Reports,
    /// How many `readonly_include` lines we are inside of.
    read_only: usize,
    bytes: usize,
    substitution: Substitution,
}

impl<'l> Loader<'l> {
    fn new(main: &Path, environment: &'l Environment, reports: &'l mut Reports) -> Self {
        let (search_path, loaded) = (environment.search_path(main), Loaded::default());
        let substitution = Substitution::new(environment.variables.clone());
        Loader { environment, search_path, loaded, chain: Vec::new(), reports, read_only: 0, bytes: 0, substitution }
    }

    fn file(&mut self, path: &Path, from: Option<Span>) -> Result<Vec<Item>, String> {
        let identity = source::canonical(path);
        if let Some(at) = self.chain.iter().position(|open| *open == identity) {
            let walk: Vec<_> =
                self.chain[at..].iter().chain([&identity]).map(|open| open.display().to_string()).collect();
            return Err(format!("the include leads back to itself: {}", walk.join(" -> ")));
        }
        if self.chain.len() > INCLUDE_DEPTH_MAX {
            let walk: Vec<_> = self.chain.iter().map(|open| open.display().to_string()).collect();
            return Err(format!("includes are nested more than {INCLUDE_DEPTH_MAX} deep: {}", walk.join(" -> ")));
        }
        if self.loaded.sources.len() >= FILES_MAX {
            return Err(format!("the configuration has more than {FILES_MAX} files"));
        }
        let found = source::read(path)?;
        self.bytes += found.text.len();
        if self.bytes > BYTES_MAX {
            return Err(format!("the configuration is larger than {} MiB", BYTES_MAX >> 20));
        }
        let read_only = found.read_only || self.read_only > 0;
        let index = self.loaded.sources.add(path.to_owned(), found.text, from, read_only);
        if found.world_writable {
            self.world_writable(path, index);
        }
        if let Some(at) = found.invalid_at {
            let span = Span { file: index, start: at as u32, end: at as u32 + 3 };
            self.reports.push(
                Fault::error(span, "this file is not UTF-8 from here on").help("convert it, for example with iconv"),
            );
        }
        self.chain.push(identity);
        let items = self.parsed(index, path);
        self.chain.pop();
        Ok(items)
    }

    /// The tree of a file in `sources`, with its includes resolved.
    fn parsed(&mut self, index: u32, path: &Path) -> Vec<Item> {
        let Parsed { mut items, braces_unpaired } = match self.loaded.sources.file(index) {
            Some(file) => parse(file.text(), index, self.reports),
            None => Parsed::default(),
        };
        if braces_unpaired {
            self.loaded.unpaired.push(index);
        }
        self.substitution.resolve(&mut items, path.parent().unwrap_or(Path::new("")), self.reports);
        self.resolve(&mut items, path);
        items
    }

    fn world_writable(&mut self, path: &Path, index: u32) {
        let span = Span { file: index, start: 0, end: 0 };
        let refuse = self.environment.refuse_world_writable;
        let fault = if refuse { Fault::error } else { Fault::warning };
        self.reports.push(
            fault(span, format!("anyone on this machine may write {}", path.display()))
                .help(format!("run: chmod o-w {}", path.display())),
        );
    }

    /// Resolves the includes among `items`, at any depth of stanzas.
    fn resolve(&mut self, items: &mut [Item], includer: &Path) {
        for item in items {
            match item {
                Item::Stanza(stanza) => self.resolve(&mut stanza.body, includer),
                // What stands in a conditional stanza that does not hold is not followed.
                Item::Conditional(conditional) if conditional.holds => self.resolve(&mut conditional.body, includer),
                Item::Include(include) if !self.reports.is_full() => self.include(include, includer),
                Item::Include(_) | Item::Option(_) | Item::Conditional(_) => {}
            }
        }
    }

    fn include(&mut self, include: &mut Include, includer: &Path) {
        self.read_only += usize::from(include.read_only());
        match self.target(include, includer) {
            Ok(files) => {
                for path in files {
                    match self.file(&path, Some(include.target.span())) {
                        Ok(items) => include.items.extend(items),
                        Err(problem) => {
                            let message = format!("cannot include {}: {problem}", path.display());
                            self.reports.push(Fault::error(include.target.span(), message));
                        }
                    }
                }
            }
            Err(fault) => self.reports.push(*fault),
        }
        self.read_only -= usize::from(include.read_only());
    }

    /// The files an include stands for.
    fn target(&self, include: &Include, includer: &Path) -> Result<Vec<PathBuf>, Box<Fault>> {
        let (text, span) = (include.target.text(), include.target.span());
        let text = text.strip_prefix("file://").unwrap_or(&text);
        if let Some((scheme, _)) = text.split_once("://") {
            return Err(Box::new(
                Fault::error(span, format!("includes of {scheme}:// are not supported"))
                    .help("include a file or a directory"),
            ));
        }
        let own = includer.parent().unwrap_or(Path::new(""));
        let tried: Vec<PathBuf> = match Path::new(text).is_absolute() {
            true => vec![PathBuf::from(text)],
            false => std::iter::once(own)
                .chain(self.search_path.iter().map(PathBuf::as_path))
                .map(|dir| dir.join(text))
                .collect(),
        };
        for path in &tried {
            match source::kind_of(path) {
                Some(true) => {
                    let refuse = |problem| {
                        Box::new(Fault::error(span, format!("cannot read the directory {}: {problem}", path.display())))
                    };
                    return source::list(path).map_err(refuse);
                }
                Some(false) => return Ok(vec![path.clone()]),
                None => {}
            }
        }
        let looked: Vec<_> = tried.iter().map(|path| path.display().to_string()).collect();
        Err(Box::new(
            Fault::error(span, format!("the included `{text}` does not exist"))
                .help(format!("create it or correct the name; looked for {}", looked.join(", "))),
        ))
    }
}
