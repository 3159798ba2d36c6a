//! The options of the daemon itself: they belong to no room but to the wiring between them.
//!
//! Declared here and not beside their use because the offline tools, which do not know the daemon, check files too.

use config::{Declared, Opt, Perms, Scope, scopes};
use scheduler::Measure;

/// Where the process id is written.
pub const PIDFILE: Opt<String> = Opt::new(
    "pidfile",
    "\"/var/run/ecelerity.pid\"",
    scopes::GLOBAL,
    "File that holds the daemon's process id while it runs; empty: none.",
)
.not_tunable();

/// Loops of one event loop pool.
pub const CONCURRENCY: Opt<u64> = Opt::new(
    "concurrency",
    "0",
    &[Scope::EventLoop, Scope::ThreadPool],
    "Loops of an event loop pool (0: one for each processor), or threads of a thread pool (0: inline).",
)
.check(|&concurrency| if concurrency <= 1024 { Ok(()) } else { Err("must be at most 1024".into()) });

/// Jobs a thread pool lets wait.
pub const BACKLOG: Opt<u64> = Opt::new(
    "backlog",
    "0",
    scopes::THREAD_POOL,
    "Jobs that may wait in a thread pool before submitters wait; 0: no limit.",
);

/// Stack of a pool's threads.
pub const STACK_SIZE: Opt<u64> =
    Opt::new("stack_size", "2097152", scopes::THREAD_POOL, "Stack of a thread pool's threads, in bytes.");

/// The pool of whatever names none; it is there without a stanza.
pub const DEFAULT_POOL: &str = "default";

/// Which pool delivers.
pub const DELIVERY_POOL: Opt<String> = Opt::new(
    "delivery_pool",
    "\"default\"",
    scopes::GLOBAL,
    "Event loop pool that carries the queues and their outbound connections.",
)
.not_tunable();

/// Which pool maintains queues.
pub const MAINTAINER_POOL: Opt<String> = Opt::new(
    "maintainer_pool",
    "",
    scopes::GLOBAL,
    "Event loop pool of the queue maintainers. A queue and its connections share a loop here, so if it is set it must \
     name the pool of delivery_pool.",
)
.not_tunable();

/// Mode of the files of `trace smtp`.
pub const TRACE_SMTP_MODE: Opt<Perms> = Opt::new(
    "trace_smtp_mode",
    "0640",
    scopes::GLOBAL,
    "Mode of the files that dialogues with hosts are recorded in (console command trace smtp add).",
);

/// How long a loop may be silent.
pub const WATCHDOG_INTERVAL: Opt<u64> = Opt::new(
    "watchdog_interval",
    "10",
    scopes::GLOBAL,
    "Seconds an event loop may be silent before it is reported as blocked.",
)
.check(|&seconds| if 1 <= seconds { Ok(()) } else { Err("must be at least 1 second".into()) });
/// From where on memory is given back.
pub const MEMORY_GOAL: Opt<u64> = Opt::new(
    "memory_goal",
    "90",
    scopes::GLOBAL,
    "Percent of memory from which the daemon lets go of what it can read from disk again: bodies of queued mail. Of the \
     machine's memory, or of what its control group or ulimit -m allows, if that is less. What counts is what the daemon has \
     allocated, as the console's memory shows it by owner; the page cache does not.",
)
.check(a_percentage);
/// From where on no mail is taken.
pub const MEMORY_HWM: Opt<u64> = Opt::new(
    "memory_hwm",
    "95",
    scopes::GLOBAL,
    "Percent of memory, as for memory_goal, from which no mail is taken: MAIL is answered 452 4.3.1, and new clients 421 \
     4.3.1.",
)
.check(a_percentage);

fn a_percentage(percent: &u64) -> Result<(), String> {
    if (1..=100).contains(percent) { Ok(()) } else { Err("must be from 1 to 100".to_owned()) }
}

/// The limit asked for.
pub const SERVER_MAX_FILE_DESCRIPTORS: Opt<u64> = Opt::new(
    "server_max_file_descriptors",
    "3000000",
    scopes::GLOBAL,
    "Descriptors the daemon asks the system for at start; each session and each delivery needs one. Unset, it takes what \
     the hard limit allows; set, it raises that limit too if it is root, and warns if it gets fewer.",
)
.not_tunable()
.check(|&descriptors| if 64 <= descriptors { Ok(()) } else { Err("must be at least 64".to_owned()) });

/// All of them.
pub const OPTIONS: &[&dyn Declared] = &[
    &PIDFILE,
    &CONCURRENCY,
    &BACKLOG,
    &STACK_SIZE,
    &DELIVERY_POOL,
    &MAINTAINER_POOL,
    &TRACE_SMTP_MODE,
    &WATCHDOG_INTERVAL,
    &MEMORY_GOAL,
    &MEMORY_HWM,
    &SERVER_MAX_FILE_DESCRIPTORS,
];

/// What the daemon itself counts.
pub const MEASURES: &[Measure] = &[
    Measure::gauge(
        "memory.accounted",
        "octets",
        "Memory that the owners are charged with, together: what the marks are compared with.",
    ),
    Measure::gauge(
        "memory.anonymous",
        "octets",
        "Resident memory of the process without files, as the kernel counts it.",
    ),
    Measure::gauge("memory.unaccounted", "octets", "What of that no owner is charged with."),
    Measure::gauge(
        "memory.whole",
        "octets",
        "The memory that the daemon may have: of the machine, its control group or its limit.",
    ),
    Measure::gauge("memory.available", "octets", "What of that the marks are percentages of."),
    Measure::gauge("memory.goal", "octets", "memory_goal, in octets."),
    Measure::gauge("memory.high_water", "octets", "memory_hwm, in octets."),
    Measure::gauge("memory.pressure", "", "0, 1 above memory_goal, 2 above memory_hwm."),
    Measure::counter("config.reloads.refused", "times", "Reloads and changes of the configuration that were refused."),
];
