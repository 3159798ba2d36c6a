//! Several files replaced as one: after a crash either all of them are the old ones or all are the new ones.
//!
//! In: new texts for files, beside a main file. The new versions are written and synced beside their files; then a journal
//! beside the main file names them all; then each takes its file's name; then the journal goes. Out, after a crash: until
//! the journal is there nothing has happened; from then on [`recover`] gives the new texts, and finishes what was begun.
//! Blocks. Invariant: a load that finds a journal sees the new set or an error that names the files, never a mixture.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value as Json, json};

use crate::scope::text_hash;
use crate::source;

/// A file and its new text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Replacement<'r> {
    pub path: &'r Path,
    /// What stands there; none where there is no file.
    pub old: Option<&'r str>,
    pub new: &'r str,
}

/// What a journal said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Recovered {
    /// Texts that are to be read in the place of those on disk, by the one spelling of their file's name.
    pub texts: HashMap<PathBuf, Arc<str>>,
    /// What there is to tell; empty when there was no journal.
    pub note: String,
    /// All files have their new texts, and no journal is left.
    pub finished: bool,
}

impl Recovered {
    /// There is no journal.
    pub fn nothing() -> Self {
        Recovered { texts: HashMap::new(), note: String::new(), finished: true }
    }
}

/// Replaces files, all or none. An error says what state they are in.
pub(crate) fn replace_all(main: &Path, files: &[Replacement<'_>]) -> Result<(), String> {
    match files {
        [] => Ok(()),
        [one] => source::replace(one.path, one.new),
        _ => replace_in_steps(main, files, &mut || true),
    }
}

/// `go_on` is asked before each step that reaches the disk; a test says no, as a crash would.
fn replace_in_steps(main: &Path, files: &[Replacement<'_>], go_on: &mut dyn FnMut() -> bool) -> Result<(), String> {
    let journal = journal_of(main);
    let mut staged = Vec::new();
    for file in files {
        let beside = if go_on() { source::stage(file.path, file.new) } else { return Err(CUT.to_owned()) };
        match beside {
            Ok(beside) => staged.push((source::canonical(file.path), beside, file)),
            Err(problem) => return Err(nothing_written(&staged, &problem)),
        }
    }
    let entry = |(path, beside, file): &(PathBuf, PathBuf, &Replacement<'_>)| {
        let text = |path: &Path| path.to_str().map(str::to_owned).ok_or("a file name is not UTF-8".to_owned());
        let was = file.old.map(|old| text_hash(old).to_string());
        Ok(json!({ "file": text(path)?, "new": text(beside)?, "was": was }))
    };
    let written = staged.iter().map(entry).collect::<Result<Vec<Json>, String>>().and_then(|entries| {
        for (_, beside, _) in &staged {
            sync_directory(beside)?;
        }
        if go_on() { source::replace(&journal, &format!("{}\n", json!({ "files": entries }))) } else { Ok(()) }
    });
    if let Err(problem) = written {
        return Err(nothing_written(&staged, &problem));
    }
    for (path, beside, _) in &staged {
        let renamed = if go_on() { fs::rename(beside, path) } else { return Err(CUT.to_owned()) };
        renamed.map_err(|problem| {
            format!(
                "cannot replace {}: {problem}; the new versions of all files are kept and count: the next config writeback, \
                 reload or start of the daemon puts the rest in place",
                path.display()
            )
        })?;
    }
    if go_on() { settle(&journal, staged.iter().map(|(path, ..)| path.as_path())) } else { Err(CUT.to_owned()) }
}

/// What a test is told that played a crash.
const CUT: &str = "cut short";

fn nothing_written(staged: &[(PathBuf, PathBuf, &Replacement<'_>)], problem: &str) -> String {
    for (_, beside, _) in staged {
        // It is of no use any more, and the next writeback would replace it.
        let _ = fs::remove_file(beside);
    }
    format!("{problem}; nothing was written")
}

/// Makes the new names durable, then removes the journal.
fn settle<'p>(journal: &Path, paths: impl Iterator<Item = &'p Path>) -> Result<(), String> {
    for path in paths {
        sync_directory(path)?;
    }
    fs::remove_file(journal).map_err(|problem| format!("cannot remove {}: {problem}", journal.display()))?;
    sync_directory(journal)
}

fn sync_directory(path: &Path) -> Result<(), String> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let synced = fs::File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(|problem| format!("cannot sync the directory {}: {problem}", directory.display()))
}

/// The journal of the writebacks of a configuration, hidden beside its main file.
fn journal_of(main: &Path) -> PathBuf {
    let main = source::canonical(main);
    let name = main.file_name().unwrap_or_default().to_string_lossy().into_owned();
    main.with_file_name(format!(".{name}.writeback"))
}

/// One file of a journal whose new version waits.
struct Waiting {
    file: PathBuf,
    beside: PathBuf,
    text: Arc<str>,
}

/// Looks for a writeback that was cut short, and with `finish` puts the rest of it in place. The error is for the
/// operator, who has to decide.
pub(crate) fn recover(main: &Path, finish: bool) -> Result<Recovered, String> {
    let journal = journal_of(main);
    let text = match fs::read_to_string(&journal) {
        Ok(text) => text,
        Err(problem) if problem.kind() == io::ErrorKind::NotFound => return Ok(Recovered::nothing()),
        Err(problem) => return Err(format!("cannot read {}: {problem}", journal.display())),
    };
    let (files, waiting) = waiting(&journal, &text)?;
    let finished = match finish {
        true => put_in_place(&journal, &files, &waiting),
        false => Err("the daemon does so at its next start, reload or writeback".to_owned()),
    };
    let is_finished = finished.is_ok();
    let note = match finished {
        Ok(()) => "a writeback of several files was cut short; it has been finished".to_owned(),
        Err(problem) => format!(
            "a writeback of several files was cut short and is not finished ({problem}); its new versions are read all the same"
        ),
    };
    let texts = waiting.into_iter().map(|one| (one.file, one.text)).collect();
    Ok(Recovered { texts, note, finished: is_finished })
}

/// Whether a writeback of this main file has come so far that its new versions count, and not to its end.
pub(crate) fn is_begun(main: &Path) -> bool {
    fs::symlink_metadata(journal_of(main)).is_ok()
}

/// The files of a journal, and those of them whose new version waits.
fn waiting(journal: &Path, text: &str) -> Result<(Vec<PathBuf>, Vec<Waiting>), String> {
    let broken = || format!("{} is not the journal of a writeback; remove it", journal.display());
    let known: Json = serde_json::from_str(text).map_err(|_| broken())?;
    let (mut files, mut waiting) = (Vec::new(), Vec::new());
    for entry in known["files"].as_array().ok_or_else(broken)? {
        let path = |name: &str| entry[name].as_str().map(PathBuf::from).ok_or_else(broken);
        let (file, beside) = (path("file")?, path("new")?);
        files.push(file.clone());
        // A new version that is gone has taken its file's name.
        let staged = source::read_if_there(&beside)?;
        let Some(text) = staged.on_disk else { continue };
        let now = source::read_if_there(&file)?.on_disk.map(|old| text_hash(&old).to_string());
        if now.as_deref() != entry["was"].as_str() {
            return Err(format!(
                "{0} was changed after a writeback of several files had been cut short; take the version of the writeback with \
                 `mv {1} {0}`, or keep yours with `rm {1}`, then load again",
                file.display(),
                beside.display()
            ));
        }
        waiting.push(Waiting { file, beside, text });
    }
    Ok((files, waiting))
}

fn put_in_place(journal: &Path, files: &[PathBuf], waiting: &[Waiting]) -> Result<(), String> {
    for one in waiting {
        fs::rename(&one.beside, &one.file)
            .map_err(|problem| format!("cannot replace {}: {problem}", one.file.display()))?;
    }
    settle(journal, files.iter().map(PathBuf::as_path))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Files(tempfile::TempDir);

    impl Files {
        fn new() -> Self {
            let files = Files(tempfile::tempdir().expect("a scratch directory"));
            ["main", "a", "b"].iter().for_each(|name| fs::write(files.path(name), "old").expect("written"));
            files
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().canonicalize().expect("there").join(name)
        }

        /// Replaces all three; no more than `steps` of it happen.
        fn replace(&self, steps: usize) -> Result<(), String> {
            let paths = ["main", "a", "b"].map(|name| self.path(name));
            let files: Vec<_> = paths.iter().map(|path| Replacement { path, old: Some("old"), new: "new" }).collect();
            let mut left = steps;
            replace_in_steps(&self.path("main"), &files, &mut || {
                let some = left > 0;
                left = left.saturating_sub(1);
                some
            })
        }

        /// The texts as a load would see them.
        fn seen(&self, recovered: &Recovered) -> Vec<String> {
            let seen = |name: &&str| match recovered.texts.get(&self.path(name)) {
                Some(text) => text.to_string(),
                None => fs::read_to_string(self.path(name)).expect("there"),
            };
            ["main", "a", "b"].iter().map(seen).collect()
        }

        fn hidden(&self) -> usize {
            let entries = fs::read_dir(self.0.path()).expect("there").flatten();
            entries.filter(|entry| entry.file_name().to_string_lossy().starts_with('.')).count()
        }
    }

    #[test]
    fn after_a_crash_at_any_step_the_old_set_or_the_new_one_is_seen() {
        let whole = (0..).find(|steps| Files::new().replace(*steps).is_ok()).expect("some number of steps");
        assert_eq!(whole, 8, "three new versions, a journal, three names, the end");
        for steps in 0..whole {
            for finish in [false, true] {
                let files = Files::new();
                assert_eq!(files.replace(steps), Err(CUT.to_owned()));
                let recovered = recover(&files.path("main"), finish).expect("nobody interfered");
                let expected = if steps < 4 { "old" } else { "new" };
                assert_eq!(files.seen(&recovered), [expected; 3], "after {steps} steps");
                assert_eq!(recovered.note.is_empty(), steps < 4, "the start tells: {}", recovered.note);
                if finish && steps >= 4 {
                    assert_eq!(files.hidden(), 0, "nothing is left over");
                    assert_eq!(recover(&files.path("main"), true), Ok(Recovered::nothing()));
                }
            }
        }
    }

    #[test]
    fn a_file_changed_after_the_crash_is_left_to_the_operator() {
        let files = Files::new();
        drop(files.replace(5));
        fs::write(files.path("a"), "mine").expect("written");
        let told = recover(&files.path("main"), true).expect_err("whose version counts is not ours to say");
        assert!(told.contains("/a was changed after") && told.contains("`mv ") && told.contains("`rm "), "{told}");
        let version = fs::read_dir(files.0.path()).expect("there").flatten().map(|entry| entry.path());
        let version = version.filter(|path| path.to_string_lossy().contains(".a.new")).collect::<Vec<_>>();
        fs::remove_file(&version[0]).expect("as told");
        let recovered = recover(&files.path("main"), true).expect("decided");
        assert_eq!(
            (fs::read_to_string(files.path("a")).expect("there"), recovered.note.is_empty()),
            ("mine".into(), false)
        );
    }

    #[test]
    fn a_version_that_cannot_be_written_leaves_everything_as_it_was() {
        let files = Files::new();
        let (main, nowhere) = (files.path("main"), files.path("none/x"));
        let all = [
            Replacement { path: &main, old: Some("old"), new: "new" },
            Replacement { path: &nowhere, old: None, new: "new" },
        ];
        let told = replace_all(&main, &all).expect_err("there is no such directory");
        assert!(told.ends_with("; nothing was written"), "{told}");
        assert_eq!((files.seen(&Recovered::nothing())[0].as_str(), files.hidden()), ("old", 0));
    }
}
