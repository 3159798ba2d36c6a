//! What stands between source and sink.

use std::fs;
use std::path::{Path, PathBuf};

use crate::process::{self, Guard};

/// A relay under measurement.
pub trait Peer {
    /// For the report.
    fn name(&self) -> &'static str;
    /// Starts it as a relay from `port` to the sink. Its process id.
    fn start(&mut self, port: u16, sink_port: u16) -> Result<u32, String>;
    /// Stops it.
    fn stop(&mut self) -> Result<(), String>;
}

/// Our daemon, as built by `cargo build --release` beside this program.
pub struct Postrider {
    program: String,
    folder: PathBuf,
    child: Option<Guard>,
    /// Configuration text beyond that of a measured relay.
    more: String,
    gateway: bool,
}

impl Postrider {
    /// In a fresh folder below `scratch`.
    pub fn new(scratch: &Path) -> Result<Self, String> {
        let program = std::env::current_exe().map_err(|e| e.to_string())?.with_file_name("postriderd");
        if !program.exists() {
            return Err(format!("{} is missing: cargo build --release", program.display()));
        }
        Ok(Self {
            program: program.display().to_string(),
            folder: scratch.join("postrider"),
            child: None,
            more: String::new(),
            gateway: true,
        })
    }

    /// Adds configuration text.
    pub fn add(&mut self, text: &str) {
        self.more.push_str(text);
    }

    /// Each domain's mail is routed by itself.
    pub fn take_away_gateway(&mut self) {
        self.gateway = false;
    }

    /// Its process id.
    pub fn pid(&self) -> Result<u32, String> {
        self.child.as_ref().map(|child| child.0.id()).ok_or_else(|| "the daemon does not run".to_owned())
    }

    /// Stops it and starts it on the same folder.
    pub fn restart(&mut self) -> Result<(), String> {
        self.stop()?;
        self.run().map(|_| ())
    }

    /// Has it take up the configuration as it is now.
    pub fn reconfigure(&self, port: u16, sink_port: u16) -> Result<(), String> {
        self.configure(port, sink_port)?;
        self.console(&["config", "reload"]).map(|_| ())
    }

    /// What the console answers.
    pub fn console(&self, words: &[&str]) -> Result<String, String> {
        let socket = self.folder.join("control").display().to_string();
        process::run(&self.program.replace("postriderd", "ec_console"), &[&[socket.as_str()], words].concat())
    }

    fn configure(&self, port: u16, sink_port: u16) -> Result<(), String> {
        let mut text = Self::configuration(&self.folder, port, sink_port) + &self.more;
        if !self.gateway {
            text =
                text.lines().filter(|line| !line.starts_with("gateway")).map(|line| line.to_owned() + "\n").collect();
        }
        fs::write(self.file(), text).map_err(|e| e.to_string())
    }

    fn run(&mut self) -> Result<u32, String> {
        let child = process::start(&self.program, &["-d", "-c", &self.file().display().to_string()])?;
        let pid = child.0.id();
        self.child = Some(child);
        Ok(pid)
    }

    fn file(&self) -> PathBuf {
        self.folder.join("ecelerity.conf")
    }

    /// Where it runs.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The configuration of a measured relay.
    pub fn configuration(folder: &Path, port: u16, sink_port: u16) -> String {
        let folder = folder.display();
        format!(
            "hostname = \"relay.bench.example\"\n\
             spoolbase = \"{folder}/spool\"\n\
             pidfile = \"{folder}/pid\"\n\
             gateway = \"127.0.0.1:{sink_port}\"\n\
             ESMTP_Listener {{ Listen \"127.0.0.1:{port}\" {{ peer_sessions = 0 }} }}\n\
             Control_Listener {{ Listen \"{folder}/control\" {{ }} }}\n\
             ec_logger \"ec_logger\" {{\n  mainlog = \"{folder}/mainlog.ec\"\n  rejectlog = \"{folder}/rejectlog.ec\"\n  \
             paniclog = \"{folder}/paniclog.ec\"\n  acctlog = \"{folder}/acctlog.ec\"\n}}\n\
             bounce_logger \"bounce_logger\" {{ bouncelog = \"{folder}/bouncelog.ec\" }}\n"
        )
    }
}

impl Peer for Postrider {
    fn name(&self) -> &'static str {
        "postriderd"
    }

    fn start(&mut self, port: u16, sink_port: u16) -> Result<u32, String> {
        let _ = fs::remove_dir_all(&self.folder);
        fs::create_dir_all(&self.folder).map_err(|e| e.to_string())?;
        self.configure(port, sink_port)?;
        self.run()
    }

    fn stop(&mut self) -> Result<(), String> {
        let pid = fs::read_to_string(self.folder.join("pid")).map_err(|e| format!("no pidfile: {e}"))?;
        process::run("kill", &["-TERM", pid.trim()])?;
        if let Some(mut child) = self.child.take() {
            child.0.wait().map_err(|e| e.to_string())?;
        }
        Ok(())
    }
}

/// Debian's Postfix with a configuration, queue and processes of its own, tuned for relaying.
pub struct Postfix {
    folder: PathBuf,
}

impl Postfix {
    /// In a fresh folder below `scratch`.
    pub fn new(scratch: &Path) -> Result<Self, String> {
        process::require(&["postfix", "postconf"], "apt-get install postfix")?;
        Ok(Self { folder: scratch.join("postfix") })
    }

    fn write(&self, port: u16, sink_port: u16) -> Result<(), String> {
        let folder = self.folder.display();
        let main = format!(
            "compatibility_level = 3.6\nmyhostname = relay.bench.example\nmydestination =\ninet_interfaces = 127.0.0.1\n\
             inet_protocols = ipv4\nmynetworks = 127.0.0.0/8\nrelayhost = [127.0.0.1]:{sink_port}\nqueue_directory = {folder}/queue\n\
             data_directory = {folder}/data\nmail_owner = postfix\nsetgid_group = postdrop\ndaemon_directory = /usr/lib/postfix/sbin\n\
             command_directory = /usr/sbin\nmaillog_file = {folder}/log\nmaillog_file_prefixes = {folder}\nalias_maps =\n\
             alias_database =\nin_flow_delay = 0\ndefault_process_limit = 100\nsmtp_destination_concurrency_limit = 50\n\
             initial_destination_concurrency = 50\nqmgr_message_active_limit = 80000\nqmgr_message_recipient_limit = 80000\n\
             smtpd_client_connection_count_limit = 0\nsmtpd_peername_lookup = no\nsmtp_connection_cache_on_demand = yes\n\
             smtp_connection_cache_destinations = [127.0.0.1]:{sink_port}\nsmtp_connection_reuse_count_limit = 0\n\
             smtp_host_lookup = native\ndisable_dns_lookups = yes\nsmtpd_tls_security_level = none\nsmtp_tls_security_level = none\n\
             message_size_limit = 50000000\nmailbox_size_limit = 0\nsmtputf8_enable = no\n"
        );
        let master = format!(
            "127.0.0.1:{port} inet n - n - 100 smtpd\ncleanup unix n - n - 0 cleanup\nqmgr unix n - n 300 1 qmgr\n\
             tlsmgr unix - - n 1000? 1 tlsmgr\nrewrite unix - - n - - trivial-rewrite\nbounce unix - - n - 0 bounce\n\
             defer unix - - n - 0 bounce\ntrace unix - - n - 0 bounce\nverify unix - - n - 1 verify\n\
             flush unix n - n 1000? 0 flush\nproxymap unix - - n - - proxymap\nsmtp unix - - n - 100 smtp\n\
             relay unix - - n - 100 smtp\nshowq unix n - n - - showq\nerror unix - - n - - error\nretry unix - - n - - error\n\
             discard unix - - n - - discard\nscache unix - - n - 1 scache\nanvil unix - - n - 1 anvil\n\
             postlog unix-dgram n - n - 1 postlogd\n"
        );
        for below in ["etc", "queue", "data"] {
            fs::create_dir_all(self.folder.join(below)).map_err(|e| e.to_string())?;
        }
        fs::write(self.folder.join("etc/main.cf"), main).map_err(|e| e.to_string())?;
        fs::write(self.folder.join("etc/master.cf"), master).map_err(|e| e.to_string())?;
        process::run("chown", &["postfix", &self.folder.join("data").display().to_string()])?;
        Ok(())
    }

    fn control(&self, verb: &str) -> Result<String, String> {
        process::run("postfix", &["-c", &self.folder.join("etc").display().to_string(), verb])
    }

    fn master_pid(&self) -> Result<u32, String> {
        let file = self.folder.join("queue/pid/master.pid");
        let text = fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
        text.trim().parse().map_err(|_| format!("{}: no process id", file.display()))
    }
}

impl Peer for Postfix {
    fn name(&self) -> &'static str {
        "Postfix"
    }

    fn start(&mut self, port: u16, sink_port: u16) -> Result<u32, String> {
        let _ = fs::remove_dir_all(&self.folder);
        self.write(port, sink_port)?;
        self.control("start")?;
        process::wait_for_port(port)?;
        self.master_pid()
    }

    fn stop(&mut self) -> Result<(), String> {
        self.control("stop").map(|_| ())
    }
}
