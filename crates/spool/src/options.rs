//! The spool's options (reference: operations.md section 12).

use config::{Declared, Generation, Lookup, Opt, Perms, scopes};

use crate::backend::Kind;
use crate::disk::CrashPoints;
use crate::journal::JournalOptions;

/// The spool's directory.
pub const SPOOLBASE: Opt<String> =
    Opt::new("spoolbase", "\"/var/spool/postrider\"", scopes::GLOBAL, "Directory of the spool.").not_tunable();

/// Which store.
pub const SPOOL_BACKEND: Opt<String> = Opt::new(
    "spool_backend",
    "journal",
    scopes::GLOBAL,
    "How mail is kept on disk: journal (one log, the fastest), file (two files a message), \
     sqlite (headers in a database, bodies in files), or memory (not at all: everything \
     is lost when the process ends). A directory keeps its kind; ec_spool_convert changes it.",
)
.not_tunable()
.check(|word: &String| word.parse::<Kind>().map(drop));

/// Permissions of its files.
pub const SPOOL_MODE: Opt<Perms> =
    Opt::new("spool_mode", "0640", scopes::GLOBAL, "Permissions of the spool's files.").not_tunable();

/// Sync before answering.
pub const FORCE_FSYNC: Opt<bool> = Opt::new(
    "force_fsync",
    "true",
    scopes::GLOBAL,
    "Sync mail to the device before it is acknowledged. Off, a power loss loses acknowledged mail.",
)
.not_tunable();

/// Octets of a segment.
pub const SPOOL_SEGMENT_BYTES: Opt<u64> = Opt::new(
    "spool_segment_bytes",
    "67108864",
    scopes::GLOBAL,
    "Size of a journal segment file; at most a sixteenth of the device is used.",
)
.not_tunable()
.check(|&octets| match octets {
    65_536..=2_147_483_648 => Ok(()),
    _ => Err("must be between 65536 and 2147483648".to_owned()),
});

/// Octets that may wait for the device.
pub const SPOOL_WAITING_BYTES: Opt<u64> = Opt::new(
    "spool_waiting_bytes",
    "268435456",
    scopes::GLOBAL,
    "Mail held in memory while the device is busy; past it new mail is refused with a transient code.",
)
.not_tunable();

/// Unlinks that may wait.
pub const SPOOL_UNLINK_BACKLOG: Opt<u64> = Opt::new(
    "spool_unlink_backlog",
    "100",
    scopes::GLOBAL,
    "Finished messages whose removal may still be unwritten; a crash delivers at most so many twice.",
)
.not_tunable()
.check(|&backlog| if backlog == 0 { Err("must be at least 1".to_owned()) } else { Ok(()) });

/// What becomes of what nobody understands.
pub const UNLINK_ON_SPOOL_IN_FAILURE: Opt<bool> = Opt::new(
    "unlink_on_spool_in_failure",
    "false",
    scopes::GLOBAL,
    "Remove a message whose envelope a start cannot understand. Off, it stays in the spool, undelivered and reported at \
     each start, for a release that can. Records that the device has damaged are set aside in damaged/ either way.",
)
.not_tunable();

/// All options of the spool.
pub const OPTIONS: &[&dyn Declared] = &[
    &SPOOLBASE,
    &SPOOL_BACKEND,
    &SPOOL_MODE,
    &FORCE_FSYNC,
    &SPOOL_SEGMENT_BYTES,
    &SPOOL_WAITING_BYTES,
    &SPOOL_UNLINK_BACKLOG,
    &UNLINK_ON_SPOOL_IN_FAILURE,
];

impl JournalOptions {
    /// As a configuration says; a crash test's environment may say where to die.
    pub fn configured(generation: &Generation) -> Self {
        let backlog = generation.get(&SPOOL_UNLINK_BACKLOG, &Lookup::Global);
        Self {
            base: generation.get(&SPOOLBASE, &Lookup::Global).into(),
            mode: generation.get(&SPOOL_MODE, &Lookup::Global).0,
            force_fsync: generation.get(&FORCE_FSYNC, &Lookup::Global),
            segment_bytes: generation.get(&SPOOL_SEGMENT_BYTES, &Lookup::Global),
            waiting_bytes: generation.get(&SPOOL_WAITING_BYTES, &Lookup::Global),
            unlink_backlog: usize::try_from(backlog).unwrap_or(usize::MAX),
            crash_points: CrashPoints::from_environment(),
        }
    }
}
