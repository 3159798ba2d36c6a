//! Lookups against a real server on UDP and TCP: what mail routing needs, and what a bad server may do.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use dns::{DnsError, DnsRuntime, MxHost, MxPlan, Overrides, ResolvConf, Resolver, Settings};
use io_wrapper::IoWrappers;
use scheduler::{Clock, Meters};
use testkit::ZoneServer;
use testkit::dns::Behaviour;

const ZONE: &str = "
    example.test. 600 MX 20 second.example.test
    example.test. 600 MX 10 first.example.test
    example.test. 600 MX 10 twin.example.test
    first.example.test. 900 A 192.0.2.1
    first.example.test. 900 AAAA 2001:db8::1
    second.example.test. 120 A 192.0.2.2
    second.example.test. 120 A 192.0.2.22
    twin.example.test. CNAME first.example.test
    address.test. A 192.0.2.3
    nothing.test. TXT \"no mail here\"
    null.test. MX 0 .
    literal.test. MX 5 192.0.2.9
    literal.test. MX 10 first.example.test
    only-literal.test. MX 5 192.0.2.9
    dangling.test. MX 5 gone.example.test
    dangling.test. A 192.0.2.3
    loop.test. CNAME pool.test
    pool.test. CNAME loop.test
    4.2.0.192.in-addr.arpa. PTR Host.Example.test";

struct Lab {
    server: ZoneServer,
    resolver: Resolver,
    meters: Meters,
}

impl Lab {
    fn new() -> Self {
        Self::with(|_| {})
    }

    /// For tests in which nobody answers.
    fn impatient() -> Self {
        Self::with(|settings| settings.conf.timeout = Duration::from_millis(100))
    }

    fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let server = ZoneServer::start(ZONE);
        Self::on(server, Overrides::new(), Clock::system(), change)
    }

    fn on(server: ZoneServer, overrides: Overrides, clock: Clock, change: impl FnOnce(&mut Settings)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("resolv.conf");
        server.write_resolv_conf(&path).unwrap();
        let mut settings = Settings::new(ResolvConf::read(path.to_str().unwrap(), &IoWrappers::new()).unwrap());
        settings.conf.timeout = Duration::from_secs(10);
        change(&mut settings);
        let meters = Meters::new();
        let resolver = Resolver::new(&DnsRuntime::start().unwrap(), settings, overrides, clock, &meters).unwrap();
        Self { server, resolver, meters }
    }

    async fn mx(&self, domain: &str) -> Result<MxPlan, DnsError> {
        self.resolver.mx(domain).await
    }
}

/// A plan as one line: `10 host [address address]; …`.
fn line(plan: &MxPlan) -> String {
    let hosts = plan.hosts.iter().map(|host| format!("{} {} {:?}", host.preference, host.name, host.addresses));
    hosts.collect::<Vec<_>>().join("; ")
}

#[tokio::test]
async fn hosts_come_by_preference_with_their_addresses() {
    let lab = Lab::new();
    let plan = lab.mx("Example.TEST.").await.unwrap();
    assert_eq!(
        line(&plan),
        "10 first.example.test [192.0.2.1]; 10 twin.example.test [192.0.2.1]; 20 second.example.test [192.0.2.2, 192.0.2.22]"
    );
    assert!(!plan.implicit);
    assert!(plan.ttl <= Duration::from_secs(120), "the shortest TTL rules: {:?}", plan.ttl);
    assert_eq!((lab.meters.get("dns.queries.mx"), lab.meters.get("dns.queries.aaaa")), (1, 0));
    let (peak, all) = (lab.meters.get("dns.response_microseconds_peak"), lab.meters.get("dns.response_microseconds"));
    assert!(0 < peak && peak <= all, "{peak} of {all}");
}

#[tokio::test]
async fn ipv6_is_asked_for_only_when_wanted() {
    let lab = Lab::with(|settings| settings.use_ipv6 = true);
    assert_eq!(lab.mx("example.test").await.unwrap().hosts[0].addresses.len(), 2);
    let addresses = lab.resolver.addresses("first.example.test").await.unwrap();
    assert_eq!(addresses, ["192.0.2.1", "2001:db8::1"].map(|text| text.parse::<std::net::IpAddr>().unwrap()));
}

#[tokio::test]
async fn a_domain_without_mx_is_its_own_host() {
    let plan = Lab::new().mx("address.test").await.unwrap();
    assert_eq!((line(&plan).as_str(), plan.implicit), ("0 address.test [192.0.2.3]", true));
}

#[tokio::test]
async fn refusals_are_told_apart() {
    let lab = Lab::new();
    let name = |text: &str| Arc::from(text);
    assert_eq!(lab.mx("null.test").await, Err(DnsError::NullMx { name: name("null.test") }));
    for text in ["gone.test", "nothing.test"] {
        let error = lab.mx(text).await.unwrap_err();
        let until = error.kept_until();
        assert!(until.is_some() && !error.is_temporary(), "{error}");
        let expected = match text {
            "gone.test" => DnsError::NoSuchDomain { name: name(text), until },
            _ => DnsError::NoRecords { name: name(text), until },
        };
        assert_eq!(error, expected);
        assert_eq!(lab.mx(text).await, Err(expected), "the answer that is kept says until when");
    }
    let long = "a".repeat(70) + ".test";
    for text in ["no name", "", &long] {
        assert_eq!(lab.mx(text).await, Err(DnsError::NoSuchDomain { name: name(text), until: None }));
    }
}

#[tokio::test]
async fn mx_records_that_lead_nowhere_do_not_fall_back_to_the_domain() {
    let lab = Lab::new();
    assert!(matches!(lab.mx("dangling.test").await, Err(DnsError::NoRecords { .. })));
    assert_eq!(lab.server.count("dangling.test", "A"), 0);
}

#[tokio::test]
async fn an_address_in_an_mx_record_is_no_host() {
    let lab = Lab::new();
    assert_eq!(line(&lab.mx("literal.test").await.unwrap()), "10 first.example.test [192.0.2.1]");
    assert!(matches!(lab.mx("only-literal.test").await, Err(DnsError::NoRecords { .. })));
}

#[tokio::test]
async fn a_failing_server_is_named_and_asked_again_next_time() {
    let lab = Lab::new();
    lab.server.behave_times("example.test", Behaviour::ServFail, 1);
    let error = lab.mx("example.test").await.unwrap_err();
    assert!(error.is_temporary());
    let text = error.to_string();
    assert!(text.contains("example.test MX") && text.contains(&lab.server.addr().to_string()), "{text}");
    assert_eq!(lab.mx("example.test").await.unwrap().hosts.len(), 3);
    assert_eq!(lab.meters.get("dns.failures"), 1);
}

#[tokio::test]
async fn a_host_that_cannot_be_looked_up_does_not_spoil_the_others() {
    let lab = Lab::new();
    lab.server.behave("second.example.test", Behaviour::ServFail);
    let plan = lab.mx("example.test").await.unwrap();
    assert_eq!(plan.hosts.len(), 2);
    assert!(plan.ttl <= Duration::from_secs(60), "looked at again soon");
    lab.server.behave("*", Behaviour::Refused);
    assert!(matches!(lab.mx("dangling.test").await, Err(DnsError::Temporary { .. })));
}

#[tokio::test]
async fn a_silent_server_is_given_up() {
    let lab = Lab::impatient();
    lab.server.behave("*", Behaviour::Silent);
    let error = lab.mx("example.test").await.unwrap_err();
    assert_eq!(error, DnsError::Timeout { name: "example.test MX".into(), server: Some(lab.server.addr()) });
    assert_eq!((lab.meters.get("dns.timeouts.mx"), lab.meters.get("dns.timeouts.a")), (1, 0));
    assert_eq!(lab.meters.get("dns.response_microseconds_peak"), 0, "no answer, no response time");
}

#[tokio::test]
async fn lies_and_garbage_are_not_believed() {
    let lab = Lab::impatient();
    for behaviour in [Behaviour::WrongId, Behaviour::WrongQuestion, Behaviour::Garbage] {
        lab.server.behave("*", behaviour.clone());
        let error = lab.mx("example.test").await.expect_err("must not be believed");
        assert!(error.is_temporary(), "{behaviour:?}: {error}");
    }
    let lab = Lab::new();
    lab.server.behave("*", Behaviour::LieThenAnswer);
    assert_eq!(lab.mx("example.test").await.unwrap().hosts.len(), 3);
}

#[tokio::test]
async fn a_truncated_answer_is_fetched_over_tcp() {
    let lab = Lab::new();
    lab.server.behave("*", Behaviour::Truncated);
    assert_eq!(lab.mx("example.test").await.unwrap().hosts.len(), 3);
    assert!(lab.server.queries().iter().any(|query| query.tcp && query.kind == "MX"));
}

#[tokio::test]
async fn without_tcp_a_truncated_answer_is_no_answer() {
    let lab = Lab::with(|settings| settings.fallback_to_tcp = false);
    lab.server.behave("*", Behaviour::Truncated);
    let error = lab.mx("example.test").await.unwrap_err();
    assert!(error.is_temporary(), "{error}");
    assert!(!lab.server.queries().iter().any(|query| query.tcp));
}

#[tokio::test]
async fn a_loop_of_aliases_ends() {
    let lab = Lab::new();
    lab.mx("loop.test").await.expect_err("leads nowhere");
    assert!(lab.server.queries().len() < 50, "{} questions", lab.server.queries().len());
}

#[tokio::test]
async fn the_next_server_is_asked_when_one_fails() {
    for behaviour in [Behaviour::ServFail, Behaviour::Refused, Behaviour::Silent] {
        let bad = ZoneServer::start("");
        bad.behave("*", behaviour);
        let lab = Lab::with(|settings| {
            settings.conf.nameservers.insert(0, bad.addr());
            settings.conf.timeout = Duration::from_secs(1);
            settings.conf.attempts = 5;
        });
        assert_eq!(lab.mx("example.test").await.unwrap().hosts.len(), 3);
        assert_eq!(lab.mx("address.test").await.unwrap().hosts.len(), 1);
        assert_eq!(bad.count("example.test", "A"), 0, "the server that answers is asked first from then on");
        assert_eq!(bad.count("address.test", "MX"), 0);
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_a_temporary_failure() {
    let gone = ZoneServer::start("").addr();
    let lab = Lab::with(|settings| {
        settings.conf.nameservers = vec![gone];
        settings.conf.timeout = Duration::from_millis(100);
    });
    assert!(lab.mx("example.test").await.unwrap_err().is_temporary());
}

#[tokio::test]
async fn plans_and_refusals_are_kept_until_refreshed() {
    let lab = Lab::new();
    for _ in 0..5 {
        lab.mx("example.test").await.unwrap();
        lab.mx("gone.test").await.unwrap_err();
    }
    assert_eq!((lab.server.count("example.test", "MX"), lab.server.count("gone.test", "MX")), (1, 1));
    assert_eq!((lab.resolver.stats().hits, lab.resolver.stats().misses, lab.resolver.stats().plans), (8, 2, 2));

    lab.server.remove("example.test");
    lab.server.add("example.test. MX 5 second.example.test");
    lab.server.remove("second.example.test");
    lab.server.add("second.example.test. A 192.0.2.99");
    lab.resolver.refresh("Example.test");
    assert_eq!(line(&lab.mx("example.test").await.unwrap()), "5 second.example.test [192.0.2.99]");
}

#[tokio::test]
async fn that_there_is_no_host_is_forgotten_on_demand_and_a_plan_is_not() {
    let lab = Lab::new();
    for domain in ["gone.test", "nothing.test", "dangling.test"] {
        lab.mx(domain).await.unwrap_err();
    }
    lab.mx("example.test").await.unwrap();
    // The host of dangling.test, too, is one that did not exist a moment ago.
    lab.server.add("gone.test. A 192.0.2.7\nnothing.test. MX 10 gone.test\ngone.example.test. A 192.0.2.8");
    for domain in ["Gone.test", "nothing.test.", "dangling.test"] {
        lab.mx(domain).await.unwrap_err();
        lab.resolver.forget_failure(domain);
        lab.mx(domain).await.expect(domain);
    }
    lab.mx("only-literal.test").await.unwrap_err();
    lab.server.remove("only-literal.test");
    lab.server.add("only-literal.test. MX 10 gone.test");
    lab.resolver.forget_failure("only-literal.test");
    lab.mx("only-literal.test").await.expect("records that lead nowhere are forgotten, too");
    lab.resolver.forget_failure("example.test");
    lab.mx("example.test").await.unwrap();
    assert_eq!(lab.server.count("example.test", "MX"), 1, "a plan stands");
}

#[tokio::test]
async fn that_there_is_no_host_is_not_kept_for_longer_than_the_zone_says() {
    let begin = Clock::system().now();
    let lab = Lab::with(|settings| settings.min_ttl = Duration::from_secs(100_000));
    let error = lab.mx("gone.test").await.unwrap_err();
    let until = error.kept_until().expect("it is kept");
    assert!(until < begin + Duration::from_secs(50_000), "min_dns_ttl is for hosts that there are");
}

#[tokio::test]
async fn what_was_asked_before_a_refresh_is_not_kept() {
    let lab = Lab::new();
    lab.server.behave("address.test", Behaviour::Delayed(Duration::from_millis(100)));
    let resolver = lab.resolver.clone();
    let early = tokio::spawn(async move { resolver.mx("address.test").await });
    while lab.resolver.stats().asking == 0 {
        tokio::task::yield_now().await;
    }
    lab.resolver.refresh("address.test");
    assert_eq!(lab.resolver.stats().asking, 0);
    lab.mx("address.test").await.unwrap();
    early.await.unwrap().unwrap();
    assert_eq!((lab.resolver.stats().misses, lab.resolver.stats().plans, lab.resolver.stats().asking), (2, 1, 0));
}

#[tokio::test]
async fn a_plan_ends_with_its_ttl() {
    tokio::time::pause();
    let clock = Clock::simulated(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000));
    let lab = Lab::on(ZoneServer::start(ZONE), Overrides::new(), clock, |settings| {
        settings.min_ttl = Duration::from_secs(200);
    });
    tokio::time::resume(); // the question itself takes real time
    lab.mx("example.test").await.unwrap();
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(190)).await;
    lab.mx("example.test").await.unwrap();
    assert_eq!(lab.resolver.stats().misses, 1, "min_dns_ttl keeps it beyond the 120 s of the record");
    tokio::time::advance(Duration::from_secs(20)).await;
    tokio::time::resume();
    lab.mx("example.test").await.unwrap();
    assert_eq!(lab.resolver.stats().misses, 2);
}

#[tokio::test]
async fn questions_for_one_domain_are_asked_once() {
    let lab = Lab::new();
    lab.server.behave("example.test", Behaviour::Delayed(Duration::from_millis(50)));
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let resolver = lab.resolver.clone();
        asking.spawn(async move { resolver.mx("example.test").await.unwrap() });
    }
    assert_eq!(asking.join_all().await.len(), 100);
    assert_eq!(lab.server.count("example.test", "MX"), 1);
    assert_eq!(lab.resolver.stats().asking, 0);
}

#[tokio::test]
async fn a_caller_may_give_up_and_the_answer_is_still_kept() {
    let lab = Lab::new();
    lab.server.behave("example.test", Behaviour::Delayed(Duration::from_millis(20)));
    {
        let mut asking = Box::pin(lab.mx("example.test"));
        tokio::select! {
            biased;
            _ = &mut asking => unreachable!("the server takes its time"),
            () = std::future::ready(()) => {}
        }
    }
    assert_eq!(lab.mx("example.test").await.unwrap().hosts.len(), 3);
    assert_eq!(lab.server.count("example.test", "MX"), 1);
}

#[tokio::test]
async fn overrides_come_before_the_servers() {
    let host = MxHost { preference: 7, name: "relay.test".into(), addresses: vec!["192.0.2.77".parse().unwrap()] };
    let overrides = Overrides::from([("example.test".to_owned(), vec![host])]);
    let lab = Lab::on(ZoneServer::start(ZONE), overrides, Clock::system(), |_| {});
    assert_eq!(line(&lab.mx("EXAMPLE.test").await.unwrap()), "7 relay.test [192.0.2.77]");
    assert!(lab.server.queries().is_empty());
}

#[tokio::test]
async fn txt_ptr_and_literal_addresses() {
    let lab = Lab::new();
    assert_eq!(lab.resolver.txt("nothing.test").await.unwrap(), [b"no mail here"]);
    assert_eq!(lab.resolver.ptr("192.0.2.4".parse().unwrap()).await.unwrap(), ["host.example.test"]);
    assert_eq!(lab.resolver.addresses("192.0.2.9").await.unwrap().len(), 1);
    assert!(matches!(lab.resolver.addresses("gone.test").await, Err(DnsError::NoSuchDomain { .. })));
}

#[tokio::test]
async fn a_domain_with_hundreds_of_hosts_is_cut_short() {
    let lab = Lab::new();
    for n in 0..400 {
        lab.server.add(&format!("many.test. MX {n} host{n}.many.test\nhost{n}.many.test. A 192.0.2.1"));
    }
    let plan = lab.mx("many.test").await.unwrap();
    assert_eq!((plan.hosts.len(), plan.hosts[0].preference, plan.hosts[49].preference), (50, 0, 49));
}

#[tokio::test]
async fn a_plan_of_the_hosts_known_so_far_does_not_wait_for_the_slowest() {
    let lab = Lab::with(|settings| settings.conf.timeout = Duration::from_secs(1));
    for slow in ["first.example.test", "twin.example.test"] {
        lab.server.behave_times(slow, Behaviour::Silent, 1);
    }
    let soon = lab.resolver.mx_soon("example.test").await.expect("a host is known");
    assert_eq!((line(&soon).as_str(), soon.partial), ("20 second.example.test [192.0.2.2, 192.0.2.22]", true));
    // The others answer when they are asked again, and whoever waits for all hosts has them.
    let whole = lab.mx("example.test").await.expect("a plan");
    assert!(!whole.partial && whole.hosts.len() == 3, "{whole:?}");
    let kept = lab.resolver.mx_soon("example.test").await.expect("a plan");
    assert_eq!((kept.partial, kept), (false, whole), "what is kept is never partial");
    assert_eq!(lab.meters.get("dns.cache.misses"), 1, "one look-up served them all");
}

/// Twice: simulated time moves with tokio's clock, and so do the timers of the lab.
#[tokio::test(start_paused = true)]
async fn a_sweep_renews_what_was_used_once_and_forgets_the_rest() {
    let server = ZoneServer::start(ZONE);
    let clock = Clock::simulated(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000));
    let lab = Lab::on(server, Overrides::new(), clock, |settings| {
        settings.answers_max = 0;
        settings.expire_interval = Duration::from_secs(1_000_000);
    });
    let (used, idle) = ("example.test", "address.test");
    for domain in [used, idle, used, "gone.test"] {
        let _ = lab.mx(domain).await;
    }
    assert_eq!(lab.resolver.stats().plans, 3);
    lab.resolver.sweep();
    assert_eq!(lab.resolver.stats().plans, 3, "nothing is over yet");

    tokio::time::advance(Duration::from_secs(4000)).await;
    lab.resolver.sweep();
    assert_eq!((lab.resolver.stats().plans, lab.resolver.stats().asking), (0, 1));
    assert_eq!(lab.mx(used).await.expect("renewed").hosts.len(), 3);
    let counts = |name: &str| lab.meters.get(&format!("dns.cache.{name}"));
    assert_eq!((counts("expired"), counts("renewed"), counts("misses"), counts("joined")), (3, 1, 3, 1));

    // Nobody has used the renewed plan, so it is not renewed a second time.
    tokio::time::advance(Duration::from_secs(4000)).await;
    lab.resolver.sweep();
    assert_eq!((lab.resolver.stats().plans, lab.resolver.stats().asking, counts("renewed")), (0, 0, 1));
}
