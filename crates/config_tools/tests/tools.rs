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

fn run(tool: fn(Vec<OsString>) -> Outcome, arguments: &[&str], paths: &[PathBuf]) -> Outcome {
    let words = ["tool"].iter().chain(arguments).map(OsString::from);
    tool(words.chain(paths.iter().map(|path| path.clone().into_os_string())).collect())
}

fn validate(arguments: &[&str], path: PathBuf) -> Outcome {
    run(config_tools::validate, arguments, &[path])
}

#[test]
fn a_valid_file_is_called_valid_and_an_invalid_one_is_explained() {
    let etc = etc(&[("good.conf", "hostname = \"mx\"\n"), ("bad.conf", "hostnam = \"mx\"\nretry_interval = soon\n")]);
    let good = validate(&["-c"], etc.path().join("good.conf"));
    assert_eq!((good.code, good.out.as_str(), good.err.as_str()), (0, "Configuration valid\n", ""));
    let bad = validate(&["-c"], etc.path().join("bad.conf"));
    assert_eq!((bad.code, bad.out.as_str()), (1, "Configuration invalid: 2 errors\n"));
    assert!(bad.err.contains("did you mean `hostname`?") && bad.err.contains("bad.conf:2:18"), "{}", bad.err);
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
        ("conf/default/ecelerity.conf", "include \"shared.conf\"\n"),
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
    let etc = etc(&[("good.conf", "hostname = \"mx\"\n")]);
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
