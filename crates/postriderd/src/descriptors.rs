//! How many descriptors the process may have (`server_max_file_descriptors`): raised at start as far as the system lets.

use config::{Generation, Lookup};
use declarations::daemon::SERVER_MAX_FILE_DESCRIPTORS;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Asks for them. Called while the process still has the rights it was started with.
pub fn raise(generation: &Generation) {
    let wanted = generation.get(&SERVER_MAX_FILE_DESCRIPTORS, &Lookup::Global);
    let is_set = generation.find(&SERVER_MAX_FILE_DESCRIPTORS, &Lookup::Global).is_some();
    match ask(wanted, is_set) {
        Some(given) if given < wanted && is_set => tracing::warn!(
            target: "START",
            "server_max_file_descriptors = {wanted}, but the system gives {given}: start as root, or raise the hard limit \
             (LimitNOFILE= of the unit, ulimit -Hn, fs.nr_open)"
        ),
        given => {
            let given = given.map_or_else(|| "any number of".to_owned(), |given| given.to_string());
            tracing::info!(target: "START", "Milestone: the process may have {given} descriptors");
        }
    }
}

/// Sets the soft limit to `wanted`, up to the hard limit; beyond that, raises the hard limit too if `beyond` allows it:
/// whoever set that one may have meant it. The soft limit that came of it, none for no limit at all.
fn ask(wanted: u64, beyond: bool) -> Option<u64> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let within = maximum.map_or(wanted, |hard| hard.min(wanted));
    let raised = Rlimit { current: Some(wanted), maximum: maximum.map(|hard| hard.max(wanted)) };
    if !beyond || setrlimit(Resource::Nofile, raised).is_err() {
        // A limit that cannot be set stays what it is, and is told.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(within), maximum });
    }
    getrlimit(Resource::Nofile).current
}
