//! Programs the scenarios run: our own, built first if need be, and those of the system.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Once;

use testkit::{built_binary, run};

/// Our own program of that name, as new as its source. Cargo does not build the programs of other crates before it runs
/// these tests, so the first call in each test process asks it to; nothing is compiled when they are up to date.
pub fn binary(name: &str) -> PathBuf {
    static BUILT: Once = Once::new();
    BUILT.call_once(build);
    built_binary(name)
}

/// Builds into the folder this test runs from. A test that was not started by cargo takes what is there.
fn build() {
    let Some(cargo) = std::env::var_os("CARGO").filter(|_| std::env::var_os("POSTRIDER_BIN_DIR").is_none()) else {
        return;
    };
    let own = std::env::current_exe().expect("a running program has a path");
    // TARGET/PROFILE/deps/test-HASH
    let Some((target, profile)) =
        own.ancestors().nth(2).and_then(|folder| Some((folder.parent()?, folder.file_name()?)))
    else {
        return;
    };
    let profile = match profile.to_str() {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--workspace", "--bins", "--profile", profile]);
    command.arg("--target-dir").arg(target).current_dir(workspace());
    // What cargo tells a test about its own package is not for the packages built here.
    let told = std::env::vars_os().map(|(name, _)| name);
    for name in told
        .filter(|name| name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name == "LD_LIBRARY_PATH"))
    {
        command.env_remove(name);
    }
    let status = command.status();
    assert!(status.as_ref().is_ok_and(std::process::ExitStatus::success), "{command:?}: {status:?}");
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A program of the system. Panics with the command that installs it.
pub fn program(name: &str, package: &str) -> PathBuf {
    find(name).unwrap_or_else(|| panic!("{name} is not installed; run: apt-get install {package}  (tests/run does)"))
}

/// A program of the system, also from the folders of system programs.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    folders.map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// Runs a command that must succeed; its standard output.
pub fn succeed(command: &mut Command) -> String {
    let ended = run(command);
    assert!(ended.status.success(), "{command:?}: {}\n{}{}", ended.status, ended.stdout, ended.stderr);
    ended.stdout
}

/// As [`succeed`], with `text` on its standard input.
pub fn feed(command: &mut Command, text: &str) -> String {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    child.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("it reads its input");
    let ended = child.wait_with_output().expect("a child of ours can be waited for");
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(ended.status.success(), "{command:?}: {}\n{}{}", ended.status, said(&ended.stdout), said(&ended.stderr));
    said(&ended.stdout)
}
