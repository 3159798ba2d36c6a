//! How many descriptors the process may have (`server_max_file_descriptors`): raised at start as far as the system lets. Says
//! so where the limits on connections of the configuration cannot be met with them.

use config::{Generation, Lookup};
use declarations::daemon::SERVER_MAX_FILE_DESCRIPTORS;
use delivery::SERVER_MAX_OUTBOUND_CONNECTIONS;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use scheduler::{Descriptors, Shares};

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

/// Everything but connections is open: takes stock, and warns of limits that are higher than what is left.
pub fn take_stock(descriptors: &Descriptors, generation: &Generation) {
    descriptors.take_stock();
    for warning in warn(descriptors, generation) {
        // To whoever starts the daemon, as what its configuration asks for in vain.
        eprintln!("postriderd: {warning}");
    }
}

/// Warns of limits on connections that the descriptors do not suffice for; the warnings.
pub fn warn(descriptors: &Descriptors, generation: &Generation) -> Vec<String> {
    let Some(shares) = descriptors.shares() else { return Vec::new() };
    let Shares { limit, house, inbound_max, outbound_max, .. } = shares;
    let left = format!(
        "the process may have {limit} descriptors and keeps {house} for spool, logs, DNS and console; raise the limit \
         (LimitNOFILE= of the unit, ulimit -Hn) or lower the option"
    );
    let mut warnings = Vec::new();
    let sessions = netlistener::sessions_wanted(generation, ESMTP_LISTENER);
    if let Some(wanted) = sessions.filter(|wanted| u64::try_from(inbound_max).is_ok_and(|most| most < *wanted)) {
        warnings.push(format!(
            "service_sessions = {wanted} cannot be met: {inbound_max} sessions are let in, and more are answered 421 4.3.4; {left}"
        ));
    }
    let wanted = generation.get(&SERVER_MAX_OUTBOUND_CONNECTIONS, &Lookup::Global).most;
    if i64::try_from(outbound_max).is_ok_and(|most| most < wanted) {
        warnings.push(format!(
            "server_max_outbound_connections = {wanted} cannot be met: {outbound_max} connections are opened, and queues wait for \
             one; {left}"
        ));
    }
    warnings.iter().for_each(|warning| tracing::warn!(target: "START", "{warning}"));
    warnings
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

/// Its sessions are those that come in numbers.
const ESMTP_LISTENER: &str = "esmtp_listener";
