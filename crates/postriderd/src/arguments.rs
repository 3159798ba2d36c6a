//! The command line of the daemon.

use std::path::PathBuf;

use clap::Parser;

/// Postrider, a mail transfer agent.
#[derive(Debug, Parser)]
#[command(name = "postriderd", version, disable_help_subcommand = true)]
#[command(
    after_help = "Without -d the daemon goes into the background once it listens; a start that fails is reported \
                        here all the same. SIGTERM and SIGINT stop it gracefully, SIGHUP reloads the configuration.\n\n\
                        Exit codes: 0 stopped as asked, 64 wrong usage, 69 the spool is in use or damaged beyond starting, \
                        70 internal error, 71 an address cannot be bound or a thread not started, 78 configuration refused."
)]
pub struct Arguments {
    /// Configuration file.
    #[arg(short = 'c', value_name = "FILE", default_value = "/etc/postrider/ecelerity.conf")]
    pub configuration: PathBuf,

    /// Stay in the foreground and log to standard error as well.
    #[arg(short = 'd')]
    pub foreground: bool,

    /// Set by the daemon itself for its background process.
    #[arg(long, hide = true)]
    pub background_child: bool,
}
