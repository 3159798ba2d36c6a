//! A Postfix of the test's own: Debian's programs with a configuration, queue and processes in a scratch directory.
//!
//! It relays everything to one next hop. Postfix insists on being started by root; another user needs `sudo` without a
//! password. It ends when dropped.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use tempfile::TempDir;
use testkit::{free_addr, wait_until};

use crate::SOON;
use crate::programs::{find, program, succeed};

/// A running Postfix.
pub struct Postfix {
    addr: SocketAddr,
    dir: TempDir,
}

impl Postfix {
    /// Starts one that sends all its mail to `next_hop`.
    pub fn start(next_hop: SocketAddr) -> Self {
        // Before there is anything to drop: what is not installed, or not allowed, shows here.
        succeed(as_root("postconf", "postfix").arg("mail_version"));
        let dir = tempfile::Builder::new().prefix("postfix-").tempdir().expect("a scratch directory");
        // Its processes give root away and must still reach their files.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("our own directory");
        let postfix = Self { addr: free_addr(), dir };
        postfix.write(next_hop);
        succeed(as_root("chown", "coreutils").arg("postfix").arg(postfix.path("data")));
        postfix.control("start");
        let listens = wait_until(SOON, || TcpStream::connect(postfix.addr).is_ok());
        assert!(listens, "Postfix does not listen on {}; its log:\n{}", postfix.addr, postfix.log());
        postfix
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What it logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    fn control(&self, verb: &str) {
        succeed(as_root("postfix", "postfix").arg("-c").arg(self.path("etc")).arg(verb));
    }

    fn write(&self, next_hop: SocketAddr) {
        for below in ["etc", "queue", "data"] {
            fs::create_dir(self.path(below)).expect("the scratch directory takes folders");
        }
        let dir = self.dir.path().display();
        let main = format!(
            "compatibility_level = 3.6\nmyhostname = postfix.test\nmydestination =\ninet_interfaces = 127.0.0.1\n\
             inet_protocols = ipv4\nmynetworks = 127.0.0.0/8\nrelayhost = [{}]:{}\nqueue_directory = {dir}/queue\n\
             data_directory = {dir}/data\nmail_owner = postfix\nsetgid_group = postdrop\nmaillog_file = {dir}/log\n\
             maillog_file_prefixes = {dir}\nalias_maps =\nalias_database =\nsmtpd_peername_lookup = no\n\
             smtp_host_lookup = native\ndisable_dns_lookups = yes\nsmtpd_tls_security_level = none\n\
             smtp_tls_security_level = none\nsmtputf8_enable = no\n{}",
            next_hop.ip(),
            next_hop.port(),
            installed_folders(),
        );
        fs::write(self.path("etc/main.cf"), main).expect("the scratch directory takes files");
        fs::write(self.path("etc/master.cf"), master(self.addr)).expect("the scratch directory takes files");
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        // While a test unwinds, a second panic would hide the first.
        let _ = as_root("postfix", "postfix").arg("-c").arg(self.path("etc")).arg("stop").output();
        // Its queue belongs to its own user.
        let _ = as_root("rm", "coreutils").arg("-rf").arg(self.path("queue")).arg(self.path("data")).output();
    }
}

/// Where the distribution put Postfix's programs.
fn installed_folders() -> String {
    let program = program("postconf", "postfix");
    let names = ["daemon_directory", "command_directory", "meta_directory", "shlib_directory"];
    // The system's own main.cf may be missing; the compiled-in values are what is wanted.
    succeed(Command::new(program).arg("-d").args(names))
}

fn master(addr: SocketAddr) -> String {
    format!(
        "{addr} inet n - n - - smtpd\ncleanup unix n - n - 0 cleanup\nqmgr unix n - n 300 1 qmgr\n\
         tlsmgr unix - - n 1000? 1 tlsmgr\nrewrite unix - - n - - trivial-rewrite\nbounce unix - - n - 0 bounce\n\
         defer unix - - n - 0 bounce\ntrace unix - - n - 0 bounce\nverify unix - - n - 1 verify\n\
         flush unix n - n 1000? 0 flush\nproxymap unix - - n - - proxymap\nsmtp unix - - n - - smtp\n\
         relay unix - - n - - smtp\nshowq unix n - n - - showq\nerror unix - - n - - error\nretry unix - - n - - error\n\
         discard unix - - n - - discard\nscache unix - - n - 1 scache\nanvil unix - - n - 1 anvil\n\
         postlog unix-dgram n - n - 1 postlogd\n"
    )
}

fn as_root(name: &str, package: &str) -> Command {
    let program = program(name, package);
    if rustix::process::geteuid().is_root() {
        return Command::new(program);
    }
    let sudo = find("sudo").expect("Postfix is started by root only: run these tests as root, or install sudo");
    let mut command = Command::new(sudo);
    command.arg("-n").arg(program);
    command
}
