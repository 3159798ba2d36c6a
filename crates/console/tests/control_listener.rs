//! A control connection is accepted on an event loop, served on the master scheduler, and ends with the daemon.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use config::{Configuration, Registry};
use console::wire::{Answer, HEADER_BYTES, Header, Hello, Request};
use console::{Command, Commands, Console, ControlListener, Reply, UserNames};
use netlistener::Netlisteners;
use scheduler::{Clock, LoopPool, Master, Meters, Watchdog};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

fn configuration(folder: &Path) -> Configuration {
    let mut registry = Registry::new();
    registry.add_all(netlistener::OPTIONS);
    registry.add_all(console::OPTIONS);
    let file = folder.join("ecelerity.conf");
    let socket = folder.join("control");
    let text = format!("Control_Listener {{\n  Timeout = 5\n  Listen \"{}\" {{ }}\n}}\n", socket.display());
    std::fs::write(&file, text).unwrap();
    Configuration::load(registry, &file, Default::default()).unwrap_or_else(|why| panic!("{why}"))
}

fn listen(configuration: &Configuration, control: ControlListener, pool: &LoopPool, meters: &Meters) -> Netlisteners {
    let generation = configuration.current();
    let specs = netlistener::listen_specs(&generation, &["control_listener"]).unwrap();
    let admission = move |word, listen: &_, peer| netlistener::admission(&generation, word, listen, peer);
    let pools = HashMap::from([("default".to_owned(), pool.loops().to_vec())]);
    let mut netlisteners = Netlisteners::new(pools, "default", admission, meters);
    netlisteners.register(Arc::new(control));
    let plan = netlisteners.prepare(specs).unwrap();
    netlisteners.commit(plan);
    netlisteners
}

/// A console whose one command says which thread runs it.
fn console(meters: &Meters) -> std::rc::Rc<Console> {
    let commands = Commands::new();
    let thread = Command::new("thread", "Says where it runs.", |invocation| async move {
        let user = invocation.peer.user().unwrap_or_default();
        Ok(Reply::message(format!("{:?} for {user}", std::thread::current().id())))
    });
    commands.register(thread).unwrap();
    let console = Console::new("Postrider", "1.2.3", commands, Clock::system(), meters);
    let uid = rustix::process::geteuid().as_raw();
    console.set_user_names(UserNames::parse(&format!("tester:x:{uid}:")));
    console
}

async fn frame(stream: &mut UnixStream) -> Vec<u8> {
    let mut header = [0; HEADER_BYTES];
    stream.read_exact(&mut header).await.unwrap();
    let mut payload = vec![0; Header::decode(&header).unwrap().length];
    stream.read_exact(&mut payload).await.unwrap();
    payload
}

#[test]
fn a_connection_is_served_on_the_master_scheduler_and_ends_with_a_stop() {
    let folder = tempfile::tempdir().unwrap();
    let configuration = configuration(folder.path());
    let (meters, watchdog) = (Meters::new(), Watchdog::off());
    let pool = LoopPool::start("default", 1, &watchdog, &meters).unwrap();
    let (control, arrivals) = ControlListener::new(&configuration);
    let mut netlisteners = listen(&configuration, control, &pool, &meters);
    Master::new(&watchdog, &meters).unwrap().run(async {
        tokio::task::spawn_local(arrivals.serve(console(&meters)));
        let mut client = UnixStream::connect(folder.path().join("control")).await.unwrap();
        assert_eq!(Hello::decode(&frame(&mut client).await).unwrap().version, "1.2.3");
        let request = Request { text: "thread".into(), json: false, user: String::new() };
        client.write_all(&request.encode()).await.unwrap();
        let answer = Answer::decode(&frame(&mut client).await).unwrap();
        assert_eq!(answer.body, format!("{:?} for tester", std::thread::current().id()));

        assert_eq!(netlisteners.sessions(), 1);
        netlisteners.stop();
        netlisteners.drained().await;
        assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0);
        assert_eq!(netlisteners.sessions(), 0);
    });
    assert_eq!(meters.get("console.connections.left"), 1);
    pool.shutdown();
}
