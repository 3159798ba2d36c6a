//! The configuration the README begins with works as it is, from an empty folder and on nothing but that folder.

use std::collections::BTreeSet;
use std::path::Path;

use e2e::{accept, ask, binary, figure, letter, mailbox, wait, wait_for_lines, wait_for_mail};
use testkit::{Daemon, DaemonSetup};

/// The shipped file but for its port, so that tests can run beside each other and beside a real one.
fn start() -> Daemon {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let read = |name: &str| std::fs::read_to_string(root.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let shipped = read("etc/ecelerity.conf");
    assert!(shipped.contains("\"127.0.0.1:2525\""), "the README promises that port");
    let setup = DaemonSetup::new(binary("postriderd"), &shipped.replace("127.0.0.1:2525", "@listen@"));
    let mut daemon = setup.console(binary("ec_console")).set("control", "run/control").prepare();
    // As in a checkout.
    std::fs::create_dir(daemon.dir().join("spool")).expect("the scratch directory takes folders");
    std::fs::write(daemon.dir().join("spool/README"), read("spool/README")).expect("the scratch directory takes files");
    daemon.start();
    daemon
}

#[test]
fn the_first_message_walks_as_the_readme_shows() {
    let daemon = start();
    accept(&daemon, "reader@example.org", &["you@postrider.example"], &letter("the first one through"));
    let mail = wait_for_mail(&daemon, "you@postrider.example", 1);
    assert!(mail[0].contains("Subject: the first one through\n"), "{}", mail[0]);
    wait_for_lines(&daemon, "R", 1);
    wait_for_lines(&daemon, "D", 1);
    assert_eq!(figure(&ask(&daemon, &["summary"]), "Successfully Delivered Messages"), "1");
}

#[test]
fn mail_without_a_route_can_be_watched_and_failed_as_the_readme_shows() {
    let daemon = start();
    // An address literal of a documentation network stands for a domain, so that no DNS server is asked.
    let unreachable = "127.0.0.1";
    accept(&daemon, "you@postrider.example", &[&format!("ann@[{unreachable}]")], &letter("nobody listens on port 25"));
    let queue = || {
        let mailq = ask(&daemon, &["mailq"]);
        mailq.lines().nth(2).and_then(|line| line.split_whitespace().nth(1)).map(str::to_owned)
    };
    wait(&daemon, "it is queued", || queue().is_some());
    let queue = queue().expect("it is queued");
    assert!(ask(&daemon, &["domain", &queue]).contains("Queue:\n"));
    assert!(ask(&daemon, &["fail", "domain", &queue]).ends_with(" purged. 1 messages failed.\n"));
    wait_for_lines(&daemon, "P", 1);
    let told = wait_for_mail(&daemon, "you@postrider.example", 1);
    assert!(told[0].contains("Message manually purged"), "{}", told[0]);
}

#[test]
fn editing_the_file_and_reloading_works_as_the_readme_shows() {
    let daemon = start();
    let config = daemon.read("daemon.conf");
    daemon.write_config(&(config + "domain \"example.org\" { gateway = \"127.0.0.1:2526\" }\n"));
    ask(&daemon, &["config", "reload"]);
    let gateway = ask(&daemon, &["config", "eval", "domain", "example.org", "gateway"]);
    assert_eq!(gateway.to_lowercase(), "gateway = \"127.0.0.1:2526\"\n");
}

#[test]
fn nothing_is_written_but_what_the_file_names() {
    let mut daemon = start();
    accept(&daemon, "reader@example.org", &["you@postrider.example"], &letter("traces"));
    wait_for_lines(&daemon, "D", 1);
    let entries = std::fs::read_dir(daemon.dir()).expect("our own directory");
    let names: BTreeSet<String> =
        entries.map(|entry| entry.expect("a readable folder").file_name().to_string_lossy().into_owned()).collect();
    let ours = ["daemon.conf", "stderr.1", "stdout.1"];
    let expected = ["log", "maildir", "run", "spool"].into_iter().chain(ours).map(str::to_owned).collect();
    assert_eq!(names, expected);
    assert_eq!(mailbox(&daemon, "you@postrider.example").len(), 1);
    daemon.terminate(e2e::SOON);
    assert!(!daemon.dir().join("run/postriderd.pid").exists());
}
