//! A listener with everything behind it in memory, on one runtime whose time stands still while anyone has work.

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use config::{Configuration, Declared, Environment, Registry};
use hooks::{Answer, HookSetBuilder};
use logging::{LogOutOfBandBounce, LogReception, LogRejection};
use message::IdGenerator;
use netlistener::Netlisteners;
use queue::{Arrival, Arrivals};
use reception::{BounceReader, BouncedRecipient, EsmtpListener, IncomingBounce, Parts, Reading, TooBusy};
use scheduler::{Clock, LoopHandle, MemoryPressure, Meters};
use spool::chain::CommitSet;
use spool::{IoModule, Job, Memory, Promise, ReadPool, Spool, SpoolError};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::TcpStream;

/// Messages that the queues have room for.
pub const QUEUE_ROOM: usize = 100;

/// Registers a test's hooks.
pub type Hooks = fn(&mut HookSetBuilder, &Seen);

/// What providers have seen, in order.
pub type Seen = Arc<Mutex<Vec<String>>>;

/// The house of one test.
pub struct House {
    pub dir: tempfile::TempDir,
    pub configuration: Configuration,
    pub listeners: RefCell<Netlisteners>,
    pub memory: Arc<Memory>,
    pub disk: Arc<Disk>,
    pub seen: Seen,
    pub meters: Meters,
    pub pressure: MemoryPressure,
    pub bounces: Arc<Bounces>,
    pub spool: Spool,
    arrivals: tokio::sync::Mutex<Arrivals>,
    hooks: Hooks,
}

/// A module before the store that can hold commits back, or fail them.
#[derive(Default)]
pub struct Disk {
    pub held: Mutex<Option<Vec<Promise<()>>>>,
    pub broken: Mutex<Option<SpoolError>>,
    /// Octets it has room for; none: any number.
    pub room: Mutex<Option<u64>>,
}

impl IoModule for Disk {
    fn name(&self) -> &str {
        "disk"
    }

    fn room(&self) -> u64 {
        self.room.lock().unwrap().unwrap_or(u64::MAX)
    }

    fn commit(&self, set: &mut CommitSet) {
        let part = set.part();
        match (&mut *self.held.lock().unwrap(), &*self.broken.lock().unwrap()) {
            (_, Some(error)) => part.keep(Err(error.clone())),
            (Some(held), None) => held.push(part),
            (None, None) => part.keep(Ok(())),
        }
    }
}

/// What every bounce says, and the addresses that bounces came to.
pub struct Bounces {
    pub say: Mutex<Result<Vec<BouncedRecipient>, TooBusy>>,
    pub to: Mutex<Vec<String>>,
}

impl BounceReader for Bounces {
    fn read(&self, bounce: IncomingBounce) -> Reading<'_> {
        self.to.lock().unwrap().extend(bounce.to);
        let said = self.say.lock().unwrap().clone();
        Box::pin(std::future::ready(said))
    }
}

struct NoReads;

impl ReadPool for NoReads {
    fn submit(&self, _: Job) {
        panic!("reception reads nothing from the spool");
    }
}

/// Runs a test in a house of this configuration.
pub fn in_house<F: Future<Output = ()>>(text: &str, hooks: Hooks, test: impl FnOnce(Rc<House>) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build_local(tokio::runtime::LocalOptions::default())
        .expect("a runtime");
    runtime.block_on(async {
        let house = Rc::new(House::open(text, hooks));
        test(house).await;
    });
}

impl House {
    fn open(text: &str, hooks: Hooks) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("ecelerity.conf"), text).expect("a file");
        let mut registry = Registry::new();
        let options: [&'static [&'static dyn Declared]; 3] = [reception::OPTIONS, netlistener::OPTIONS, queue::OPTIONS];
        options.into_iter().for_each(|options| registry.add_all(options));
        let seen = Seen::default();
        let path = dir.path().join("ecelerity.conf");
        let mut prepare = |new: &mut config::NewGeneration| {
            new.extend(hook_set(hooks, &seen));
            Ok(())
        };
        let configuration = Configuration::load_with(registry, &path, Environment::default(), &mut prepare)
            .unwrap_or_else(|diagnostics| panic!("{}", diagnostics.render(false)));
        let (meters, memory, disk) = (Meters::new(), Arc::new(Memory::new()), Arc::new(Disk::default()));
        let (intake, mut arrivals) = queue::intake(1, QUEUE_ROOM, queue::ResidentOwners::default());
        let clock = Clock::simulated(SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000));
        let spool = Spool::new(vec![disk.clone(), memory.clone()], Arc::new(NoReads));
        let pressure = MemoryPressure::default();
        let bounces = Arc::new(Bounces { say: Mutex::new(Ok(Vec::new())), to: Mutex::default() });
        let parts = Parts {
            clock,
            configuration: configuration.clone(),
            ids: Arc::new(IdGenerator::new(clock, 3127, None)),
            spool: spool.clone(),
            intake,
            pressure: pressure.clone(),
            bounces: bounces.clone(),
            system_hostname: "mx.here.test".into(),
        };
        let listeners = open_listeners(&configuration, parts, &meters);
        let arrivals = tokio::sync::Mutex::new(arrivals.remove(0));
        let house = Self {
            dir,
            configuration,
            listeners: RefCell::new(listeners),
            memory,
            disk,
            seen,
            meters,
            pressure,
            bounces,
            spool,
            arrivals,
            hooks,
        };
        house.listen();
        house
    }

    /// Makes the listeners those of the current generation.
    fn listen(&self) {
        let specs = netlistener::listen_specs(&self.configuration.current(), &["esmtp_listener"]).expect("addresses");
        let mut listeners = self.listeners.borrow_mut();
        let plan = listeners.prepare(specs).expect("a free port");
        listeners.commit(plan);
    }

    /// Replaces the configuration.
    pub fn reload(&self, text: &str) {
        std::fs::write(self.dir.path().join("ecelerity.conf"), text).expect("a file");
        let prepared = self.configuration.reload(&mut |new| {
            new.extend(hook_set(self.hooks, &self.seen));
            Ok(())
        });
        prepared.unwrap_or_else(|diagnostics| panic!("{}", diagnostics.render(false)));
        self.listen();
    }

    /// A client of the first listener.
    pub async fn client(&self) -> Client<TcpStream> {
        let local = self.listeners.borrow().endpoints().find_map(|endpoint| endpoint.local).expect("a TCP listener");
        let stream = TcpStream::connect(local).await.expect("a connection");
        // The kernel's own timers know nothing of the time that stands still here.
        stream.set_nodelay(true).expect("a TCP socket");
        Client::new(stream)
    }

    /// What has come to the queues.
    pub async fn arrived(&self, count: usize) -> Vec<Arrival> {
        let mut arrived = Vec::new();
        let mut arrivals = self.arrivals.lock().await;
        while arrived.len() < count {
            let missing = count - arrived.len();
            arrivals.receive(&mut arrived, missing, missing).await;
        }
        assert_eq!(arrivals.waiting(), 0, "more came");
        arrived
    }

    /// What hooks have seen, taken.
    pub fn seen(&self) -> Vec<String> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

fn open_listeners(configuration: &Configuration, parts: Parts, meters: &Meters) -> Netlisteners {
    let pools = [("default".to_owned(), vec![LoopHandle::adopt("default/0", meters)])].into();
    let admission = {
        let configuration = configuration.clone();
        move |word, listen: &Arc<str>, peer| netlistener::admission(&configuration.current(), word, listen, peer)
    };
    let mut listeners = Netlisteners::new(pools, "default", admission, meters);
    listeners.register(Arc::new(EsmtpListener::new(parts, meters)));
    listeners
}

fn hook_set(hooks: Hooks, seen: &Seen) -> Arc<hooks::HookSet> {
    let mut builder = HookSetBuilder::new();
    hooks(&mut builder, seen);
    builder.finish()
}

/// No hooks.
pub fn no_hooks(_: &mut HookSetBuilder, _: &Seen) {}

/// The loggers' hooks, writing down what matters of each record.
pub fn log_hooks(builder: &mut HookSetBuilder, seen: &Seen) {
    let log = seen.clone();
    builder.last::<LogReception>(
        "logger",
        Arc::new(move |record| {
            log.lock().unwrap().push(format!("R {}", record.envelope.forward_path.as_str()));
            Answer::Cont
        }),
    );
    let log = seen.clone();
    builder.last::<LogOutOfBandBounce>(
        "logger",
        Arc::new(move |record| {
            let recipient = record.recipient.map_or("-", |mailbox| mailbox.as_str());
            log.lock().unwrap().push(format!("B {recipient} {} {}", record.class, record.reply));
            Answer::Cont
        }),
    );
    let log = seen.clone();
    builder.last::<LogRejection>(
        "logger",
        Arc::new(move |record| {
            let variables = record.context.connection.iter().chain(&record.context.message);
            let variables: Vec<_> = variables.map(|(key, value)| format!("{key}={value}")).collect();
            let module = if record.module.is_empty() { String::new() } else { format!(" by {}", record.module) };
            let line = format!("{}: {} {}{module} [{}]", record.phase, record.code, record.text, variables.join(","));
            log.lock().unwrap().push(line);
            Answer::Cont
        }),
    );
}

/// A client that talks in lines.
pub struct Client<S> {
    stream: BufStream<S>,
}

impl<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin> Client<S> {
    pub fn new(stream: S) -> Self {
        Self { stream: BufStream::new(stream) }
    }

    /// Sends octets as they are.
    pub async fn send(&mut self, octets: &str) {
        self.stream.write_all(octets.as_bytes()).await.expect("sent");
        self.stream.flush().await.expect("sent");
    }

    /// The next whole reply, without its line ends; its lines separated by `|`. Empty if the server has closed.
    pub async fn reply(&mut self) -> String {
        let mut reply = String::new();
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                return reply;
            }
            reply += line.trim_end();
            if line.as_bytes().get(3) != Some(&b'-') {
                return reply;
            }
            reply.push('|');
        }
    }

    /// Sends a line, and gives the reply.
    pub async fn say(&mut self, line: &str) -> String {
        self.send(&format!("{line}\r\n")).await;
        self.reply().await
    }

    /// Whatever the server has sent at once.
    pub async fn one_read(&mut self) -> String {
        let mut octets = vec![0; 4096];
        let length = self.stream.read(&mut octets).await.expect("read");
        String::from_utf8(octets[..length].to_vec()).expect("text")
    }

    /// Greets, and opens a transaction with one recipient.
    pub async fn open(&mut self) {
        assert_eq!(self.reply().await, "220 mx.here.test ESMTP");
        assert!(self.say("EHLO pc.example.test").await.starts_with("250-mx.here.test says EHLO to 127.0.0.1:"));
        assert_eq!(self.say("MAIL FROM:<a@x.test>").await, "250 2.1.0 MAIL FROM accepted");
        assert_eq!(self.say("RCPT TO:<b@here.test>").await, "250 2.1.5 RCPT TO accepted");
    }

    /// Begins a transaction from the null reverse-path.
    pub async fn begin(&mut self) {
        assert!(self.reply().await.starts_with("220"));
        assert!(self.say("EHLO pc.example.test").await.starts_with("250"));
        assert!(self.say("MAIL FROM:<>").await.starts_with("250"));
    }

    /// Sends a message and gives the reply to it.
    pub async fn data(&mut self, message: &str) -> String {
        assert!(self.say("DATA").await.starts_with("354"));
        self.send(message).await;
        self.say(".").await
    }
}
