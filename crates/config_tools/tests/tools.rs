//! The tools as an operator runs them: what they print and the code they end with.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

use config_tools::Outcome;

/// A directory with these files.
fn etc(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    for (name, text) in files {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, text).expect("a file");
    }
    directory
}

/// What a daemon needs to be reached.
const CONSOLE: &str = "control_listener { listen \"/run/postrider/control\" { } }\n";

fn run(tool: fn(Vec<OsString>) -> Outcome, arguments: &[&str], paths: &[PathBuf]) -> Outcome {
    let words = ["tool"].iter().chain(arguments).map(OsString::from);
    tool(words.chain(paths.iter().map(|path| path.clone().into_os_string())).collect())
}

fn validate(arguments: &[&str], path: PathBuf) -> Outcome {
    run(config_tools::validate, arguments, &[path])
}

#[test]
fn a_valid_file_is_called_valid_and_an_invalid_one_is_explained() {
    let etc = etc(&[
        ("good.conf", &format!("hostname = \"mx\"\n{CONSOLE}")),
        ("bad.conf", "hostnam = \"mx\"\nretry_interval = soon\n"),
    ]);
    let good = validate(&["-c"], etc.path().join("good.conf"));
    assert_eq!((good.code, good.out.as_str(), good.err.as_str()), (0, "Configuration valid\n", ""));
    let bad = validate(&["-c"], etc.path().join("bad.conf"));
    assert_eq!((bad.code, bad.out.as_str()), (1, "Configuration invalid: 2 errors\n"));
    assert!(bad.err.contains("did you mean `hostname`?") && bad.err.contains("bad.conf:2:18"), "{}", bad.err);
}

#[test]
fn what_a_start_would_refuse_is_refused_here_with_the_same_words() {
    let dir = tempfile::tempdir().expect("a directory");
    let at = |name: &str| dir.path().join(name).display().to_string();
    let listening = |more: &str| format!("esmtp_listener {{ listen \"127.0.0.1:2525\" {{ }}\n {more} }}\n{CONSOLE}");
    let cases = [
        ("", "there is no listener"),
        ("retry_interval = 61\n", "there is no listener"),
        ("control_listener { listen \"127.0.0.1:2025\" { } }\n", "no authentication over TCP"),
        (&listening("listen \"127.0.0.1:2525.\" { }"), "has no valid port"),
        (&listening("listen \"0.0.0.0:2525\" { }"), "\"127.0.0.1:2525\" has the same port"),
        (&format!("{}esmtp_listener {{ listen \"*:2525\" {{ }} }}\n", listening("")), "has the same port"),
        (&listening("listen \"192.0.2.77:2525\" { }"), "this host has no such address"),
        (&listening("listen \":2526\" { event_loop = \"none\" }"), "there is no eventloop \"none\""),
        (&format!("{CONSOLE}delivery_pool = \"none\"\n"), "names no event loop pool"),
        (&format!("{CONSOLE}security {{ user = \"nobody-there\" }}\n"), "there is no user nobody-there"),
        (&format!("{CONSOLE}security {{ user = \"0\" group = \"nobody-there\" }}\n"), "there is no group nobody-there"),
        (
            &format!("{CONSOLE}pidfile = \"{0}\"\nec_logger \"ec_logger\" {{ mainlog = \"{0}\" }}\n", at("one")),
            "pidfile and the log mainlog are the same file",
        ),
        (
            &format!("{CONSOLE}pidfile = \"{0}\"\nbounce_logger \"a\" {{ bouncelog = \"gzip://{0}\" }}\n", at("./one")),
            "are the same file",
        ),
        (
            &format!("control_listener {{ listen \"{0}\" {{ }} }}\npidfile = \"{0}\"\n", at("one")),
            "the socket of control_listener and pidfile",
        ),
        (
            &format!("{CONSOLE}ec_logger \"ec_logger\" {{ mainlog = \"jlog:///a=>no such reader!\" }}\n"),
            "cannot be a subscriber",
        ),
        (&format!("{CONSOLE}ec_logger \"ec_logger\" {{ mainlog = \"jlog://a\" }}\n"), "full/path"),
        (&format!("{CONSOLE}ec_logger \"ec_logger\" {{ mainlog = \"https://a/b\" }}\n"), "can only be read"),
        (&format!("{CONSOLE}ec_logger \"ec_logger\" {{ acctlog = \"gzip://pipe://a\" }}\n"), "full path"),
        (&format!("{CONSOLE}ec_logger \"ec_logger\" {{ mainlog = \"{}\" }}\n", dir.path().display()), "irectory"),
        (&format!("{CONSOLE}suppress_spool {{ }}\n"), "_unsafe_spool"),
    ];
    for (text, expected) in cases {
        let etc = etc(&[("a.conf", text)]);
        let told = validate(&["-c"], etc.path().join("a.conf"));
        assert_eq!(told.code, 1, "{text}: {}{}", told.out, told.err);
        assert!(told.err.contains(expected), "{text}: {}", told.err);
    }
    assert_eq!(std::fs::read_dir(dir.path()).expect("ours").count(), 0, "nothing is made by asking");
    // What only another host can tell.
    for text in
        [listening("listen \"192.0.2.77:2525\" { }"), format!("{CONSOLE}security {{ user = \"nobody-there\" }}\n")]
    {
        let etc = etc(&[("a.conf", &text)]);
        assert_eq!(validate(&["--elsewhere", "-c"], etc.path().join("a.conf")).code, 0, "{text}");
    }
}

#[test]
fn a_file_that_is_not_there_is_no_configuration() {
    let missing = validate(&["-c"], PathBuf::from("/nowhere/ecelerity.conf"));
    assert_eq!((missing.code, missing.out.as_str()), (2, "No configuration found\n"));
    assert!(missing.err.contains("there is no /nowhere/ecelerity.conf"));
    let empty = validate(&[], etc(&[]).path().to_owned());
    assert_eq!((empty.code, empty.out.as_str()), (2, "No configuration found\n"));
    assert_eq!(validate(&["--frobnicate"], PathBuf::from("x")).code, 2);
}

#[test]
fn a_tree_is_checked_file_by_file_each_in_its_way() {
    let etc = etc(&[
        ("conf/default/ecelerity.conf", &format!("include \"shared.conf\"\n{CONSOLE}")),
        ("conf/default/shared.conf", "retry_interval = 900\n"),
        ("conf/default/unused.conf", "retry_interval = { 900\n"),
        ("conf/node1/ecelerity.conf", "retry_intervall = 900\n"),
        ("conf/node1/keys/a.pem", "-----BEGIN"),
    ]);
    let outcome = validate(&[], etc.path().to_owned());
    let root = etc.path().display();
    let expected = format!(
        "{root}/conf/default/ecelerity.conf: Configuration valid\n\
         {root}/conf/node1/ecelerity.conf: Configuration invalid: 1 error\n\
         {root}/conf/default/unused.conf: Configuration invalid: 1 error (a fragment that no main file here includes: \
         syntax only)\n"
    );
    assert_eq!((outcome.code, outcome.out), (1, expected));
    let json = validate(&["--json"], etc.path().to_owned());
    let json: serde_json::Value = serde_json::from_str(&json.out).expect("JSON");
    assert_eq!((&json["valid"], &json["files"][2]["checked"]), (&false.into(), &"syntax".into()));
    assert_eq!(json["files"][1]["diagnostics"][0]["line"], 1);
}

#[test]
fn a_dump_has_every_value_with_its_includes_in_place() {
    let etc = etc(&[
        ("a.conf", "pidfile = \"a & b\"\ninclude \"b.conf\"\n"),
        ("b.conf", "domain \"x\" { retry_interval = 5 }\n"),
    ]);
    let main = etc.path().join("a.conf");
    let xml = run(config_tools::dump, &["-c"], std::slice::from_ref(&main));
    let expected = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<configuration>\n  \
                    <option name=\"pidfile\">a &amp; b</option>\n  <scope word=\"domain\" name=\"x\">\n    \
                    <option name=\"retry_interval\">5</option>\n  </scope>\n</configuration>\n";
    assert_eq!((xml.code, xml.out.as_str()), (0, expected));
    let json = run(config_tools::dump, &["--json", "-c"], std::slice::from_ref(&main));
    let json: serde_json::Value = serde_json::from_str(&json.out).expect("JSON");
    assert_eq!(json["scopes"][0]["options"]["retry_interval"], 5);
    let out = etc.path().join("out.xml");
    let written = run(config_tools::dump, &["-c", main.to_str().expect("a path"), "-f"], std::slice::from_ref(&out));
    assert_eq!((written.code, written.out.as_str()), (0, ""));
    assert_eq!(fs::read_to_string(out).expect("written"), expected);
}

#[test]
fn a_dump_of_an_invalid_file_is_its_error() {
    let etc = etc(&[("a.conf", "domain { }\n"), ("modules/m.ecm", "nonsense\n"), ("b.conf", "")]);
    let refused = run(config_tools::dump, &["-c"], &[etc.path().join("a.conf")]);
    assert_eq!((refused.code, refused.out.as_str()), (1, ""));
    assert!(refused.err.contains("`domain` needs a name"), "{}", refused.err);
    let modules = etc.path().join("modules");
    let fault = run(config_tools::dump, &["-e", modules.to_str().expect("a path"), "-c"], &[etc.path().join("b.conf")]);
    assert_eq!(fault.code, 2);
    assert!(fault.err.contains("m.ecm:1"), "{}", fault.err);
    assert_eq!(run(config_tools::dump, &["-c"], &[etc.path().join("none")]).code, 2);
}

#[test]
fn a_file_is_formatted_in_place_and_then_passes_the_check() {
    let etc = etc(&[("a.conf", "a=1 # why\nb   = 2\n"), ("bad.conf", "a = {\n")]);
    let (path, bad) = (etc.path().join("a.conf"), etc.path().join("bad.conf"));
    let formatted = "a = 1  # why\nb = 2\n";
    let printed = run(config_tools::format, &[], std::slice::from_ref(&path));
    assert_eq!((printed.code, printed.out.as_str()), (0, formatted));
    assert_eq!(run(config_tools::format, &["--check"], std::slice::from_ref(&path)).code, 1);
    let both = run(config_tools::format, &["-i"], &[path.clone(), bad.clone()]);
    assert_eq!(both.code, 1, "{}", both.err);
    assert_eq!(fs::read_to_string(&path).expect("there"), formatted);
    assert_eq!(fs::read_to_string(&bad).expect("there"), "a = {\n");
    let again = run(config_tools::format, &["--check"], &[path]);
    assert_eq!((again.code, again.out.as_str()), (0, ""));
}

#[test]
fn what_is_there_and_no_file_is_written_to_and_stays() {
    let etc = etc(&[("good.conf", &format!("hostname = \"mx\"\n{CONSOLE}"))]);
    let socket = etc.path().join("socket");
    let _listening = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
    let refused =
        run(config_tools::dump, &["-f", socket.to_str().expect("a name"), "-c"], &[etc.path().join("good.conf")]);
    assert_eq!(refused.code, 2, "a socket cannot be opened: {}", refused.err);
    assert!(!fs::metadata(&socket).expect("still there").is_file());
}

#[test]
fn a_socket_or_fifo_is_no_configuration_and_nobody_waits_for_it() {
    let etc = etc(&[]);
    let socket = etc.path().join("ecelerity.conf");
    let _listening = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
    let refused = validate(&[], socket);
    assert_eq!(refused.code, 2);
    assert!(refused.err.contains("is not a regular file"), "{}", refused.err);
}

#[test]
fn a_url_is_included_as_the_daemon_does_it() {
    let server = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = server.local_addr().expect("an address");
    let serving = std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        for _ in 0..2 {
            let (mut client, _) = server.accept().expect("a client");
            let _ = client.read(&mut [0; 4096]).expect("a request");
            let text = "retry_interval = soon\n";
            let reply = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}", text.len());
            client.write_all(reply.as_bytes()).expect("a reply");
        }
    });
    for url in [format!("http://{at}/a.conf"), format!("persist://http://{at}/a.conf")] {
        let etc = etc(&[("main.conf", &format!("include \"{url}\"\n"))]);
        let checked = validate(&[], etc.path().join("main.conf"));
        assert!(
            checked.code == 1 && checked.err.contains("a.conf:1:18"),
            "the included text was judged: {}",
            checked.err
        );
    }
    serving.join().expect("both were served");
    let etc = etc(&[("main.conf", &format!("include \"http://{at}/a.conf\"\n"))]);
    let alone = validate(&[], etc.path().join("main.conf"));
    assert!(alone.err.contains("or write \"persist://http://"), "{}", alone.err);
}
