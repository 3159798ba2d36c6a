//! Includes: files, directories, the search path, and what goes wrong with them.

mod common;

use common::*;
use config::{Configuration, Environment, Lookup};

fn hostname(etc: &Etc) -> String {
    match etc.load() {
        Ok(configuration) => configuration.current().get(&HOSTNAME, &Lookup::Global),
        Err(diagnostics) => panic!("refused:\n{}", diagnostics.render(false)),
    }
}

#[test]
fn included_text_continues_in_the_scope_of_the_include() {
    let etc = Etc::new(&[
        ("ecelerity.conf", "ESMTP_Listener { include \"listener.d\" }\ndomain \"d\" { Include d.conf }"),
        ("listener.d/10-a", "Idle_Time = 1"),
        ("listener.d/20-b", "Idle_Time = 2  Listen \":25\" { }"),
        ("listener.d/.hidden", "nonsense"),
        ("listener.d/below/30-c", "nonsense"),
        ("d.conf", "message_expiration = 7"),
    ]);
    let generation = etc.load().expect("valid").current();
    assert_eq!(
        generation.get(&IDLE_TIME, &session(":25", "")).0,
        2,
        "files of a directory in lexical order, the last wins"
    );
    assert_eq!(expiration(&generation, &queue("", "", "d")), 7);
    assert_eq!(generation.files().len(), 4);
}

#[test]
fn a_relative_name_is_found_beside_its_file_then_global_then_node_then_default() {
    let etc = Etc::new(&[
        ("ecelerity.conf", "include \"sub/a.conf\""),
        ("sub/a.conf", "include \"local.conf\""),
        ("conf/default/local.conf", "hostname = \"default\""),
    ]);
    assert_eq!(hostname(&etc), "default");
    etc.write("conf/node1/local.conf", "hostname = \"node\"");
    assert_eq!(hostname(&etc), "node");
    etc.write("conf/global/local.conf", "hostname = \"global\"");
    assert_eq!(hostname(&etc), "global");
    etc.write("sub/local.conf", "hostname = \"beside\"");
    assert_eq!(hostname(&etc), "beside");
}

#[test]
fn a_main_file_below_conf_finds_the_etc_directory_above() {
    let etc =
        Etc::new(&[("conf/default/main.conf", "include \"node.conf\""), ("conf/n2/node.conf", "hostname = \"n2\"")]);
    let environment = Environment { node_name: Some("n2".to_owned()), ..Environment::default() };
    let configuration =
        Configuration::load(registry(), etc.path("conf/default/main.conf"), environment).expect("valid");
    assert_eq!(configuration.current().get(&HOSTNAME, &Lookup::Global), "n2");
}

#[test]
fn readonly_include_marks_its_files() {
    let etc = Etc::new(&[
        ("ecelerity.conf", "readonly_include \"a\" include \"c\""),
        ("a", "include \"b\""),
        ("b", ""),
        ("c", ""),
    ]);
    let files = etc.load().expect("valid").current().files();
    let marks: Vec<_> =
        files.iter().map(|(path, closed)| (path.file_name().expect("a name").to_string_lossy(), *closed)).collect();
    assert_eq!(marks, [("ecelerity.conf".into(), false), ("a".into(), true), ("b".into(), true), ("c".into(), false)]);
}

#[test]
fn an_include_that_leads_back_shows_its_way() {
    let etc = Etc::new(&[("ecelerity.conf", "include \"a\""), ("a", "\ninclude \"b\""), ("b", "include \"a\"")]);
    let text = etc.refusal();
    let dir = std::fs::canonicalize(etc.dir.path()).expect("a directory").display().to_string();
    let text = text.replace(&format!("{dir}/"), "");
    assert!(text.contains("cannot include a: the include leads back to itself: a -> b -> a"), "{text}");
    assert!(text.contains("included from a:2") && text.contains("included from ecelerity.conf:1"), "{text}");
}

#[test]
fn includes_are_bounded_in_depth() {
    let etc = Etc::new(&[("ecelerity.conf", "include \"f0\"")]);
    (0..40).for_each(|n| etc.write(&format!("f{n}"), &format!("include \"f{}\"", n + 1)));
    assert!(etc.refusal().contains("includes are nested more than 32 deep"));
}

#[test]
fn errors_of_all_files_are_told_in_one_pass() {
    let etc = Etc::new(&[
        ("ecelerity.conf", "include \"a\"\nretry_interval = x"),
        ("a", "retry_interval = y\nfoo = 1\nbar {"),
    ]);
    let diagnostics = etc.load().expect_err("four errors");
    let dir = format!("{}/", etc.dir.path().display());
    let places: Vec<_> = diagnostics.iter().map(|diagnostic| diagnostic.place().replace(&dir, "")).collect();
    assert_eq!(places, ["ecelerity.conf:2:18", "a:1:18", "a:2:1", "a:3:1", "a:3:5"]);
}

#[test]
fn a_missing_main_file_is_named() {
    let text = Etc::new(&[]).refusal();
    assert_eq!(
        text,
        "Error: configuration: cannot read the configuration ecelerity.conf: there is no such file\n  Help: name another file with -c, or create this one\n"
    );
}

#[test]
fn a_world_writable_file_is_refused_when_asked() {
    use std::os::unix::fs::PermissionsExt;
    let etc = Etc::new(&[("ecelerity.conf", "hostname = \"h\"")]);
    std::fs::set_permissions(etc.main(), std::fs::Permissions::from_mode(0o666)).expect("chmod");
    assert!(
        etc.tidy(etc.load().expect("a warning only").current().warnings()).contains("run: chmod o-w ecelerity.conf")
    );
    let environment = Environment { refuse_world_writable: true, ..Environment::default() };
    assert!(Configuration::load(registry(), etc.main(), environment).is_err());
}

/// What a daemon that runs as root says to the files of `etc`; directories left out.
fn strict(etc: &Etc) -> String {
    let environment = Environment { refuse_world_writable: true, ..Environment::default() };
    match Configuration::load(registry(), etc.main(), environment) {
        Ok(configuration) => etc.tidy(configuration.current().warnings()),
        Err(refused) => etc.tidy(&refused),
    }
}

fn set_mode(path: std::path::PathBuf, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("chmod");
}

#[test]
fn a_directory_that_others_may_write_is_refused_once_with_the_command_to_run() {
    let etc = Etc::new(&[
        ("ecelerity.conf", "include \"sub/a\" include \"sub/b\" hostname = x"),
        ("sub/a", ""),
        ("sub/b", ""),
    ]);
    set_mode(etc.path("sub"), 0o777);
    let told = strict(&etc);
    assert_eq!(told.matches("Error").count(), 1, "{told}");
    assert!(told.contains("everyone on this machine may put another file in the place of sub/a"), "{told}");
    assert!(
        told.contains(&format!("run: chmod o-w {}", etc.path("sub").display())) || told.contains("run: chmod o-w sub"),
        "{told}"
    );
    let warned = etc.tidy(etc.load().expect("a warning only").current().warnings());
    assert!(warned.contains("Warning") && warned.contains("chmod o-w"), "{warned}");
    set_mode(etc.path("sub"), 0o1777);
    assert_eq!(strict(&etc), "", "nobody can replace what is ours in a sticky directory");
    etc.write("ecelerity.conf", "include sub");
    assert!(
        strict(&etc).contains("everyone on this machine may add a file to the included directory"),
        "but add to it"
    );
    set_mode(etc.path("sub"), 0o755);
    assert_eq!(strict(&etc), "");
}

#[test]
fn a_directory_around_a_secret_counts_too() {
    let etc = Etc::new(&[("ecelerity.conf", "hostname = ${file:keys/k}"), ("keys/k", "x")]);
    set_mode(etc.path("keys/k"), 0o600);
    assert_eq!(strict(&etc), "");
    set_mode(etc.path("keys"), 0o777);
    let told = strict(&etc);
    assert!(told.contains("put another secret in the place of keys/k") && told.contains("run: chmod o-w"), "{told}");
}

/// Texts by URL, of a scheme that a module might bring.
fn wrappers(texts: &[(&str, &'static str)]) -> io_wrapper::IoWrappers {
    let memory = io_wrapper::MemoryDriver::new();
    texts.iter().for_each(|(name, text)| memory.insert(name, text.as_bytes()));
    let wrappers = io_wrapper::IoWrappers::new();
    wrappers.register(std::sync::Arc::new(memory)).expect("a new scheme");
    wrappers
}

fn load_through(etc: &Etc, texts: &[(&str, &'static str)]) -> Result<Configuration, config::Diagnostics> {
    let environment = Environment { io_wrappers: wrappers(texts), ..Environment::default() };
    Configuration::load(registry(), etc.main(), environment)
}

#[test]
fn a_url_is_read_through_its_scheme_and_is_closed_to_changes() {
    let etc = Etc::new(&[("ecelerity.conf", "domain \"d\" { include \"memory://host/a.conf\" }\n")]);
    let texts = [("host/a.conf", "retry_interval = 5 include \"b.conf\""), ("host/b.conf", "message_expiration = 6")];
    let configuration = load_through(&etc, &texts).expect("valid");
    let generation = configuration.current();
    assert_eq!(expiration(&generation, &queue("", "", "d")), 6, "a relative target stays at its host");
    assert_eq!(generation.files()[1], ("memory://host/a.conf".into(), true));
    change(&configuration, &["set domain d retry_interval 9"]);
    configuration.writeback().expect("written");
    assert_eq!(etc.read("ecelerity.conf"), "domain \"d\" { include \"memory://host/a.conf\" retry_interval = 9 }\n");
}

#[test]
fn a_url_that_fails_is_told_at_its_include_line() {
    let etc = Etc::new(&[("ecelerity.conf", "\ninclude \"memory://nothing\"\ninclude \"ldap://x\"\n")]);
    let text = etc.tidy(&load_through(&etc, &[]).expect_err("two faults"));
    assert!(text.contains("ecelerity.conf:2:9") && text.contains("cannot include memory://nothing"), "{text}");
    assert!(text.contains("includes of ldap:// are not supported") && text.contains("memory://"), "{text}");
}

#[test]
fn a_url_that_leads_back_is_a_cycle() {
    let etc = Etc::new(&[("ecelerity.conf", "include \"memory://h/a\"")]);
    let text = etc.tidy(&load_through(&etc, &[("h/a", "include \"a\"")]).expect_err("a cycle"));
    assert!(text.contains("leads back to itself: memory://h/a -> memory://h/a"), "{text}");
}

#[test]
fn the_subcluster_is_searched_after_the_node() {
    let etc = Etc::new(&[
        ("ecelerity.conf", "include \"x.conf\""),
        ("conf/default/x.conf", "hostname = \"default\""),
        ("conf/west/x.conf", "hostname = \"west\""),
    ]);
    let environment =
        Environment { subcluster: Some("west".to_owned()), node_name: Some("n1".to_owned()), ..Environment::default() };
    let hostname = || {
        let loaded = Configuration::load(registry(), etc.main(), environment.clone()).expect("valid");
        loaded.current().get(&HOSTNAME, &Lookup::Global)
    };
    assert_eq!(hostname(), "west");
    etc.write("conf/n1/x.conf", "hostname = \"n1\"");
    assert_eq!(hostname(), "n1");
}

#[test]
fn a_directory_of_too_many_files_is_one_error() {
    let etc = Etc::new(&[("ecelerity.conf", "include \"many\"\ninclude \"many\"\nhostnam = x\n")]);
    std::fs::create_dir(etc.path("many")).expect("a directory");
    (0..10_001).for_each(|n| std::fs::write(etc.path(&format!("many/{n}")), "").expect("a file"));
    let told = etc.refusal();
    assert_eq!(told.matches("Error").count(), 1, "{told}");
    assert!(
        told.contains("cannot include many: it holds 10001 files, and a configuration has at most 10000"),
        "{told}"
    );
}

#[test]
fn a_file_that_is_there_and_cannot_be_read_is_not_to_be_created() {
    let dir = tempfile::tempdir().unwrap();
    let loaded = config::Configuration::load(config::Registry::new(), dir.path(), config::Environment::default());
    let told = loaded.map(drop).expect_err("a folder is no configuration").render(false);
    assert!(told.contains("see that this one is a file that this user may read"), "{told}");
}
