//! Sockets and loops, with a listener type that says on which loop it serves and waits for the client to go.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use config::ListenAddress;
use netlistener::{Accepted, Admission, ListenSpec, NetlistenerType, Netlisteners, Service, Turned};
use scheduler::{Descriptors, LoopHandle, Meters};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

struct TellLoop;

struct OnLoop(String);

impl NetlistenerType for TellLoop {
    fn word(&self) -> &'static str {
        "test_listener"
    }

    fn start(&self, on: &LoopHandle) -> Rc<dyn Service> {
        Rc::new(OnLoop(on.name().to_owned()))
    }

    fn farewell(&self, _: Turned) -> &'static [u8] {
        b"no\n"
    }
}

impl Service for OnLoop {
    fn serve(self: Rc<Self>, accepted: Accepted) -> Pin<Box<dyn Future<Output = ()>>> {
        Box::pin(async move {
            let Accepted { mut stream, stop, seat: _seat, .. } = accepted;
            let _ = stream.write_all(format!("{}\n", self.0).as_bytes()).await;
            tokio::select! {
                _ = stream.read_u8() => {}
                () = stop.requested() => {}
            }
        })
    }
}

fn spec(listen: &str) -> ListenSpec {
    ListenSpec {
        word: "test_listener",
        listen: listen.into(),
        address: ListenAddress::parse(listen).expect("an address"),
        backlog: 16,
        file_mode: 0o600,
        disable_nagle: false,
        recv_buffer_octets: 0,
        send_buffer_octets: 0,
        event_loop: None,
        concurrency: 0,
    }
}

fn listeners(loops: &[&str]) -> Netlisteners {
    listeners_of(loops, &Arc::default())
}

/// Whose sessions are served by as many loops as `concurrency` says now.
fn listeners_of(loops: &[&str], concurrency: &Arc<AtomicUsize>) -> Netlisteners {
    let meters = Meters::new();
    let loops = loops.iter().map(|name| LoopHandle::adopt(name, &meters)).collect();
    let concurrency = concurrency.clone();
    let everyone = move |_: &'static str, _: &Arc<str>, _| Admission {
        loops: concurrency.load(Ordering::Relaxed),
        ..Admission::default()
    };
    let mut listeners = Netlisteners::new([("default".to_owned(), loops)].into(), "default", everyone, &meters);
    listeners.register(Arc::new(TellLoop));
    listeners
}

fn on_a_runtime(test: impl Future<Output = ()>) {
    let builder = &mut tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build_local(Default::default()).expect("a runtime").block_on(test);
}

async fn connect(listeners: &Netlisteners) -> (TcpStream, String) {
    let local = listeners.endpoints().find_map(|endpoint| endpoint.local).expect("a TCP listener");
    let mut stream = TcpStream::connect(local).await.expect("a connection");
    let (mut line, mut octet) = (String::new(), [0]);
    while stream.read(&mut octet).await.expect("read") == 1 && octet != *b"\n" {
        line.push(octet[0].into());
    }
    (stream, line)
}

#[test]
fn connections_are_spread_evenly_over_the_loops() {
    on_a_runtime(async {
        let mut listeners = listeners(&["default/0", "default/1"]);
        let plan = listeners.prepare(vec![spec("127.0.0.1:0")]).expect("a free port");
        listeners.commit(plan);
        let mut clients = Vec::new();
        for _ in 0..20 {
            clients.push(connect(&listeners).await);
        }
        let first = clients.iter().filter(|(_, on)| on == "default/0").count();
        // The accepting loop keeps a connection unless another serves at least two fewer.
        assert!((9..=11).contains(&first), "{first} of 20");
        assert_eq!(listeners.sessions(), 20);
    });
}

#[test]
fn concurrency_says_how_many_loops_serve_a_listener_and_a_reload_moves_nobody() {
    on_a_runtime(async {
        let concurrency = Arc::new(AtomicUsize::new(1));
        let mut listeners = listeners_of(&["default/0", "default/1", "default/2"], &concurrency);
        // The sockets stay those of one loop; whom it accepts it hands over to as many as there may be.
        let plan = listeners.prepare(vec![ListenSpec { concurrency: 1, ..spec("127.0.0.1:0") }]).expect("a free port");
        listeners.commit(plan);
        let mut clients = Vec::new();
        // New sessions go to the loop that serves the fewest.
        for (loops, expected) in [(1, "default/0"), (2, "default/1"), (0, "default/2"), (1, "default/0")] {
            concurrency.store(loops, Ordering::Relaxed);
            for _ in 0..12 {
                let (client, on) = connect(&listeners).await;
                clients.push(client);
                assert_eq!(on, expected, "concurrency {loops}");
            }
        }
        assert_eq!(listeners.sessions(), 48);
    });
}

#[test]
fn listeners_of_one_loop_each_have_different_ones() {
    on_a_runtime(async {
        let concurrency = Arc::new(AtomicUsize::new(1));
        let mut listeners = listeners_of(&["default/0", "default/1"], &concurrency);
        let one = |listen: &str| ListenSpec { concurrency: 1, ..spec(listen) };
        let plan = listeners.prepare(vec![one("127.0.0.1:0"), one("127.0.0.2:0")]).expect("free ports");
        listeners.commit(plan);
        let addresses: Vec<_> = listeners.endpoints().filter_map(|endpoint| endpoint.local).collect();
        let mut served = Vec::new();
        for address in addresses {
            let mut stream = TcpStream::connect(address).await.expect("a connection");
            let mut line = [0; 9];
            stream.read_exact(&mut line).await.expect("a line");
            served.push(line);
        }
        served.sort_unstable();
        assert_eq!(served, [*b"default/0", *b"default/1"]);
    });
}

#[test]
fn a_reload_keeps_the_sockets_both_generations_want() {
    on_a_runtime(async {
        let mut listeners = listeners(&["default/0"]);
        let plan = listeners.prepare(vec![spec("127.0.0.1:0")]).expect("a free port");
        listeners.commit(plan);
        let before: Vec<_> = listeners.endpoints().cloned().collect();
        let (_client, _) = connect(&listeners).await;

        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("socket");
        let unix = path.to_str().expect("a path");
        let plan = listeners.prepare(vec![spec("127.0.0.1:0"), spec(unix)]).expect("a free path");
        listeners.commit(plan);
        assert!(before.iter().all(|endpoint| listeners.endpoints().any(|now| now == endpoint)));

        let plan = listeners.prepare(vec![spec(unix)]).expect("nothing to bind");
        listeners.commit(plan);
        assert_eq!(listeners.endpoints().count(), 1);
        assert_eq!(listeners.sessions(), 1, "sessions of a stopped listener go on");
        listeners.stop();
        listeners.drained().await;
    });
}

#[test]
fn an_address_in_use_is_named_with_what_to_do() {
    on_a_runtime(async {
        let mut listeners = listeners(&["default/0"]);
        let other = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = other.local_addr().expect("bound").to_string();
        let refused = listeners.prepare(vec![spec(&address)]).err().expect("the port is taken").to_string();
        let expected =
            format!("test_listener listen \"{address}\": another process listens on {address}; see which with `ss");
        assert!(refused.starts_with(&expected), "{refused}");

        // A second daemon that shares ports the same way must be refused as well.
        let plan = listeners.prepare(vec![spec("127.0.0.1:0")]).expect("a free port");
        listeners.commit(plan);
        let ours = listeners.endpoints().find_map(|endpoint| endpoint.local).expect("bound").to_string();
        let refused = self::listeners(&["default/0"]).prepare(vec![spec(&ours)]).err().expect("taken").to_string();
        assert!(refused.contains("another process listens on"), "{refused}");
    });
}

#[test]
fn a_unix_socket_left_by_a_dead_daemon_is_replaced_and_a_live_one_is_not() {
    on_a_runtime(async {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("socket");
        let live = std::os::unix::net::UnixListener::bind(&path).expect("a free path");
        let listeners = listeners(&["default/0"]);
        let wanted = || vec![spec(path.to_str().expect("a path"))];
        assert!(listeners.prepare(wanted()).is_err());
        drop(live);
        assert!(listeners.prepare(wanted()).is_ok());
        // A folder that is missing is made; one that cannot be, for a file has its name, is told.
        let within = |folder: &str| vec![spec(dir.path().join(folder).join("socket").to_str().expect("a path"))];
        assert!(listeners.prepare(within("none")).is_ok() && dir.path().join("none").is_dir());
        std::fs::write(dir.path().join("file"), "").expect("the directory takes files");
        let told = listeners.prepare(within("file")).err().expect("no directory").to_string();
        assert!(told.contains("file"), "{told}");
    });
}

/// As [`TellLoop`], for the operator.
struct Console;

impl NetlistenerType for Console {
    fn word(&self) -> &'static str {
        "test_console"
    }

    fn start(&self, on: &LoopHandle) -> Rc<dyn Service> {
        TellLoop.start(on)
    }

    fn is_of_the_house(&self) -> bool {
        true
    }

    fn farewell(&self, _: Turned) -> &'static [u8] {
        b""
    }
}

#[test]
fn who_comes_when_connections_have_all_their_descriptors_is_told_and_counted_and_the_operator_is_let_in() {
    on_a_runtime(async {
        let meters = Meters::new();
        let loops = vec![LoopHandle::adopt("default/0", &meters)];
        let everyone = |_: &'static str, _: &Arc<str>, _| Admission::default();
        let listeners = Netlisteners::new([("default".to_owned(), loops)].into(), "default", everyone, &meters);
        // Fewer than the test itself has open.
        let mut listeners = listeners.within(&Descriptors::of(1));
        listeners.register(Arc::new(TellLoop));
        listeners.register(Arc::new(Console));
        let plan = listeners.prepare(vec![spec("127.0.0.1:0")]).expect("a free port");
        listeners.commit(plan);
        for _ in 0..20 {
            assert_eq!(connect(&listeners).await.1, "no");
        }
        assert_eq!(meters.get("netlistener.test_listener.out_of_descriptors"), 20);
        let own = listeners.endpoints().find_map(|endpoint| endpoint.local).expect("a TCP listener");
        assert!(listeners.own_addresses().has(own), "it knows itself");

        let plan =
            listeners.prepare(vec![ListenSpec { word: "test_console", ..spec("127.0.0.1:0") }]).expect("a free port");
        listeners.commit(plan);
        assert_eq!(connect(&listeners).await.1, "default/0");
        assert!(!listeners.own_addresses().has(own), "what is no longer listened on is not its own");
    });
}
