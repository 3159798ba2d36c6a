//! A DNS server for tests: answers UDP and TCP on a free port of 127.0.0.1 from a zone the test writes, and lies, stalls
//! or fails for chosen names.
//!
//! Runs on its own thread, as a recursive server would look to a stub resolver. Zone and behaviours may be changed while
//! it runs; every query is logged with its transport before it is answered.

mod zone;

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::oneshot;

use zone::{Zone, key};

/// How a name is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// From the zone.
    Answer,
    /// SERVFAIL.
    ServFail,
    /// REFUSED.
    Refused,
    /// Not at all.
    Silent,
    /// From the zone, but with an id nobody asked with.
    WrongId,
    /// From the zone, but for another question.
    WrongQuestion,
    /// Bytes that are no DNS message, under the right id.
    Garbage,
    /// Over UDP an empty answer with TC set; over TCP from the zone.
    Truncated,
    /// A lie with the wrong id first, then the truth.
    LieThenAnswer,
    /// From the zone, after a delay.
    Delayed(Duration),
}

/// One query that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// The name asked for, lower case, with the final dot.
    pub name: String,
    /// The type asked for, as in a zone file: `MX`, `A`.
    pub kind: String,
    /// Whether it came over TCP.
    pub tcp: bool,
}

/// A running DNS server; stops when dropped.
pub struct ZoneServer {
    addr: SocketAddr,
    shared: Arc<Mutex<State>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    zone: Zone,
    behaviours: HashMap<String, (Behaviour, Option<u64>)>,
    queries: Vec<Query>,
}

impl ZoneServer {
    /// Starts with this zone: lines of `name [ttl] TYPE data` with absolute names; A, AAAA, CNAME, MX, NS, PTR and TXT.
    pub fn start(zone: &str) -> Self {
        let mut state = State::default();
        state.zone.add(zone);
        let shared = Arc::new(Mutex::new(state));
        let (udp, tcp) = bind().expect("a free UDP and TCP port on 127.0.0.1");
        let addr = udp.local_addr().expect("a bound socket has an address");
        let (stop, stopped) = oneshot::channel();
        let serving = shared.clone();
        let thread = std::thread::Builder::new().name("zone server".to_owned()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a tokio runtime");
            runtime.block_on(async {
                tokio::select! {
                    result = serve(udp, tcp, serving) => result.expect("the zone server's sockets work"),
                    _ = stopped => {}
                }
            });
        });
        Self { addr, shared, stop: Some(stop), thread: Some(thread.expect("a thread for the zone server")) }
    }

    /// Where it listens, with both transports.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Adds zone lines.
    pub fn add(&self, zone: &str) {
        self.lock().zone.add(zone);
    }

    /// Removes all records of a name.
    pub fn remove(&self, name: &str) {
        self.lock().zone.remove(name);
    }

    /// Changes how a name is answered from now on; `*` stands for every name without a behaviour of its own.
    pub fn behave(&self, name: &str, behaviour: Behaviour) {
        self.lock().behaviours.insert(dotted(name), (behaviour, None));
    }

    /// Changes how the next `n` queries for a name are answered.
    pub fn behave_times(&self, name: &str, behaviour: Behaviour, n: u64) {
        self.lock().behaviours.insert(dotted(name), (behaviour, Some(n)));
    }

    /// All queries so far.
    pub fn queries(&self) -> Vec<Query> {
        self.lock().queries.clone()
    }

    /// How many queries came for this name and type.
    pub fn count(&self, name: &str, kind: &str) -> usize {
        let name = dotted(name);
        self.lock().queries.iter().filter(|query| query.name == name && query.kind == kind).count()
    }

    /// Writes a resolv.conf that names this server, port included.
    pub fn write_resolv_conf(&self, path: &Path) -> io::Result<()> {
        std::fs::write(path, format!("# a test's own server\nnameserver {}\noptions timeout:1 attempts:1\n", self.addr))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.shared)
    }
}

impl Drop for ZoneServer {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn dotted(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    if name.ends_with('.') || name == "*" { name } else { name + "." }
}

/// UDP and TCP on one port; another process may hold the TCP side, so this tries a few.
fn bind() -> io::Result<(std::net::UdpSocket, std::net::TcpListener)> {
    let mut last = io::Error::other("not tried");
    for _ in 0..20 {
        let udp = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        match std::net::TcpListener::bind(udp.local_addr()?) {
            Ok(tcp) => {
                udp.set_nonblocking(true)?;
                tcp.set_nonblocking(true)?;
                return Ok((udp, tcp));
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn serve(udp: std::net::UdpSocket, tcp: std::net::TcpListener, state: Arc<Mutex<State>>) -> io::Result<()> {
    let udp = Arc::new(UdpSocket::from_std(udp)?);
    let tcp = TcpListener::from_std(tcp)?;
    let mut datagram = vec![0; 65_535];
    loop {
        tokio::select! {
            received = udp.recv_from(&mut datagram) => {
                let Ok((length, peer)) = received else { continue };
                let Some(plan) = plan(&state, &datagram[..length], false) else { continue };
                let udp = udp.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(plan.delay).await;
                    for answer in plan.answers {
                        let _ = udp.send_to(&answer, peer).await;
                    }
                });
            }
            Ok((stream, _)) = tcp.accept() => {
                tokio::spawn(serve_stream(stream, state.clone()));
            }
        }
    }
}

/// Messages with a two byte length before each (RFC 1035 4.2.2).
async fn serve_stream(mut stream: TcpStream, state: Arc<Mutex<State>>) -> io::Result<()> {
    loop {
        let length = stream.read_u16().await?;
        let mut query = vec![0; usize::from(length)];
        stream.read_exact(&mut query).await?;
        let Some(plan) = plan(&state, &query, true) else { continue };
        tokio::time::sleep(plan.delay).await;
        for answer in plan.answers {
            let Ok(length) = u16::try_from(answer.len()) else { return Ok(()) };
            stream.write_all(&[&length.to_be_bytes()[..], &answer].concat()).await?;
        }
    }
}

struct Plan {
    delay: Duration,
    answers: Vec<Vec<u8>>,
}

/// Logs a query and decides what is sent back. `None` for what is no query.
fn plan(state: &Mutex<State>, bytes: &[u8], tcp: bool) -> Option<Plan> {
    let query = Message::from_vec(bytes).ok()?;
    let question = query.queries.first()?;
    let mut state = lock(state);
    let name = key(question.name());
    state.queries.push(Query { name: name.clone(), kind: question.query_type().to_string(), tcp });
    let behaviour = state.behaviour(&name);
    let mut answer = Message::response(query.metadata.id, query.metadata.op_code);
    answer.metadata.recursion_desired = query.metadata.recursion_desired;
    answer.metadata.recursion_available = true;
    answer.add_query(question.clone());
    state.zone.answer(question.name(), question.query_type(), &mut answer);
    drop(state);
    let too_big = |answer: &Message| answer.to_vec().is_ok_and(|bytes| usize::from(query.max_payload()) < bytes.len());
    let behaviour =
        if behaviour == Behaviour::Answer && !tcp && too_big(&answer) { Behaviour::Truncated } else { behaviour };
    Some(behaviour.plan(answer, tcp))
}

impl State {
    fn behaviour(&mut self, name: &str) -> Behaviour {
        for key in [name, "*"] {
            if let Some((behaviour, left)) = self.behaviours.get_mut(key) {
                match left {
                    Some(0) => continue,
                    Some(left) => *left -= 1,
                    None => {}
                }
                return behaviour.clone();
            }
        }
        Behaviour::Answer
    }
}

impl Behaviour {
    fn plan(self, mut answer: Message, tcp: bool) -> Plan {
        let mut lie = answer.clone();
        lie.metadata.id ^= 0x5555;
        let mut delay = Duration::ZERO;
        let answers = match self {
            Self::Answer => vec![answer],
            Self::Delayed(time) => {
                delay = time;
                vec![answer]
            }
            Self::ServFail => vec![failure(&answer, ResponseCode::ServFail)],
            Self::Refused => vec![failure(&answer, ResponseCode::Refused)],
            Self::Silent => vec![],
            Self::WrongId => vec![lie],
            Self::LieThenAnswer => vec![lie, answer],
            Self::WrongQuestion => {
                for question in &mut answer.queries {
                    question.set_query_type(if question.query_type() == RecordType::TXT {
                        RecordType::A
                    } else {
                        RecordType::TXT
                    });
                }
                vec![answer]
            }
            Self::Garbage => {
                let id = answer.metadata.id.to_be_bytes();
                return Plan { delay, answers: vec![[&id[..], &[0xff; 40]].concat()] };
            }
            Self::Truncated if tcp => vec![answer],
            Self::Truncated => {
                answer.answers.clear();
                answer.metadata.truncation = true;
                vec![answer]
            }
        };
        Plan { delay, answers: answers.iter().filter_map(|message| message.to_vec().ok()).collect() }
    }
}

fn failure(answer: &Message, code: ResponseCode) -> Message {
    let mut failure = answer.clone();
    failure.answers.clear();
    failure.authorities.clear();
    failure.metadata.response_code = code;
    failure
}
