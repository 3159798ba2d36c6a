//! What was changed from the console goes to disk: into the files it belongs to, or as one file.
//!
//! Files are replaced as a whole and all together (`staging`), and only if each still stands on disk as it was read: what
//! somebody else wrote meanwhile is never lost. A text behind a URL is written by itself, before the files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::configuration::Configuration;
use crate::generation::Generation;
use crate::remote;
use crate::source::{self, SourceFile};
use crate::staging::{self, Replacement};

/// What a writeback did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// The files that were replaced.
    pub files: Vec<PathBuf>,
    /// Changes that no file takes, as configuration text; empty when there are none.
    pub homeless: String,
    /// Files that are not what runs, since somebody else changed or removed them: `PATH: what is so`.
    pub adrift: Vec<String>,
}

impl Configuration {
    /// Writes the running configuration to the files it came from. Files without a change are not touched.
    pub fn writeback(&self) -> Result<Written, String> {
        let _alone = self.alone();
        // What was cut short comes first: its files are those that we look at.
        let recovered = staging::recover(&self.path(), true)?;
        if !recovered.finished {
            return Err(recovered.note);
        }
        let generation = self.current();
        let sources = &generation.sources;
        let homeless = sources.homeless.and_then(|index| sources.file(index)).map_or("", |file| file.text()).to_owned();
        let mut changed: Vec<&SourceFile> = Vec::new();
        for (index, file) in sources.iter().filter(|(index, _)| Some(*index) != sources.homeless) {
            if self.differs_from_disk(file) && sources.takes_changes(index) {
                self.check_untouched(file)?;
                changed.push(file);
            }
        }
        let (mut files, mut local) = (Vec::new(), Vec::new());
        for file in changed {
            match file.path().to_str().filter(|path| remote::scheme_of(path).is_some()) {
                Some(url) => remote::write(&self.environment().io_wrappers, url, file.text())
                    .map_err(|problem| format!("{problem}; written before it: {} URLs, no file", files.len()))?,
                None => {
                    local.push(file);
                    continue;
                }
            }
            self.note_written(file);
            files.push(file.path().to_owned());
        }
        let old: Vec<_> = local.iter().map(|file| self.known_on_disk(file)).collect();
        let replacements: Vec<Replacement<'_>> = (local.iter().zip(&old))
            .map(|(file, old)| Replacement { path: file.path(), old: old.as_deref(), new: file.text() })
            .collect();
        let replaced = staging::replace_all(&self.path(), &replacements);
        if replaced.is_ok() || staging::is_begun(&self.path()) {
            local.iter().for_each(|file| self.note_written(file));
        }
        replaced?;
        files.extend(local.iter().map(|file| file.path().to_owned()));
        generation.changes_were_written();
        let kept = sources.iter().filter(|(index, _)| Some(*index) != sources.homeless).map(|(_, file)| file);
        Ok(Written { files, homeless, adrift: kept.filter_map(|file| self.adrift(file)).collect() })
    }

    /// What stands on disk as far as we know.
    fn known_on_disk(&self, file: &SourceFile) -> Option<Arc<str>> {
        self.written().get(file.identity()).cloned().or_else(|| file.content().on_disk.clone())
    }

    fn note_written(&self, file: &SourceFile) {
        file.was_written();
        self.written().insert(file.identity().to_owned(), file.content().text.clone());
    }

    /// Writes the running configuration as one file, what the files include in the place of the include.
    pub fn writeback_to(&self, path: &Path) -> Result<Written, String> {
        let _alone = self.alone();
        let path = self.new_file(path)?;
        source::replace(&path, &self.current().whole_text())?;
        Ok(Written { files: vec![path], homeless: String::new(), adrift: Vec::new() })
    }

    /// `write config PATH`: writes what runs as `config showrecurse` prints it.
    pub fn dump_to(&self, path: &Path) -> Result<PathBuf, String> {
        let path = self.new_file(path)?;
        let text = self.current().show(&[], true)?.text;
        source::replace(&path, &(text + "\n"))?;
        Ok(path)
    }

    /// Where a new file goes: a relative name starts from the directory of the main file, wherever the daemon runs. The daemon
    /// may write almost anything as root, so what is there already is never replaced.
    fn new_file(&self, path: &Path) -> Result<PathBuf, String> {
        let path = self.path().parent().unwrap_or(Path::new("")).join(path);
        match source::kind_of(&path) {
            None => Ok(path),
            Some(_) => Err(format!("{} is there already and is not overwritten: name a new file", path.display())),
        }
    }

    /// Whether a text was changed since its file was read or written.
    fn differs_from_disk(&self, file: &SourceFile) -> bool {
        match self.written().get(file.identity()) {
            Some(on_disk) => on_disk != &file.content().text,
            None => file.content().is_changed(),
        }
    }

    /// How a file differs from what was read or written last, if it does. One behind a URL is not asked for again.
    fn adrift(&self, file: &SourceFile) -> Option<String> {
        if file.path().to_str().is_some_and(|path| remote::scheme_of(path).is_some()) {
            return None;
        }
        let known = self.known_on_disk(file);
        let what = match source::read_if_there(file.path()) {
            Err(problem) => problem.to_string(),
            Ok(now) => match now.on_disk.as_deref() {
                now if now == known.as_deref() => return None,
                None => "there is no such file any longer".to_owned(),
                Some(now) if now.trim().is_empty() => "it is empty now".to_owned(),
                Some(_) => "it was changed since it was read".to_owned(),
            },
        };
        Some(format!("{}: {what}", file.path().display()))
    }

    fn check_untouched(&self, file: &SourceFile) -> Result<(), String> {
        if file.path().to_str().is_some_and(|path| remote::scheme_of(path).is_some()) {
            return Ok(());
        }
        let known = self.known_on_disk(file);
        let path = file.path().display();
        let now = source::read_if_there(file.path()).map_err(|problem| format!("cannot look at {path}: {problem}"))?;
        match now.on_disk.as_deref() == known.as_deref() {
            true => Ok(()),
            false => Err(format!(
                "{path} was changed on disk since it was read; nothing was written. See the difference with config diff, then either reload (which drops what was set from the console) or write to another file with config writeback PATH"
            )),
        }
    }
}

impl Generation {
    /// All texts as one, in reading order, comments and layout included.
    pub(crate) fn whole_text(&self) -> String {
        let mut out = String::new();
        let roots = self.sources.iter().filter(|(_, file)| file.included_from().is_none());
        for (index, _) in roots {
            self.splice(index, &mut out);
            end_line(&mut out);
        }
        out
    }

    /// Appends the text of a file with the files it includes in the place of its include lines.
    fn splice(&self, index: u32, out: &mut String) {
        let Some(file) = self.sources.file(index) else { return };
        let text = file.text();
        let included = self.sources.iter().filter_map(|(inner, file)| Some((file.included_from()?, inner)));
        let mut included: Vec<_> = included.filter(|(from, _)| from.file == index).collect();
        included.sort_by_key(|(from, inner)| (from.start, *inner));
        let mut done = 0;
        for (from, inner) in included {
            let start = include_start(&text[..from.start as usize]);
            if done < start {
                out.push_str(&text[done..start]);
            }
            done = from.end as usize;
            self.splice(inner, out);
            end_line(out);
            // The end of the include line, unless something else stands on it.
            let rest = &text[done..];
            done += rest.len() - rest.strip_prefix("\r\n").or(rest.strip_prefix('\n')).unwrap_or(rest).len();
        }
        out.push_str(&text[done..]);
    }
}

/// Where the include statement begins whose target follows `before`.
fn include_start(before: &str) -> usize {
    let lower = before.to_ascii_lowercase();
    let word = lower.rfind("include").unwrap_or(before.len());
    lower[..word].strip_suffix("readonly_").map_or(word, str::len)
}

fn end_line(out: &mut String) {
    if !out.is_empty() && !out.ends_with('\n') {
        out.push('\n');
    }
}
