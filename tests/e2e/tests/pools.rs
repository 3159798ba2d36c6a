//! Event loops and threads are what the configuration says they are.

use e2e::{SOON, accept, ask, configuration, daemon, letter, relay_with, testimony, wait};
use testkit::{Ended, Sink};

#[test]
fn listeners_and_deliveries_run_on_the_pools_named_for_them() {
    let sink = Sink::start();
    let text = configuration(
        &format!(
            "gateway = \"{}\"\ndelivery_pool = \"out\"\nmaintainer_pool = \"out\"\n\
             eventloop \"out\" {{ concurrency = 1 }}\neventloop \"in\" {{ concurrency = 2 }}\n",
            sink.addr()
        ),
        "event_loop = \"in\"",
    );
    let mut daemon = daemon("").prepare();
    daemon.write_config(&text);
    daemon.start();
    accept(&daemon, "ann@client.test", &["bob@shop.test"], &letter("between pools"));
    sink.wait_for(1, SOON);
    let pid = daemon.read("pid");
    let threads = std::fs::read_dir(format!("/proc/{}/task", pid.trim())).expect("it runs");
    let name = |thread: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_to_string(thread.expect("it runs").path().join("comm")).unwrap_or_default().trim().to_owned()
    };
    let names: Vec<String> = threads.map(name).collect();
    for name in ["loop in/0", "loop in/1", "loop out/0"] {
        assert!(names.iter().any(|thread| thread == name), "{name} is missing in {names:?}");
    }
    assert!(!names.iter().any(|thread| thread == "loop out/1" || thread == "loop in/2"), "{names:?}");
}

#[test]
fn a_pool_that_does_not_exist_is_refused_by_name() {
    let mut no_pool = daemon("delivery_pool = \"nosuch\"").prepare();
    no_pool.spawn();
    let status = no_pool.wait(SOON).unwrap_or_else(|| panic!("it runs\n{}", testimony(&no_pool)));
    assert_eq!(status.code(), Some(78));
    assert!(no_pool.stderr().contains("nosuch") && no_pool.stderr().contains("eventloop"), "{}", no_pool.stderr());

    let running = daemon("").start();
    running.write_config(&configuration("", "event_loop = \"nosuch\""));
    let Ended { status, stderr, .. } = running.console(&["config", "reload"]);
    assert_eq!(status.code(), Some(1));
    assert!(stderr.contains("nosuch"), "{stderr}");
}

#[test]
fn thread_pools_have_the_size_the_configuration_gives_and_a_reload_changes_it() {
    let sink = Sink::start();
    let sized = |threads: u32| {
        format!("ThreadPool \"IO\" {{ Concurrency = {threads} }}\nThreadPool \"mine\" {{ Concurrency = 3 }}\n")
    };
    let daemon = relay_with(&sink, &sized(7)).start();
    let pools = ask(&daemon, &["threads"]);
    for line in
        ["IO thread pool: concurrency 7", "MINE thread pool: concurrency 3", "UNLINK thread pool: concurrency 6"]
    {
        assert!(pools.lines().any(|known| known == line), "{line:?} is missing in:\n{pools}");
    }
    daemon.write_config(&configuration(&sized(9), ""));
    ask(&daemon, &["config", "reload"]);
    wait(&daemon, "the pool has grown", || ask(&daemon, &["threads"]).contains("IO thread pool: concurrency 9\n"));
    daemon.write_config(&configuration("", ""));
    ask(&daemon, &["config", "reload"]);
    wait(&daemon, "it is as documented", || ask(&daemon, &["threads"]).contains("IO thread pool: concurrency 50\n"));
}
