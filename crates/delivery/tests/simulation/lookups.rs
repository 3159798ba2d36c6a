//! What the DNS says, or does not say, of a domain: verdicts, and lookups on a schedule of their own.

use delivery::Selection;
use dns::DnsError;

use crate::FROM;
use crate::world::{World, simulate};

const NO_HOST: &str = "454 4.4.4 [internal] no MX or A for domain";
const PURGED: &str = "554 5.4.4 [internal] Domain Lookup Failed";
const DNS_FAILURE: &str = "451 4.4.3 [internal] DNS failure: lookup of x.test MX: no answer in time";

fn no_records(until: Option<std::time::Instant>) -> DnsError {
    DnsError::NoRecords { name: "x.test".into(), until }
}

fn timeout() -> DnsError {
    DnsError::Timeout { name: "x.test MX".into(), server: Some(([192, 0, 2, 53], 53).into()) }
}

#[test]
fn mail_for_a_domain_that_does_not_exist_fails_at_once() {
    simulate("", async |world: World| {
        world.send(FROM, &["ann@x.test"]).await;
        world.pass(1).await;
        let text = "550 5.1.2 [internal] domain does not exist (NXDOMAIN)";
        assert_eq!(world.log(), [format!("0 P ann@x.test stage=0 retries=0 - {text}")]);
        assert_eq!((world.bounces.told.lock().unwrap().len(), world.stored()), (1, 0));
    });
}

#[test]
fn mail_for_a_domain_that_does_not_exist_waits_where_the_operator_wants_that() {
    let text = "domain \"x.test\" { retry_nonexistent_domains = true }\n";
    simulate(text, async |world: World| {
        world.send(FROM, &["ann@x.test", "bob@y.test"]).await;
        world.pass(1).await;
        let mut log = world.log();
        log.sort();
        assert!(log[0].starts_with("0 P bob@y.test") && log[1].starts_with("0 T ann@x.test"), "{log:?}");
        world.network.host(1);
        world.network.mx("x.test", &[(10, "mx.x.test", 1)]);
        world.pass(1200).await;
        assert_eq!(world.log(), ["1200 D ann@x.test retries=1 192.0.2.1"]);
    });
}

#[test]
fn a_next_hop_that_the_operator_wrote_and_that_does_not_exist_fails_no_mail() {
    for text in ["gateway = \"relay.test:25\"\n", "domain \"x.test\" { routes = ( \"relay.test\" ) }\n"] {
        simulate(text, async |world: World| {
            world.send(FROM, &["ann@x.test"]).await;
            world.pass(1).await;
            let log = world.log();
            assert!(log.len() == 1 && log[0].starts_with("0 T") && log[0].ends_with(NO_HOST), "{text}: {log:?}");
        });
    }
}

#[test]
fn a_domain_without_a_host_is_retried_and_purged_after_dns_failures_to_purge() {
    simulate("dns_failures_to_purge = 3\nmax_retries = none\n", async |world: World| {
        world.network.no_mx("x.test", no_records(None));
        world.send(FROM, &["ann@x.test"]).await;
        world.pass(4000).await;
        assert_eq!(
            world.log(),
            [
                format!("0 T ann@x.test stage=0 retries=0 - {NO_HOST}"),
                format!("1200 T ann@x.test stage=0 retries=1 - {NO_HOST}"),
                format!("3600 P ann@x.test stage=0 retries=2 - {PURGED}"),
            ]
        );
    });
}

#[test]
fn an_answer_that_is_kept_is_one_lookup_however_much_mail_it_is_used_for() {
    simulate("dns_failures_to_purge = 3\ndns_failure_retry = 1\n", async |world: World| {
        let until = tokio::time::Instant::now().into_std() + std::time::Duration::from_secs(3600);
        world.network.no_mx("x.test", no_records(Some(until)));
        for _ in 0..20 {
            world.send(FROM, &["ann@x.test"]).await;
            world.pass(10).await;
        }
        let log = world.log();
        assert!(log.len() == 20 && log.iter().all(|line| line.ends_with(NO_HOST)), "{log:?}");
    });
}

#[test]
fn lookups_without_an_answer_have_their_own_schedule_and_purge_in_the_end() {
    let text =
        "dns_failures_to_purge = 6\nhost_failure_retry = 5\nmax_retries = none\nmx_failures_fallback_to_a = -1\n";
    simulate(text, async |world: World| {
        world.network.no_mx("x.test", timeout());
        world.send(FROM, &["ann@x.test"]).await;
        world.pass(59).await;
        assert_eq!(world.network.lookups(), 1);
        // 60, 120, 240, 480 seconds apart, and up to a tenth longer.
        for (seconds, lookups) in [(8, 2), (134, 3), (267, 4)] {
            world.pass(seconds).await;
            assert_eq!(world.network.lookups(), lookups);
        }
        assert!(world.log().is_empty(), "nothing has failed yet");
        let x = world.engine.domain("x.test").await;
        assert_eq!(x.consecutive_failures, 0, "no connection was tried");
        world.pass(4000).await;
        let log = world.log();
        assert!(log.len() == 2 && log[0].ends_with(DNS_FAILURE) && log[0].contains(" T "), "{log:?}");
        assert!(log[1].ends_with(PURGED) && log[1].contains(" P "), "{log:?}");
        assert_eq!(world.network.lookups(), 6);
    });
}

#[test]
fn mail_that_waited_for_the_dns_goes_with_the_next_lookup() {
    simulate("", async |world: World| {
        world.network.no_mx("x.test", timeout());
        world.send(FROM, &["ann@x.test"]).await;
        world.pass(600).await;
        assert!(world.log().is_empty());
        world.network.host(1);
        world.network.mx("x.test", &[(10, "mx.x.test", 1)]);
        world.pass(600).await;
        assert_eq!(world.log().len(), 1);
    });
}

#[test]
fn failed_lookups_count_as_rounds_that_delay_a_domain() {
    simulate("mx_failures_to_delay = 2\ndns_failure_retry = 10\n", async |world: World| {
        world.network.no_mx("x.test", timeout());
        world.send(FROM, &["ann@x.test"]).await;
        world.pass(9).await;
        assert!(world.log().is_empty());
        world.pass(3).await;
        let log = world.log();
        assert!(log.len() == 1 && log[0].ends_with(DNS_FAILURE), "{log:?}");
    });
}

#[test]
fn a_flush_looks_up_anew_and_believes_no_failure_that_is_kept() {
    simulate("domain \"x.test\" { routes = ( __mx__ \"smtp://relay.test?type=mx\" ) }\n", async |world: World| {
        world.network.no_mx("x.test", timeout());
        world.network.no_mx("relay.test", timeout());
        world.send(FROM, &["ann@x.test"]).await;
        world.pass(1).await;
        let lookups = world.network.lookups();
        world.network.host(1);
        world.network.mx("x.test", &[(10, "mx.x.test", 1)]);
        world.engine.flush(&Selection::domain("x.test")).await;
        world.pass(1).await;
        assert_eq!(world.network.forgotten(), ["x.test", "relay.test"]);
        assert!(lookups < world.network.lookups());
        assert_eq!(world.log(), ["1 D ann@x.test retries=0 192.0.2.1"]);
    });
}
