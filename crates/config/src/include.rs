//! From the main file to one tree: reads files, parses them, and puts included text where the include stands.
//!
//! A relative target is looked for beside the including file, then along the search path. A directory stands for its
//! files in lexical order. A target with a scheme is read through the IO wrappers. Cycles, depth and the number of files
//! are bounded. After the main file and all it includes comes the `local_changes_file`, then what no file takes.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use io_wrapper::Flags;

use crate::bounds::{ADVICE, Bounds};
use crate::changes::{LOCAL_CHANGES_FILE, LOCAL_CHANGES_ONLY};
use crate::diagnostics::{Fault, Reports, Severity};
use crate::parser::{Parsed, parse};
use crate::remote;
use crate::source::{self, Environment, Found, Sources};
use crate::staging::{self, Recovered};
use crate::substitute::Substitution;
use crate::texts::Texts;
use crate::tree::{Assignment, Include, Item, Span};
use crate::ways::{Open, Ways};

/// Deepest chain of includes.
const INCLUDE_DEPTH_MAX: usize = 32;

/// Most files in one load.
const FILES_MAX: usize = 10_000;

/// What the text of changes that no file takes is called.
pub(crate) const HOMELESS: &str = "(console)";

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

/// Reads the main file and all it includes. Where `held` has a text, that one counts and not the one on disk.
pub(crate) fn load(main: &Path, held: &Texts, environment: &Environment, reports: &mut Reports) -> Loaded {
    let mut loader = Loader::new(main, held, environment, reports);
    loader.recover(main);
    match loader.file(main, None) {
        Ok(items) => loader.loaded.items = items,
        Err(problem) => {
            let help = match crate::source::kind_of(main) {
                Some(_) => "name another file with -c, or see that this one is a file that this user may read",
                None => "name another file with -c, or create this one",
            };
            loader.reports.push(
                Fault::nowhere(format!("cannot read the configuration {}: {problem}", main.display())).help(help),
            );
            return loader.loaded;
        }
    }
    loader.local_changes(main);
    if !held.homeless.is_empty() {
        let path = PathBuf::from(HOMELESS);
        let index = loader.loaded.sources.add(path.clone(), Found::of_text(&held.homeless), None, false);
        loader.loaded.sources.homeless = Some(index);
        let items = loader.parsed(index, &path);
        loader.loaded.items.extend(items);
    }
    loader.check_secrets();
    loader.loaded
}

/// Takes a text for the main file, and reads all it includes.
pub(crate) fn load_text(main: &Path, text: &str, environment: &Environment, reports: &mut Reports) -> Loaded {
    let held = Texts::default();
    let mut loader = Loader::new(main, &held, environment, reports);
    let index = loader.loaded.sources.add(main.to_owned(), Found::of_text(text), None, true);
    loader.loaded.items = loader.parsed(index, main);
    loader.local_changes(main);
    loader.loaded
}

/// A few lines on their own, as a command gives them: they are parsed, and include nothing.
pub(crate) fn load_fragment(text: &str, reports: &mut Reports) -> Loaded {
    let mut loaded = Loaded::default();
    let index = loaded.sources.add(PathBuf::from(HOMELESS), Found::of_text(text), None, true);
    if let Some(file) = loaded.sources.file(index) {
        loaded.items = parse(&file.content().text, index, &mut Bounds::default(), reports).items;
    }
    loaded
}

/// The last setting of an option outside every stanza.
fn last_global<'i>(items: &'i [Item], name: &str) -> Option<&'i Assignment> {
    items.iter().rev().find_map(|item| match item {
        Item::Option(assignment) if assignment.name.text.eq_ignore_ascii_case(name) => Some(assignment),
        Item::Include(include) => last_global(&include.items, name),
        Item::Conditional(conditional) if conditional.holds => last_global(&conditional.body, name),
        _ => None,
    })
}

struct Loader<'l> {
    environment: &'l Environment,
    held: &'l Texts,
    search_path: Vec<PathBuf>,
    loaded: Loaded,
    /// Files being read, outermost first.
    chain: Vec<PathBuf>,
    reports: &'l mut Reports,
    /// How many `readonly_include` lines we are inside of.
    read_only: usize,
    bytes: usize,
    bounds: Bounds,
    /// Texts of a writeback that was cut short: they count, and not what is on disk.
    staged: HashMap<PathBuf, Arc<str>>,
    ways: Ways,
    substitution: Substitution,
}

impl<'l> Loader<'l> {
    fn new(main: &Path, held: &'l Texts, environment: &'l Environment, reports: &'l mut Reports) -> Self {
        let (search_path, loaded) = (environment.search_path(main), Loaded::default());
        let substitution = Substitution::new(environment.variables.clone());
        Loader {
            environment,
            held,
            search_path,
            loaded,
            chain: Vec::new(),
            reports,
            read_only: 0,
            bytes: 0,
            bounds: Bounds::default(),
            staged: HashMap::new(),
            ways: Ways::of(main),
            substitution,
        }
    }

    fn recover(&mut self, main: &Path) {
        match staging::recover(main, self.environment.finish_writebacks) {
            Ok(Recovered { texts, note, .. }) => {
                self.staged = texts;
                if !note.is_empty() {
                    self.reports.push(Fault { severity: Severity::Warning, ..Fault::nowhere(note) });
                }
            }
            Err(problem) => self.reports.push(Fault::nowhere(problem)),
        }
    }

    /// A file as it counts: the version of a writeback that was cut short, if there is one.
    fn staged_over(&self, found: Found, identity: &Path) -> Found {
        match self.staged.get(identity) {
            Some(text) => Found { text: text.clone(), on_disk: Some(text.clone()), ..found },
            None => found,
        }
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
        self.room_for(1)?;
        let found = match self.held.get(&identity) {
            Some(held) => held.clone(),
            None => self.staged_over(self.read(path)?, &identity),
        };
        let index = self.add(path, found, from)?;
        self.chain.push(identity);
        let items = self.parsed(index, path);
        self.chain.pop();
        Ok(items)
    }

    /// Whether so many files more may be read. Where they may not, one error is enough: nothing more is looked at.
    fn room_for(&mut self, files: usize) -> Result<(), String> {
        let known = self.loaded.sources.len();
        if known + files <= FILES_MAX {
            return Ok(());
        }
        self.reports.give_up();
        Err(match files {
            1 => format!("the configuration has more than {FILES_MAX} files"),
            _ => format!("it holds {files} files, and a configuration has at most {FILES_MAX} (it has {known} so far)"),
        })
    }

    fn read(&self, path: &Path) -> Result<Found, String> {
        let url = path.to_str().filter(|text| remote::scheme_of(text).is_some());
        let Some(url) = url else { return source::read(path) };
        let text = remote::read(&self.environment.io_wrappers, url)?;
        let text: std::sync::Arc<str> = text.into();
        Ok(Found { on_disk: Some(text.clone()), text, read_only: !remote::is_writable(url), ..Found::default() })
    }

    /// Takes a text into the load, and tells what is wrong with the file it stands in.
    fn add(&mut self, path: &Path, found: Found, from: Option<Span>) -> Result<u32, String> {
        self.bytes += found.text.len();
        if self.bytes > BYTES_MAX {
            self.reports.give_up();
            return Err(format!("the configuration is larger than {} MiB", BYTES_MAX >> 20));
        }
        let read_only = found.read_only || self.read_only > 0;
        let (world_writable, invalid_at) = (found.world_writable, found.invalid_at);
        let index = self.loaded.sources.add(path.to_owned(), found, from, read_only);
        if world_writable {
            self.world_writable(path, index);
        }
        if path.to_str().is_none_or(|path| remote::scheme_of(path).is_none()) {
            let span = Span { file: index, start: 0, end: 0 };
            for open in self.ways.to(path) {
                self.open_directory(&open, Some(span), &format!("put another file in the place of {}", path.display()));
            }
        }
        if let Some(at) = invalid_at {
            let span = Span { file: index, start: at as u32, end: at as u32 + 3 };
            self.reports.push(
                Fault::error(span, "this file is not UTF-8 from here on").help("convert it, for example with iconv"),
            );
        }
        Ok(index)
    }

    /// The file that changes from the console go to: it is read after everything, so that it wins.
    fn local_changes(&mut self, main: &Path) {
        let only = last_global(&self.loaded.items, LOCAL_CHANGES_ONLY.name());
        let only = only.filter(|only| LOCAL_CHANGES_ONLY.parse(&only.value, crate::ScopeId::GLOBAL) == Ok(true));
        let file = last_global(&self.loaded.items, LOCAL_CHANGES_FILE.name());
        let file = file.and_then(|file| Some((file.value.scalar()?.text().into_owned(), file.value.span)));
        let named = file.filter(|(name, _)| !name.is_empty());
        self.loaded.sources.local_changes_only = only.is_some();
        match (named, only) {
            (Some((name, span)), _) => match self.local_changes_file(main, &name) {
                Ok(items) => self.loaded.items.extend(items),
                Err(problem) => self.reports.push(Fault::error(span, format!("local_changes_file: {problem}"))),
            },
            (None, Some(only)) => {
                let fault = Fault::error(only.name.span, "local_changes_only needs a local_changes_file");
                self.reports.push(fault.help("write local_changes_file = \"/path/of/local_changes.conf\" beside it"));
            }
            (None, None) => {}
        }
    }

    fn local_changes_file(&mut self, main: &Path, name: &str) -> Result<Vec<Item>, String> {
        if let Some(scheme) = remote::scheme_of(name) {
            return Err(format!("it must be a file on this machine, not {scheme}://"));
        }
        let name = name.strip_prefix("file://").unwrap_or(name);
        let path = main.parent().unwrap_or(Path::new("")).join(name);
        let identity = source::canonical(&path);
        if self.loaded.sources.iter().any(|(_, file)| file.identity() == identity) {
            return Err(format!("{} is read already; it must be a file of its own", path.display()));
        }
        let found = match self.held.get(&identity) {
            Some(held) => held.clone(),
            None => {
                let found = source::read_if_there(&path);
                let found = found.map_err(|problem| format!("cannot read {}: {problem}", path.display()))?;
                self.staged_over(found, &identity)
            }
        };
        let index = self.add(&path, found, None)?;
        self.loaded.sources.local_changes = Some(index);
        Ok(self.parsed(index, &path))
    }

    /// The tree of a file in `sources`, with its includes resolved.
    fn parsed(&mut self, index: u32, path: &Path) -> Vec<Item> {
        let Parsed { mut items, braces_unpaired } = match self.loaded.sources.file(index) {
            Some(file) => parse(&file.content().text, index, &mut self.bounds, self.reports),
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

    /// A directory that others may change, told once.
    fn open_directory(&mut self, open: &Open, span: Option<Span>, what_for: &str) {
        let refuse = self.environment.refuse_world_writable;
        if !refuse && !open.world {
            return;
        }
        let message = format!("{} on this machine may {what_for}: {} is open", open.what, open.directory.display());
        let severity = if refuse { Severity::Error } else { Severity::Warning };
        let fault = Fault { severity, span, ..Fault::nowhere(message) };
        self.reports.push(fault.help(format!("run: {}", open.command)));
    }

    /// The directories around the secrets of the load.
    fn check_secrets(&mut self) {
        for path in self.substitution.secrets_read() {
            for open in self.ways.to(&path) {
                self.open_directory(&open, None, &format!("put another secret in the place of {}", path.display()));
            }
        }
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
        let written = include.target.text().into_owned();
        let files = match self.held.target(includer, &written) {
            Some(files) => Ok(files.clone()),
            None => self.target(include, includer),
        };
        match files {
            Ok(files) => {
                self.files(include, &files);
                self.loaded.sources.targets.insert((includer.to_owned(), written), files);
            }
            Err(fault) => self.reports.push(*fault),
        }
        self.read_only -= usize::from(include.read_only());
    }

    /// Reads the files an include stands for.
    fn files(&mut self, include: &mut Include, files: &[PathBuf]) {
        let span = include.target.span();
        let refused = |what: std::path::Display<'_>, problem: String| {
            Fault::error(span, format!("cannot include {what}: {problem}"))
        };
        if let Err(problem) = self.room_for(files.len()) {
            let what = include.target.text().into_owned();
            return self.reports.push(refused(Path::new(&what).display(), problem).help(ADVICE));
        }
        for path in files {
            match self.file(path, Some(span)) {
                Ok(items) => include.items.extend(items),
                Err(problem) => {
                    let fault = refused(path.display(), problem);
                    self.reports.push(match path.to_str().and_then(remote::advice) {
                        Some(help) => fault.help(help),
                        None => fault,
                    });
                }
            }
            if self.reports.is_full() {
                return;
            }
        }
    }

    /// The files an include stands for.
    fn target(&mut self, include: &Include, includer: &Path) -> Result<Vec<PathBuf>, Box<Fault>> {
        let (text, span) = (include.target.text(), include.target.span());
        if let Some(scheme) = remote::scheme_of(&text) {
            return match self.environment.io_wrappers.check(&text, Flags::READ) {
                Ok(()) => Ok(vec![PathBuf::from(text.as_ref())]),
                Err(_) => {
                    let known = self.environment.io_wrappers.schemes();
                    let others = known.iter().filter(|known| *known != "file");
                    let others: String = others.map(|other| format!(", or {other}://")).collect();
                    let fault = Fault::error(span, format!("includes of {scheme}:// are not supported"));
                    Err(Box::new(fault.help(format!("include a file or a directory{others}"))))
                }
            };
        }
        let base = includer.to_str().filter(|base| remote::scheme_of(base).is_some());
        if let Some(base) = base.filter(|_| !text.starts_with("file://")) {
            return Ok(vec![PathBuf::from(remote::resolve(base, &text))]);
        }
        let text = text.strip_prefix("file://").unwrap_or(&text);
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
                    if let Some(open) = self.ways.inside(path) {
                        let what_for = format!("add a file to the included directory {}", path.display());
                        self.open_directory(&open, Some(span), &what_for);
                    }
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
