//! What the operator may decide about lookups, with the limits nobody should need to change.

use std::time::Duration;

use config::{Declared, Generation, Lookup, Opt, Seconds, scopes};
use io_wrapper::IoWrappers;

use crate::resolv_conf::{ResolvConf, ResolvConfError};

/// The resolver configuration file.
pub const RESOLV_CONF: Opt<String> = Opt::new(
    "resolv_conf",
    "\"/etc/resolv.conf\"",
    scopes::GLOBAL,
    "File with the nameservers to ask, as resolv.conf(5); a nameserver line may carry a port, 127.0.0.1:5353.",
)
.not_tunable();

/// Whether hosts may be reached over IPv6.
pub const USE_IPV6: Opt<bool> =
    Opt::new("use_ipv6", "false", scopes::GLOBAL, "Look up AAAA records and deliver over IPv6 as well.").not_tunable();

/// Lower bound of the life of a route.
pub const MIN_DNS_TTL: Opt<Seconds> =
    Opt::new("min_dns_ttl", "0", scopes::GLOBAL, "Keep MX and address data at least this long, whatever its TTL.")
        .not_tunable();

/// Upper bound of the life of a route.
pub const MAX_DNS_TTL: Opt<Seconds> = Opt::new(
    "max_dns_ttl",
    "4294967295",
    scopes::GLOBAL,
    "Keep MX and address data at most this long, whatever its TTL.",
)
.not_tunable();

/// Whether truncated answers are fetched over TCP. RFC 7766 5 has no choice; nor has the default here, whatever it was once.
pub const DNS_FALLBACK_TO_TCP: Opt<bool> = Opt::new(
    "dns_fallback_to_tcp",
    "true",
    scopes::GLOBAL,
    "Fetch an answer that is too long for UDP over TCP. Without it a domain with many mail hosts cannot be looked up.",
)
.not_tunable();

/// How often what is over is looked for.
pub const DNS_EXPIRE_INTERVAL: Opt<Seconds> = Opt::new(
    "dns_expire_interval",
    "10",
    scopes::GLOBAL,
    "Seconds between two looks for domains whose MX and address data has expired: what was used since it was looked up is \
     looked up anew, the rest is forgotten.",
)
.not_tunable()
.check(|seconds| if seconds.0 == 0 { Err("must be at least 1 second".to_owned()) } else { Ok(()) });

/// The options of this room.
pub const OPTIONS: &[&dyn Declared] =
    &[&RESOLV_CONF, &USE_IPV6, &MIN_DNS_TTL, &MAX_DNS_TTL, &DNS_FALLBACK_TO_TCP, &DNS_EXPIRE_INTERVAL];

/// Everything a resolver is built from.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Servers, timeout and attempts.
    pub conf: ResolvConf,
    /// Whether AAAA records are asked for.
    pub use_ipv6: bool,
    /// Whether truncated answers are fetched over TCP.
    pub fallback_to_tcp: bool,
    /// Plans live at least this long, whatever the records say.
    pub min_ttl: Duration,
    /// Plans live at most this long.
    pub max_ttl: Duration,
    /// Between two sweeps of plans that are over.
    pub expire_interval: Duration,
    /// Plans kept; the least used go first.
    pub plans_max: usize,
    /// Raw answers kept by hickory; zero keeps none.
    pub answers_max: u64,
    /// Questions on their way to the servers at once; more wait their turn.
    pub queries_max: usize,
}

impl Settings {
    /// What a generation says, and the file it names. Blocks.
    pub fn read(generation: &Generation, wrappers: &IoWrappers) -> Result<Self, ResolvConfError> {
        let conf = ResolvConf::read(&generation.get(&RESOLV_CONF, &Lookup::Global), wrappers)?;
        Ok(Self {
            use_ipv6: generation.get(&USE_IPV6, &Lookup::Global),
            fallback_to_tcp: generation.get(&DNS_FALLBACK_TO_TCP, &Lookup::Global),
            min_ttl: generation.get(&MIN_DNS_TTL, &Lookup::Global).into(),
            max_ttl: generation.get(&MAX_DNS_TTL, &Lookup::Global).into(),
            expire_interval: generation.get(&DNS_EXPIRE_INTERVAL, &Lookup::Global).into(),
            ..Self::new(conf)
        })
    }

    /// The defaults with these servers.
    pub fn new(conf: ResolvConf) -> Self {
        Self {
            conf,
            use_ipv6: false,
            fallback_to_tcp: true,
            min_ttl: Duration::ZERO,
            max_ttl: Duration::from_secs(u32::MAX as u64),
            expire_interval: Duration::from_secs(10),
            plans_max: 100_000,
            answers_max: 100_000,
            queries_max: 500,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn load(dir: &Path, text: &str) -> std::sync::Arc<Generation> {
        let path = dir.join("ecelerity.conf");
        std::fs::write(&path, text).unwrap();
        let mut registry = config::Registry::new();
        registry.add_all(OPTIONS);
        config::Configuration::load(registry, &path, config::Environment::default()).unwrap().current()
    }

    #[test]
    fn the_options_lead_to_the_servers() {
        let dir = tempfile::tempdir().unwrap();
        let conf = dir.path().join("resolv.conf");
        std::fs::write(&conf, "nameserver 192.0.2.53:5300\n").unwrap();
        let text = format!(
            "resolv_conf = \"{}\"\nuse_ipv6 = true\nmin_dns_ttl = 30\ndns_fallback_to_tcp = no\n",
            conf.display()
        );
        let settings = Settings::read(&load(dir.path(), &text), &IoWrappers::new()).unwrap();
        assert_eq!(settings.conf.nameservers, ["192.0.2.53:5300".parse().unwrap()]);
        assert!(!settings.fallback_to_tcp);
        assert_eq!((settings.use_ipv6, settings.min_ttl), (true, Duration::from_secs(30)));
        assert_eq!(settings.max_ttl, Duration::from_secs(u32::MAX.into()));
    }

    #[test]
    fn a_file_that_is_not_there_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let generation = load(dir.path(), "resolv_conf = \"/no/such/file\"\n");
        let error = Settings::read(&generation, &IoWrappers::new()).unwrap_err().to_string();
        assert!(error.contains("/no/such/file"), "{error}");
    }
}
