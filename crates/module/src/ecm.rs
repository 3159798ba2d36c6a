//! One `.ecm` file: what the modules beside it are called, need and offer.
//!
//! ```text
//! [my_module]
//! msys.requires = dep_module
//! msys.provides = config.Global:Binding.MyOption
//! ```
//! A `#` at the start of a line begins a comment. A key may carry the tag `:auto`, which build tools add; it means
//! nothing here. Pure: text in, manifests or the faulty line out.

use crate::capability::Capability;
use crate::error::Error;

/// One section: a module, where it was found, and its promises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The module's name.
    pub name: String,
    /// The file, and the line of the section's head: `ec_logger.ecm:1`.
    pub origin: String,
    /// Modules that must be initialised first, in the order given.
    pub requires: Vec<String>,
    /// What makes the module load although the configuration has no stanza of it.
    pub provides: Vec<Capability>,
}

/// All sections of a file. Every faulty line is told, not only the first.
pub(crate) fn parse(path: &str, text: &str) -> Result<Vec<Manifest>, Vec<Error>> {
    let (mut manifests, mut errors) = (Vec::<Manifest>::new(), Vec::new());
    for (index, line) in text.lines().enumerate() {
        let at = || format!("{path}:{}", index + 1);
        match parse_line(line) {
            Ok(Line::Blank) => {}
            Ok(Line::Section(name)) => {
                let name = name.to_owned();
                manifests.push(Manifest { name, origin: at(), requires: Vec::new(), provides: Vec::new() });
            }
            Ok(line) => match (manifests.last_mut(), line) {
                (Some(manifest), Line::Requires(name)) => manifest.requires.push(name.to_owned()),
                (Some(manifest), Line::Provides(capability)) => manifest.provides.push(capability),
                (_, Line::Blank | Line::Section(_)) => {}
                (None, _) => errors.push(Error::at(at(), "stands before the first [module] section")),
            },
            Err(problem) => errors.push(Error::at(at(), problem)),
        }
    }
    if manifests.is_empty() && errors.is_empty() {
        errors.push(Error::at(path, "has no [module] section"));
    }
    if errors.is_empty() { Ok(manifests) } else { Err(errors) }
}

enum Line<'t> {
    Blank,
    Section(&'t str),
    Requires(&'t str),
    Provides(Capability),
}

fn parse_line(line: &str) -> Result<Line<'_>, String> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(Line::Blank);
    }
    if let Some(rest) = line.strip_prefix('[') {
        let name = rest.strip_suffix(']').ok_or_else(|| format!("{line:?} has no closing bracket"))?.trim();
        return is_name(name).then_some(Line::Section(name)).ok_or_else(|| format!("{name:?} is not a module name"));
    }
    let (key, value) = line.split_once('=').ok_or_else(|| format!("{line:?} is neither [module] nor key = value"))?;
    let (key, value) = (key.trim().trim_end_matches(":auto"), value.trim());
    match key {
        "msys.requires" if is_name(value) => Ok(Line::Requires(value)),
        "msys.requires" => Err(format!("{value:?} is not a module name")),
        "msys.provides" => Capability::parse(value).map(Line::Provides),
        _ => Err(format!("unknown key {key:?}; known are msys.requires and msys.provides")),
    }
}

/// Letters, digits, `_` and `-`: a word of the configuration language.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(text: &str) -> Vec<String> {
        parse("m.ecm", text).unwrap_err().iter().map(Error::to_string).collect()
    }

    #[test]
    fn sections_tell_what_modules_need_and_offer() {
        let text = "# two modules of one file\n\n[ec_logger]\nmsys.requires = base\n  msys.requires=other\n\
                    msys.provides = config.Global:Domain.MyKey\n[second]\nmsys.provides:auto = config.Global:MyKey\n";
        let manifests = parse("m.ecm", text).unwrap();
        assert_eq!(manifests[0].requires, ["base", "other"]);
        assert_eq!(manifests[0].provides[0].to_string(), "config.Global:Domain.MyKey");
        assert_eq!((manifests[1].name.as_str(), manifests[1].origin.as_str()), ("second", "m.ecm:7"));
        assert_eq!(manifests[1].provides[0].to_string(), "config.Global:MyKey");
    }

    #[test]
    fn every_faulty_line_is_told_with_its_place() {
        let text = "msys.requires = x\n[a b]\n[open\n[good]\nmsys.demands = x\nnonsense\nmsys.requires = a b\n\
                    msys.provides = Global:X\n";
        let expected = [
            "m.ecm:1: stands before the first [module] section",
            "m.ecm:2: \"a b\" is not a module name",
            "m.ecm:3: \"[open\" has no closing bracket",
            "m.ecm:5: unknown key \"msys.demands\"; known are msys.requires and msys.provides",
            "m.ecm:6: \"nonsense\" is neither [module] nor key = value",
            "m.ecm:7: \"a b\" is not a module name",
            "m.ecm:8: \"Global:X\" is not a capability: it has no kind, as in config.Global:Option",
        ];
        assert_eq!(errors(text), expected);
        assert_eq!(errors("# nothing\n"), ["m.ecm: has no [module] section"]);
    }
}
