//! The in-memory network and DNS: hosts by address, each a script of what it answers, and what it was sent.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use delivery::{ConnectError, Connected, Connector, Itself, Local, Names};
use dns::{DnsError, LackingHost, MxHost, MxPlan};
use scheduler::Step;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream};

/// How a host reacts to one command.
#[derive(Clone, Debug)]
pub enum Reaction {
    /// Says that.
    Say(&'static str),
    /// Says nothing, ever.
    Stall,
    /// Closes, with what it was still to say before.
    Drop,
    /// Says that and closes, with what it was still to say before, in one packet.
    Leave(&'static str),
}

/// One transaction a host took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    pub connection: usize,
    pub mail: String,
    pub recipients: Vec<String>,
    pub body: Vec<u8>,
    /// When it had all of it.
    pub at: tokio::time::Instant,
}

#[derive(Default)]
struct Host {
    /// What this machine fails at before it is reached, and with which error.
    lacks: Option<(Step, i32)>,
    refuses: bool,
    silent: bool,
    pipelining: bool,
    /// What to do at a verb (`BANNER`, `EHLO`, `MAIL`, `RCPT`, `DATA`, `BODY`, `RSET`, `QUIT`), once each, in order.
    script: HashMap<&'static str, VecDeque<Reaction>>,
    /// What to do whenever a command line contains the text.
    rules: Vec<(&'static str, Reaction)>,
    round_trip: Duration,
    leaves_after: Option<Duration>,
    /// How many sessions it has room for, and at which verb it says what to one more.
    room: Option<(usize, &'static str, &'static str)>,
    /// How many recipients of a transaction it takes, and what it says to one more.
    recipients: Option<(usize, &'static str)>,
    connections: usize,
    /// When each session had its greeting.
    greeted: Vec<tokio::time::Instant>,
    open: usize,
    most_open: usize,
    taken: Vec<Taken>,
    heard: Vec<String>,
}

/// The network. Cloning shares it.
#[derive(Clone, Default)]
pub struct Network(Arc<Mutex<World>>);

#[derive(Default)]
struct World {
    hosts: HashMap<SocketAddr, Host>,
    domains: HashMap<String, Result<Hosts, DnsError>>,
    /// Their hosts without an address, and whether they may get one.
    lacking: HashMap<String, Vec<(u16, &'static str, bool)>>,
    /// Where the server itself listens.
    itself: Vec<SocketAddr>,
    /// Addresses of names, beside what is known of their mail hosts.
    own: HashMap<String, IpAddr>,
    /// Until when a host's addresses cannot be looked up.
    slow: HashMap<&'static str, tokio::time::Instant>,
    /// Connections to all hosts, and the most there were at once.
    open: usize,
    most_open: usize,
    /// Of mail hosts.
    lookups: usize,
    /// Domains whose failure was to be forgotten.
    forgotten: Vec<String>,
    /// Domains whose next lookup panics.
    panics: Vec<String>,
}

/// Preference, name and address of each mail host.
type Hosts = Vec<(u16, &'static str, IpAddr)>;

/// The address of a host; those beyond 200 listen for LMTP.
pub fn address(last: u8) -> SocketAddr {
    if 200 <= last {
        return SocketAddr::from(([192, 0, 2, last], 2003));
    }
    SocketAddr::from(([192, 0, 2, last], 25))
}

impl Network {
    /// A domain with these mail hosts.
    pub fn mx(&self, domain: &str, hosts: &[(u16, &'static str, u8)]) {
        let hosts = hosts.iter().map(|&(preference, name, last)| (preference, name, address(last).ip())).collect();
        self.0.lock().unwrap().domains.insert(domain.to_owned(), Ok(hosts));
    }

    /// A domain with mail hosts at any address.
    pub fn mx_at(&self, domain: &str, hosts: &[(u16, &'static str, [u8; 4])]) {
        let hosts = hosts.iter().map(|&(preference, name, ip)| (preference, name, ip.into())).collect();
        self.0.lock().unwrap().domains.insert(domain.to_owned(), Ok(hosts));
    }

    /// The domain has another mail host, without an address; whether it may get one.
    pub fn lacking_host(&self, domain: &str, host: (u16, &'static str, bool)) {
        self.0.lock().unwrap().lacking.entry(domain.to_owned()).or_default().push(host);
    }

    /// That address is one the server itself listens on.
    pub fn is_the_server(&self, last: u8) {
        self.0.lock().unwrap().itself.push(address(last));
    }

    /// Connections to a host fail on this side, with that error in that step; or no longer.
    pub fn lacks(&self, last: u8, lacks: Option<(Step, i32)>) {
        self.with(last, |host| host.lacks = lacks);
    }

    /// The addresses of that mail host take so long to look up, from now on.
    pub fn slow_to_resolve(&self, name: &'static str, takes: Duration) {
        self.0.lock().unwrap().slow.insert(name, tokio::time::Instant::now() + takes);
    }

    /// The address of a name itself.
    pub fn own_address(&self, name: &str, last: u8) {
        self.0.lock().unwrap().own.insert(name.to_owned(), address(last).ip());
    }

    /// A domain whose lookup fails.
    pub fn no_mx(&self, domain: &str, error: DnsError) {
        self.0.lock().unwrap().domains.insert(domain.to_owned(), Err(error));
    }

    /// The next lookup of the domain panics.
    pub fn panics_once(&self, domain: &str) {
        self.0.lock().unwrap().panics.push(domain.to_owned());
    }

    /// A well-behaved host that offers PIPELINING.
    pub fn host(&self, last: u8) {
        self.with(last, |host| host.pipelining = true);
    }

    pub fn without_pipelining(&self, last: u8) {
        self.with(last, |host| host.pipelining = false);
    }

    pub fn refuses(&self, last: u8, refuses: bool) {
        self.with(last, |host| host.refuses = refuses);
    }

    /// Never completes a connection.
    pub fn silent(&self, last: u8) {
        self.with(last, |host| host.silent = true);
    }

    pub fn round_trip(&self, last: u8, round_trip: Duration) {
        self.with(last, |host| host.round_trip = round_trip);
    }

    /// Closes each connection after that time, whatever is going on.
    pub fn leaves_after(&self, last: u8, time: Duration) {
        self.with(last, |host| host.leaves_after = Some(time));
    }

    /// Has room for so many sessions; one more hears that at a verb, and that is its end.
    pub fn room(&self, last: u8, most: usize, verb: &'static str, said: &'static str) {
        self.with(last, |host| host.room = Some((most, verb, said)));
    }

    /// Takes so many recipients in a transaction; one more hears that.
    pub fn takes_recipients(&self, last: u8, most: usize, said: &'static str) {
        self.with(last, |host| host.recipients = Some((most, said)));
    }

    /// Reacts so at the next such verb.
    pub fn once(&self, last: u8, verb: &'static str, reaction: Reaction) {
        self.with(last, |host| host.script.entry(verb).or_default().push_back(reaction));
    }

    /// Reacts so at every command that contains `text`.
    pub fn always(&self, last: u8, text: &'static str, reaction: Reaction) {
        self.with(last, |host| host.rules.push((text, reaction)));
    }

    /// The command lines a host has heard that begin so.
    pub fn heard(&self, last: u8, start: &str) -> Vec<String> {
        self.with(last, |host| host.heard.iter().filter(|line| line.starts_with(start)).cloned().collect())
    }

    /// Forgets what it was to react to.
    pub fn calm(&self, last: u8) {
        self.with(last, |host| host.rules.clear());
    }

    pub fn taken(&self, last: u8) -> Vec<Taken> {
        self.with(last, |host| host.taken.clone())
    }

    pub fn connections(&self, last: u8) -> usize {
        self.with(last, |host| host.connections)
    }

    /// When each session had its greeting, by the host's clock.
    pub fn greeted(&self, last: u8) -> Vec<tokio::time::Instant> {
        self.with(last, |host| host.greeted.clone())
    }

    pub fn open(&self, last: u8) -> usize {
        self.with(last, |host| host.open)
    }

    pub fn most_open(&self, last: u8) -> usize {
        self.with(last, |host| host.most_open)
    }

    pub fn forget_most_open(&self, last: u8) {
        self.with(last, |host| host.most_open = host.open);
    }

    /// Connections to all hosts together.
    pub fn most_open_everywhere(&self) -> usize {
        self.0.lock().unwrap().most_open
    }

    /// The domains whose failure was to be forgotten.
    pub fn forgotten(&self) -> Vec<String> {
        self.0.lock().unwrap().forgotten.clone()
    }

    pub fn lookups(&self) -> usize {
        self.0.lock().unwrap().lookups
    }

    fn with<T>(&self, last: u8, change: impl FnOnce(&mut Host) -> T) -> T {
        change(self.0.lock().unwrap().hosts.entry(address(last)).or_default())
    }

    fn reaction(&self, last: u8, verb: &str, line: &str) -> Option<Reaction> {
        self.with(last, |host| {
            if let Some((_, reaction)) = host.rules.iter().find(|(text, _)| line.contains(text)) {
                return Some(reaction.clone());
            }
            host.script.get_mut(verb).and_then(VecDeque::pop_front)
        })
    }

    async fn serve(self, last: u8, connection: usize, stream: DuplexStream) {
        let mut server = Server {
            network: self.clone(),
            last,
            connection,
            stream: BufReader::new(stream),
            out: Vec::new(),
            excess: None,
        };
        server.excess = self.with(last, |host| host.room.filter(|(most, ..)| *most < host.open));
        // An error is the client's leaving.
        match self.with(last, |host| host.leaves_after) {
            Some(time) => drop(tokio::time::timeout(time, server.run()).await),
            None => drop(server.run().await),
        }
        self.with(last, |host| host.open -= 1);
        self.0.lock().unwrap().open -= 1;
    }
}

impl Connector for Network {
    fn connect(&self, _local: Option<IpAddr>, remote: SocketAddr) -> Local<'_, Result<Connected, ConnectError>> {
        let IpAddr::V4(ip) = remote.ip() else { return Box::pin(async { Err(io::ErrorKind::Unsupported.into()) }) };
        let last = ip.octets()[3];
        let (refuses, silent, known, lacks) = {
            let world = self.0.lock().unwrap();
            let host = world.hosts.get(&remote);
            let lacks = host.and_then(|host| host.lacks);
            (host.is_some_and(|host| host.refuses), host.is_some_and(|host| host.silent), host.is_some(), lacks)
        };
        Box::pin(async move {
            if let Some((step, code)) = lacks {
                return Err(ConnectError { step, error: io::Error::from_raw_os_error(code) });
            }
            if silent {
                std::future::pending::<()>().await;
            }
            let connection = self.with(last, |host| {
                host.connections += 1;
                host.connections
            });
            if refuses || !known {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            self.with(last, |host| {
                host.open += 1;
                host.most_open = host.most_open.max(host.open);
            });
            {
                let mut world = self.0.lock().unwrap();
                world.open += 1;
                world.most_open = world.most_open.max(world.open);
            }
            let (ours, theirs) = tokio::io::duplex(1 << 16);
            tokio::task::spawn_local(self.clone().serve(last, connection, theirs));
            Ok(Connected { stream: Box::new(ours), descriptor: None })
        })
    }
}

impl Itself for Network {
    fn is_at(&self, remote: SocketAddr) -> bool {
        self.0.lock().unwrap().itself.contains(&remote)
    }

    fn listens_on(&self, port: u16) -> bool {
        self.0.lock().unwrap().itself.iter().any(|own| own.port() == port)
    }
}

impl Network {
    fn lacking(&self, domain: &str) -> Vec<LackingHost> {
        let host =
            |&(preference, name, for_now): &(u16, &str, bool)| LackingHost { preference, name: name.into(), for_now };
        self.0.lock().unwrap().lacking.get(domain).into_iter().flatten().map(host).collect()
    }
}

impl Names for Network {
    fn mx<'a>(&'a self, domain: &'a str) -> Local<'a, Result<MxPlan, DnsError>> {
        Box::pin(async move {
            let found = {
                let mut world = self.0.lock().unwrap();
                world.lookups += 1;
                let panics = world.panics.iter().position(|name| name == domain);
                panics
                    .map(|place| world.panics.swap_remove(place))
                    .map_or_else(|| Ok(world.domains.get(domain).cloned()), Err)
            };
            let found = found.unwrap_or_else(|domain| panic!("the lookup of {domain} panics"));
            let hosts = found.unwrap_or_else(|| Err(DnsError::NoSuchDomain { name: domain.into(), until: None }))?;
            let slow = self.0.lock().unwrap().slow.clone();
            if let Some(last) = hosts.iter().filter_map(|(_, name, _)| slow.get(name)).max() {
                tokio::time::sleep_until(*last).await;
            }
            let host = |(preference, name, ip): (u16, &str, IpAddr)| MxHost {
                preference,
                name: name.into(),
                addresses: vec![ip],
            };
            let expires = tokio::time::Instant::now().into_std() + Duration::from_secs(300);
            let (hosts, lacking) = (hosts.into_iter().map(host).collect(), self.lacking(domain));
            Ok(MxPlan { hosts, lacking, implicit: false, partial: false, ttl: Duration::from_secs(300), expires })
        })
    }

    fn mx_soon<'a>(&'a self, domain: &'a str) -> Local<'a, Result<MxPlan, DnsError>> {
        Box::pin(async move {
            let (known, slow) = {
                let world = self.0.lock().unwrap();
                (world.domains.get(domain).cloned(), world.slow.clone())
            };
            let now = tokio::time::Instant::now();
            let is_slow = |name: &str| slow.get(name).is_some_and(|until| now < *until);
            let Some(Ok(hosts)) =
                known.filter(|known| known.as_ref().is_ok_and(|all| all.iter().any(|host| is_slow(host.1))))
            else {
                return Names::mx(self, domain).await;
            };
            let mut lacking = self.lacking(domain);
            let unresolved = hosts.iter().filter(|host| is_slow(host.1));
            lacking.extend(unresolved.map(|host| LackingHost {
                preference: host.0,
                name: host.1.into(),
                for_now: true,
            }));
            let resolved = hosts.into_iter().filter(|host| !is_slow(host.1));
            let host = |(preference, name, ip): (u16, &str, IpAddr)| MxHost {
                preference,
                name: name.into(),
                addresses: vec![ip],
            };
            let (hosts, expires) = (resolved.map(host).collect(), now.into_std());
            Ok(MxPlan { hosts, lacking, implicit: false, partial: true, ttl: Duration::ZERO, expires })
        })
    }

    fn forget_failure(&self, domain: &str) {
        self.0.lock().unwrap().forgotten.push(domain.to_owned());
    }

    fn addresses<'a>(&'a self, host: &'a str) -> Local<'a, Result<Vec<IpAddr>, DnsError>> {
        Box::pin(async move {
            if let Some(own) = self.0.lock().unwrap().own.get(host) {
                return Ok(vec![*own]);
            }
            let hosts = Names::mx(self, host).await;
            self.0.lock().unwrap().lookups -= 1;
            Ok(hosts?.hosts.into_iter().flat_map(|host| host.addresses).collect())
        })
    }
}

/// The host's side of one connection.
struct Server {
    network: Network,
    last: u8,
    connection: usize,
    stream: BufReader<DuplexStream>,
    out: Vec<u8>,
    /// It is one session more than there is room for.
    excess: Option<(usize, &'static str, &'static str)>,
}

impl Server {
    async fn run(&mut self) -> io::Result<()> {
        self.react("BANNER", "BANNER", "220 host.test ESMTP").await?;
        self.answer().await?;
        self.network.with(self.last, |host| host.greeted.push(tokio::time::Instant::now()));
        let mut transaction: Option<Taken> = None;
        loop {
            let line = self.line().await?;
            let verb = line.split([' ', ':']).next().unwrap_or("").to_owned();
            self.network.with(self.last, |host| host.heard.push(line.clone()));
            let positive = match verb.as_str() {
                "EHLO" | "LHLO" if self.network.with(self.last, |host| host.pipelining) => {
                    self.react("EHLO", &line, "250-host.test\r\n250-SIZE 1000000\r\n250 PIPELINING").await?
                }
                "DATA" if transaction.as_ref().is_some_and(|open| !open.recipients.is_empty()) => {
                    self.react("DATA", &line, "354 go ahead").await?
                }
                "DATA" => self.react("DATA", &line, "554 5.5.1 no valid recipients").await?,
                "RCPT" if transaction.is_none() => self.react("RCPT", &line, "503 5.5.1 need MAIL").await?,
                "RCPT" if let Some(said) = self.too_many(transaction.as_ref()) => {
                    self.react("TOO MANY", &line, said).await?
                }
                "QUIT" => {
                    self.react("QUIT", &line, "221 bye").await?;
                    self.stream.get_mut().flush().await?;
                    return Ok(());
                }
                known => self.react(known, &line, "250 2.0.0 ok").await?,
            };
            match (verb.as_str(), positive) {
                ("MAIL", true) => {
                    let mail = line["MAIL FROM:".len()..].split(' ').next().unwrap_or("").to_owned();
                    let connection = self.connection;
                    let at = tokio::time::Instant::now();
                    transaction = Some(Taken { connection, mail, recipients: Vec::new(), body: Vec::new(), at });
                }
                ("RCPT", true) => {
                    let open = transaction.as_mut().expect("RCPT after MAIL");
                    open.recipients.push(line["RCPT TO:".len()..].to_owned());
                }
                ("RSET", true) => transaction = None,
                ("DATA", true) => {
                    let mut open = transaction.take().expect("DATA after RCPT");
                    open.body = self.body().await?;
                    open.at = tokio::time::Instant::now();
                    if self.network.with(self.last, |host| host.heard.iter().any(|line| line.starts_with("LHLO"))) {
                        for recipient in std::mem::take(&mut open.recipients) {
                            if self.react("BODY", &format!("BODY {recipient}"), "250 2.0.0 stored").await? {
                                open.recipients.push(recipient);
                            }
                        }
                        self.network.with(self.last, |host| host.taken.push(open));
                    } else if self.react("BODY", "BODY", "250 2.0.0 queued").await? {
                        self.network.with(self.last, |host| host.taken.push(open));
                    }
                }
                _ => {}
            }
        }
    }

    /// What one more recipient hears, if it is too many.
    fn too_many(&self, transaction: Option<&Taken>) -> Option<&'static str> {
        let (most, said) = self.network.with(self.last, |host| host.recipients)?;
        transaction.filter(|open| most <= open.recipients.len()).map(|_| said)
    }

    async fn line(&mut self) -> io::Result<String> {
        self.answer().await?;
        let mut line = String::new();
        if self.stream.read_line(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }

    async fn body(&mut self) -> io::Result<Vec<u8>> {
        self.answer().await?;
        let mut body = Vec::new();
        loop {
            let start = body.len();
            if self.stream.read_until(b'\n', &mut body).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if &body[start..] == b".\r\n" {
                return Ok(body);
            }
        }
    }

    /// Sends what was said once nothing is left to read, as servers with PIPELINING do.
    async fn answer(&mut self) -> io::Result<()> {
        if self.stream.buffer().is_empty() && !self.out.is_empty() {
            let pause = self.network.with(self.last, |host| host.round_trip);
            if pause != Duration::ZERO {
                tokio::time::sleep(pause).await;
            }
            let out = std::mem::take(&mut self.out);
            self.stream.get_mut().write_all(&out).await?;
        }
        Ok(())
    }

    /// Whether the answer was positive.
    async fn react(&mut self, verb: &str, line: &str, usual: &'static str) -> io::Result<bool> {
        let excess = self.excess.filter(|(_, at, _)| *at == verb).map(|(_, _, said)| Reaction::Leave(said));
        let said = match excess.or_else(|| self.network.reaction(self.last, verb, line)) {
            None => usual,
            Some(Reaction::Leave(said)) => {
                self.out.extend_from_slice(said.as_bytes());
                self.out.extend_from_slice(b"\r\n");
                self.stream.get_mut().write_all(&self.out).await?;
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            Some(Reaction::Say(said)) => said,
            Some(Reaction::Stall) => std::future::pending().await,
            Some(Reaction::Drop) => {
                self.stream.get_mut().write_all(&self.out).await?;
                return Err(io::ErrorKind::ConnectionReset.into());
            }
        };
        self.out.extend_from_slice(said.as_bytes());
        self.out.extend_from_slice(b"\r\n");
        Ok(said.starts_with(['2', '3']))
    }
}
