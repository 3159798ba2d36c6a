//! The catalogue: every module that is installed, by name, by what it offers, and in the order of who needs whom.
//!
//! Read once at start from the module directories; immutable after that.

use std::collections::BTreeMap;

use io_wrapper::IoWrappers;

use crate::capability::Capability;
use crate::ecm::{self, Manifest};
use crate::error::Error;

/// The manifests of all `.ecm` files.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    by_name: BTreeMap<String, Manifest>,
    /// Capability key to module names, in name order.
    providers: BTreeMap<String, Vec<String>>,
}

impl Catalogue {
    /// Reads every `*.ecm` in the directory and its direct subdirectories (each module has a folder). Blocks. Tells
    /// every fault it finds; a directory with none gives an empty catalogue.
    pub fn scan(files: &IoWrappers, directory: &str) -> Result<Self, Vec<Error>> {
        let (mut catalogue, mut errors) = (Self::default(), Vec::new());
        for path in find(files, directory).map_err(|error| vec![error])? {
            match files.read_text(&path, ECM_BYTES_MAX) {
                Ok(text) => errors.extend(catalogue.read(&path, &text).err().into_iter().flatten()),
                Err(error) => errors.push(Error::at("modules", error)),
            }
        }
        if errors.is_empty() { Ok(catalogue) } else { Err(errors) }
    }

    /// Adds what the text of one `.ecm` file describes; `path` is what faults are told at. For modules linked into the
    /// daemon, whose files are part of it.
    pub fn read(&mut self, path: &str, text: &str) -> Result<(), Vec<Error>> {
        let manifests = ecm::parse(path, text)?;
        let errors: Vec<_> = manifests.into_iter().filter_map(|manifest| self.add(manifest).err()).collect();
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    /// Adds one module; its name must be new.
    pub fn add(&mut self, manifest: Manifest) -> Result<(), Error> {
        if let Some(other) = self.by_name.get(&manifest.name) {
            let problem = format!("module {} is already described at {}", manifest.name, other.origin);
            return Err(Error::at(manifest.origin, problem));
        }
        for capability in &manifest.provides {
            let names = self.providers.entry(capability.key().to_owned()).or_default();
            names.push(manifest.name.clone());
            names.sort();
        }
        self.by_name.insert(manifest.name.clone(), manifest);
        Ok(())
    }

    /// The manifest of a module.
    pub fn get(&self, name: &str) -> Option<&Manifest> {
        self.by_name.get(name)
    }

    /// All manifests, in name order.
    pub fn manifests(&self) -> impl Iterator<Item = &Manifest> {
        self.by_name.values()
    }

    /// The modules that offer a capability, in name order. The first that can be loaded is used.
    pub fn providers(&self, capability: &Capability) -> &[String] {
        self.providers.get(capability.key()).map_or(&[], Vec::as_slice)
    }

    /// The modules named and everything they require, each after what it requires; otherwise in the order named. A
    /// requirement that is not installed or goes in a circle is told at the manifest that has it.
    pub fn order(&self, names: &[&str]) -> Result<Vec<&Manifest>, Error> {
        let mut walk = Walk { catalogue: self, path: Vec::new(), ordered: Vec::new() };
        for name in names {
            let manifest = self.get(name).ok_or_else(|| Error::at(format!("module {name}"), "has no .ecm file"))?;
            walk.visit(manifest)?;
        }
        Ok(walk.ordered)
    }
}

/// A depth-first walk over the requirements.
struct Walk<'c> {
    catalogue: &'c Catalogue,
    path: Vec<&'c str>,
    ordered: Vec<&'c Manifest>,
}

impl<'c> Walk<'c> {
    fn visit(&mut self, manifest: &'c Manifest) -> Result<(), Error> {
        if self.ordered.iter().any(|done| done.name == manifest.name) {
            return Ok(());
        }
        if let Some(start) = self.path.iter().position(|&name| name == manifest.name) {
            let circle = [&self.path[start..], &[&manifest.name]].concat().join(" requires ");
            return Err(Error::at(&manifest.origin, format!("{circle}: no order satisfies this")));
        }
        self.path.push(&manifest.name);
        for name in &manifest.requires {
            let Some(required) = self.catalogue.get(name) else {
                let problem = format!("module {} requires {name}, which has no .ecm file", manifest.name);
                return Err(Error::at(&manifest.origin, problem));
            };
            self.visit(required)?;
        }
        self.path.pop();
        self.ordered.push(manifest);
        Ok(())
    }
}

/// The `.ecm` files of a directory and of its direct subdirectories, in the order of their names.
fn find(files: &IoWrappers, directory: &str) -> Result<Vec<String>, Error> {
    let list = |directory: &str| files.list(directory).map_err(|error| Error::at("modules", error));
    let (mut found, directory) = (Vec::new(), directory.trim_end_matches('/'));
    for entry in list(directory)? {
        let path = format!("{directory}/{}", entry.name);
        if entry.is_directory {
            let below = list(&path)?.into_iter().filter(|entry| !entry.is_directory);
            found.extend(below.map(|entry| format!("{path}/{}", entry.name)));
        } else {
            found.push(path);
        }
    }
    found.retain(|path| path.ends_with(".ecm"));
    Ok(found)
}

/// Far more than any module has to say.
const ECM_BYTES_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A directory with these files.
    fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        directory
    }

    fn scan(directory: &tempfile::TempDir) -> Result<Catalogue, Vec<Error>> {
        Catalogue::scan(&IoWrappers::new(), directory.path().to_str().unwrap())
    }

    fn names(manifests: &[&Manifest]) -> Vec<String> {
        manifests.iter().map(|manifest| manifest.name.clone()).collect()
    }

    #[test]
    fn ecm_files_are_found_beside_and_below_and_others_ignored() {
        let directory = directory(&[
            ("ec_logger/ec_logger.ecm", "[ec_logger]\n"),
            ("ec_logger/Cargo.toml", "[package]\n"),
            ("more.ecm", "[one]\n[two]\nmsys.provides = config.Global:MyKey\n"),
            ("ec_logger/target/deep/old.ecm", "[ec_logger]\n"),
        ]);
        let catalogue = scan(&directory).unwrap();
        assert_eq!(
            catalogue.manifests().map(|manifest| manifest.name.as_str()).collect::<Vec<_>>(),
            ["ec_logger", "one", "two"]
        );
        assert_eq!(catalogue.providers(&Capability::of_option(&[], "mykey")), ["two"]);
        assert!(catalogue.providers(&Capability::of_option(&["domain"], "mykey")).is_empty());
    }

    #[test]
    fn every_fault_of_a_scan_is_told_with_file_and_line() {
        let directory = directory(&[("a.ecm", "[same]\n"), ("b.ecm", "# doubled\n[same]\n"), ("c.ecm", "nonsense\n")]);
        let at = directory.path().display();
        let errors = scan(&directory).unwrap_err();
        let expected = [
            format!("{at}/b.ecm:2: module same is already described at {at}/a.ecm:1"),
            format!("{at}/c.ecm:1: \"nonsense\" is neither [module] nor key = value"),
        ];
        assert_eq!(errors.iter().map(Error::to_string).collect::<Vec<_>>(), expected);
        let missing = Catalogue::scan(&IoWrappers::new(), &format!("{at}/missing")).unwrap_err();
        assert!(missing[0].to_string().starts_with(&format!("modules: listing {at}/missing: ")));
    }

    #[test]
    fn a_module_comes_after_what_it_requires_and_otherwise_as_named() {
        let text = "[a]\nmsys.requires = c\n[b]\n[c]\nmsys.requires = b\n[d]\n";
        let catalogue = scan(&directory(&[("m.ecm", text)])).unwrap();
        assert_eq!(names(&catalogue.order(&["d", "a", "b"]).unwrap()), ["d", "b", "c", "a"]);
    }

    #[test]
    fn circles_and_missing_requirements_are_told() {
        let text =
            "[a]\nmsys.requires = b\n[b]\nmsys.requires = c\n[c]\nmsys.requires = b\n[d]\nmsys.requires = gone\n";
        let directory = directory(&[("m.ecm", text)]);
        let (catalogue, at) = (scan(&directory).unwrap(), directory.path().display());
        let told = |name| catalogue.order(&[name]).unwrap_err().to_string();
        assert_eq!(told("a"), format!("{at}/m.ecm:3: b requires c requires b: no order satisfies this"));
        assert_eq!(told("d"), format!("{at}/m.ecm:7: module d requires gone, which has no .ecm file"));
        assert_eq!(told("x"), "module x: has no .ecm file");
    }
}
