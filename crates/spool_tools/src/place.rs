//! Which spool a tool works on: a directory given outright, or the one a configuration names.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use compress_spool::Compress;
use config::{Configuration, Environment, Lookup};
use declarations::Declarations;
use spool::disk::RealDisk;
use spool::{Archive, Job, Kind, ReadPool, Spool};

/// Where the configuration is if nobody says.
pub const CONFIGURATION: &str = "/etc/postrider/ecelerity.conf";

/// `KIND:DIR`, or `DIR`, whose mark says the kind.
pub fn parse(text: &str) -> Result<(Option<Kind>, PathBuf), String> {
    match text.split_once(':') {
        Some((kind, directory)) if !kind.contains('/') => Ok((Some(kind.parse()?), directory.into())),
        _ => Ok((None, text.into())),
    }
}

/// `spoolbase` of a configuration, which must be one that the daemon would load.
pub fn configured(path: &Path) -> Result<PathBuf, String> {
    let registry = Declarations::offline()?.registry;
    let nothing = &mut |_: &mut config::NewGeneration| Ok(());
    let loaded = Configuration::load_with(registry, path, Environment::default(), nothing);
    let configuration = loaded.map_err(|diagnostics| {
        format!("{}\nthe configuration cannot be read; name the spool's directory with -d", diagnostics.render(false))
    })?;
    Ok(configuration.current().get(&spool::SPOOLBASE, &Lookup::Global).into())
}

/// Opens the spool of `-d`, or that of `-c`.
pub fn open(directory: Option<&str>, configuration: &Path) -> Result<Archive, String> {
    let (kind, base) = match directory {
        Some(text) => parse(text)?,
        None => (None, configured(configuration)?),
    };
    Archive::open(kind, &base, Arc::new(RealDisk)).map_err(|error| error.to_string())
}

/// The chain that undoes what modules of the daemon did to what the archive holds.
pub fn chain(archive: Arc<Archive>) -> Spool {
    Spool::new(vec![Arc::new(Compress::default()), archive], Arc::new(Inline))
}

struct Inline;

impl ReadPool for Inline {
    fn submit(&self, job: Job) {
        job();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_directory_with_or_without_its_kind() {
        assert_eq!(parse("/var/spool/p"), Ok((None, "/var/spool/p".into())));
        assert_eq!(parse("file:/var/spool/p"), Ok((Some(Kind::File), "/var/spool/p".into())));
        assert_eq!(parse("./a:b"), Ok((None, "./a:b".into())));
        assert!(parse("tape:/dev/st0").unwrap_err().contains("known are journal, file"));
    }
}
