//! A configuration as texts held in memory: what a change from the console edits, and what stands in front of the disk
//! when those texts are parsed again.
//!
//! Made from the files of a generation. Holds what each include line meant, too: a change made from the console brings
//! in no file that has come to the disk meanwhile. Only a reload reads the disk again.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::source::{Found, Sources};

/// The texts of a configuration, by the one spelling of their file's name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Texts {
    files: HashMap<PathBuf, Found>,
    targets: HashMap<(PathBuf, String), Vec<PathBuf>>,
    /// Changes that no file takes, read after everything else.
    pub homeless: String,
}

impl Texts {
    /// The texts a generation was made from.
    pub fn of(sources: &Sources) -> Self {
        let homeless = sources.homeless;
        let files = sources.iter().filter(|(index, _)| Some(*index) != homeless);
        Texts {
            files: files.map(|(_, file)| (file.identity().to_owned(), file.content().clone())).collect(),
            targets: sources.targets.clone(),
            homeless: homeless.and_then(|index| sources.file(index)).map_or("", |file| file.text()).to_owned(),
        }
    }

    /// One empty text in the place of the main file, and nothing else.
    pub fn from_scratch(sources: &Sources) -> Self {
        let mut texts = Texts::default();
        if let Some(main) = sources.file(0) {
            texts.files.insert(main.identity().to_owned(), Found { text: "".into(), ..main.content().clone() });
        }
        texts
    }

    pub fn get(&self, identity: &Path) -> Option<&Found> {
        self.files.get(identity)
    }

    /// What an include line means.
    pub fn target(&self, includer: &Path, written: &str) -> Option<&Vec<PathBuf>> {
        match self.targets.is_empty() {
            true => None,
            false => self.targets.get(&(includer.to_owned(), written.to_owned())),
        }
    }

    /// Puts a text in the place of another.
    pub fn set(&mut self, identity: &Path, text: String) {
        self.files.entry(identity.to_owned()).or_default().text = text.into();
    }

    /// What now stands on disk, where it was written since.
    pub fn written(&mut self, written: &HashMap<PathBuf, Arc<str>>) {
        for (identity, text) in written {
            if let Some(found) = self.files.get_mut(identity) {
                found.on_disk = Some(text.clone());
            }
        }
    }
}
