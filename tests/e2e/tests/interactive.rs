//! `ec_console` at a terminal: banner, prompt, completion and history. `script` is the terminal.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use e2e::{SOON, binary, maildir_relay, program};
use testkit::{Daemon, wait_until};

/// A console in a terminal of its own.
struct Terminal {
    child: Child,
    keyboard: Option<ChildStdin>,
    screen: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
    seen: usize,
}

impl Terminal {
    fn open(daemon: &Daemon, home: &Path) -> Self {
        let line = format!("{} {}", binary("ec_console").display(), daemon.value("control"));
        let mut command = Command::new(program("script", "bsdutils"));
        command.args(["--quiet", "--return", "--flush", "--command", &line, "/dev/null"]);
        command.env("HOME", home).env("TERM", "xterm").env_remove("XDG_STATE_HOME");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("script runs");
        let (keyboard, mut output) = (child.stdin.take(), child.stdout.take().expect("a pipe"));
        let screen = Arc::new(Mutex::new(String::new()));
        let shown = screen.clone();
        let reader = std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = output.read(&mut bytes) {
                let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
                shown.lock().unwrap_or_else(PoisonError::into_inner).push_str(&text);
            }
        });
        let mut terminal = Self { child, keyboard, screen, reader: Some(reader), seen: 0 };
        terminal.expect(daemon.value("control"));
        terminal.expect("> ");
        terminal
    }

    /// Waits until this comes after what was seen last, and returns what came before it.
    fn expect(&mut self, text: &str) -> String {
        let screen = self.screen.clone();
        let shown = || screen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let seen = self.seen;
        assert!(wait_until(SOON, || shown()[seen..].contains(text)), "{text:?} is not next in {:?}", &shown()[seen..]);
        let rest = &shown()[seen..];
        let at = rest.find(text).expect("it was there");
        self.seen += at + text.len();
        rest[..at].to_owned()
    }

    /// Types, waits for the answer and the prompt after it; all that was shown.
    fn ask(&mut self, keys: &str) -> String {
        self.press(keys);
        // The line is over when bracketed paste is switched off, and the next begins when it is switched on.
        let typed = self.expect("\u{1b}[?2004l");
        let answer = self.expect("\u{1b}[?2004h");
        self.expect("> ");
        typed + &answer
    }

    fn press(&mut self, keys: &str) {
        self.keyboard.as_mut().expect("it is open").write_all(keys.as_bytes()).expect("the terminal takes keys");
    }

    fn leave(mut self) -> Option<i32> {
        self.press("quit\r");
        let mut status = None;
        assert!(wait_until(SOON, || {
            status = self.child.try_wait().expect("a child of ours can be waited for");
            status.is_some()
        }));
        status.and_then(|status| status.code())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.keyboard = None;
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

#[test]
fn a_person_gets_a_banner_a_prompt_completion_and_history() {
    let daemon = maildir_relay().start();
    let home = tempfile::tempdir().expect("a scratch directory");
    let pid = daemon.read("pid").trim().to_owned();

    let mut terminal = Terminal::open(&daemon, home.path());
    let banner = terminal.screen.lock().unwrap_or_else(PoisonError::into_inner).clone();
    assert!(
        banner.starts_with("####") && banner.contains(&format!("Connected to Postrider {}", env!("CARGO_PKG_VERSION"))),
        "{banner}"
    );

    let completed = terminal.ask("pi\t\r");
    assert!(completed.contains(&pid), "Tab completes pi to pid: {completed:?}");
    let wrong = terminal.ask("sumary\r");
    assert!(wrong.contains("summary"), "a mistake does not end it: {wrong:?}");
    let again = terminal.ask("\u{1b}[A\u{1b}[A\r");
    assert!(again.contains(&pid), "two lines back is pid: {again:?}");
    assert_eq!(terminal.leave(), Some(0));

    let mut terminal = Terminal::open(&daemon, home.path());
    let remembered = terminal.ask("\u{1b}[A\u{1b}[A\r");
    assert!(
        remembered.contains(&pid) || remembered.contains("summary"),
        "history outlives the session: {remembered:?}"
    );
    assert_eq!(terminal.leave(), Some(0));
}
