//! How much one load may hold in all its files: scopes, options, elements of lists.
//!
//! In: what the parser meets. Out: whether there is room for it, or a sentence that names the bound. A text costs many
//! times its bytes once it is parsed, so bytes alone bound nothing; with these, the worst text stays below half a GiB.
//! Pure.

/// Most scopes (`word "name" { }`, conditional ones included).
pub(crate) const SCOPES_MAX: usize = 500_000;

/// Most options (`name = value`).
pub(crate) const OPTIONS_MAX: usize = 2_000_000;

/// Most elements of arrays and pairs of dictionaries.
pub(crate) const ELEMENTS_MAX: usize = 1 << 20;

/// What a load has met so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bounds {
    scopes: usize,
    options: usize,
    elements: usize,
}

impl Bounds {
    /// Counts a scope.
    pub fn scope(&mut self) -> Result<(), String> {
        count(&mut self.scopes, SCOPES_MAX, "scopes")
    }

    /// Counts an option.
    pub fn option(&mut self) -> Result<(), String> {
        count(&mut self.options, OPTIONS_MAX, "options")
    }

    /// Counts an element of an array or a pair of a dictionary.
    pub fn element(&mut self) -> Result<(), String> {
        count(&mut self.elements, ELEMENTS_MAX, "elements of arrays and dictionaries")
    }
}

fn count(met: &mut usize, most: usize, what: &str) -> Result<(), String> {
    *met += 1;
    if *met <= most { Ok(()) } else { Err(format!("the configuration has more than {most} {what}")) }
}

/// What to do about a configuration beyond its bounds.
pub(crate) const ADVICE: &str = "the rest was not read; keep tables of this size in a data source or a module";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_one_that_fits_is_taken_and_the_next_refused() {
        let mut bounds = Bounds { scopes: SCOPES_MAX - 1, ..Bounds::default() };
        assert_eq!(bounds.scope(), Ok(()));
        assert_eq!(bounds.scope(), Err("the configuration has more than 500000 scopes".to_owned()));
        assert_eq!((bounds.option(), bounds.element()), (Ok(()), Ok(())));
    }
}
