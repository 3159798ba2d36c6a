//! Reading an included URL: bounded in size and in time, whatever its driver does.
//!
//! The driver runs on a thread of its own. One that does not answer in time is left to itself and the include fails; its
//! thread ends whenever the driver does.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use io_wrapper::{Flags, IoWrappers};

/// Largest text read.
const TEXT_BYTES_MAX: usize = 64 << 20;

/// How long a read may take.
const READ_LIMIT: Duration = Duration::from_secs(30);

/// The scheme of a target that is a URL; none for a path, and for `file://`.
pub(crate) fn scheme_of(target: &str) -> Option<&str> {
    let (scheme, _) = target.split_once("://")?;
    let alphanumeric = scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-._".contains(&byte));
    (alphanumeric && !scheme.is_empty() && !scheme.eq_ignore_ascii_case("file")).then_some(scheme)
}

/// Whether the text of a URL may be changed from the console: where `persist` stands before a file. What comes from
/// another machine is read only.
pub(crate) fn is_writable(url: &str) -> bool {
    let kept = url.split_once("://").filter(|(scheme, _)| scheme.eq_ignore_ascii_case("persist"));
    kept.is_some_and(|(_, origin)| scheme_of(origin).is_none())
}

/// What to do about a URL that cannot be read.
pub(crate) fn advice(url: &str) -> Option<String> {
    let scheme = scheme_of(url)?;
    Some(match scheme.eq_ignore_ascii_case("persist") {
        true => "no copy of it was kept either; make the server answer, and load again".to_owned(),
        false => format!("make the server answer, or write \"persist://{url}\", which goes on with the last copy"),
    })
}

/// The whole text behind a URL.
pub(crate) fn read(io_wrappers: &IoWrappers, url: &str) -> Result<String, String> {
    read_within(io_wrappers, url, READ_LIMIT)
}

fn read_within(io_wrappers: &IoWrappers, url: &str, limit: Duration) -> Result<String, String> {
    io_wrappers.check(url, Flags::READ).map_err(|problem| problem.to_string())?;
    let (done, answer) = mpsc::channel();
    let (wrappers, wanted) = (io_wrappers.clone(), url.to_owned());
    let reader = move || {
        // Nobody listens any more once the limit has passed.
        let _ = done.send(wrappers.read_text(&wanted, TEXT_BYTES_MAX));
    };
    thread::Builder::new().name("include".to_owned()).spawn(reader).map_err(|problem| problem.to_string())?;
    match answer.recv_timeout(limit) {
        Ok(text) => text.map_err(|problem| problem.to_string()),
        Err(_) => Err(format!("no answer within {} s", limit.as_secs())),
    }
}

/// Replaces the text behind a URL.
pub(crate) fn write(io_wrappers: &IoWrappers, url: &str, text: &str) -> Result<(), String> {
    let mut stream = io_wrappers.open(url, Flags::REPLACE, 0o640).map_err(|problem| problem.to_string())?;
    let written = stream.write_all(text.as_bytes()).and_then(|()| stream.flush()).and_then(|()| stream.sync());
    written.and_then(|()| stream.close()).map_err(|problem| format!("writing {url}: {problem}"))
}

/// What a relative target means in a text that came from `base`.
pub(crate) fn resolve(base: &str, target: &str) -> String {
    let start = base.find("://").map_or(0, |at| at + 3);
    let host_end = base[start..].find('/').map_or(base.len(), |at| start + at);
    match (target.starts_with('/'), base[host_end..].rfind('/')) {
        (true, _) => format!("{}{target}", &base[..host_end]),
        (false, Some(last)) => format!("{}/{target}", &base[..host_end + last]),
        (false, None) => format!("{base}/{target}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::Arc;

    #[test]
    fn a_target_is_a_url_when_it_has_a_scheme_other_than_file() {
        assert_eq!(scheme_of("http://h/x"), Some("http"));
        assert_eq!(scheme_of("file:///x"), None);
        assert_eq!(scheme_of("/etc/x"), None);
        assert_eq!(scheme_of("a b://x"), None);
        assert!(is_writable("PERSIST:///etc/x") && !is_writable("http://x") && !is_writable("persist://http://x"));
    }

    #[test]
    fn a_relative_target_stays_on_its_host() {
        assert_eq!(resolve("http://h/a/b.conf", "c.conf"), "http://h/a/c.conf");
        assert_eq!(resolve("http://h/a/b.conf", "/c.conf"), "http://h/c.conf");
        assert_eq!(resolve("http://h", "c.conf"), "http://h/c.conf");
    }

    struct Deaf;

    impl io_wrapper::Driver for Deaf {
        fn scheme(&self) -> &str {
            "deaf"
        }
        fn open(&self, _: &str, _: Flags, _: u32) -> io::Result<Box<dyn io_wrapper::Stream>> {
            loop {
                thread::park();
            }
        }
    }

    #[test]
    fn a_driver_that_never_answers_holds_nobody() {
        let wrappers = IoWrappers::new();
        wrappers.register(Arc::new(Deaf)).expect("a new scheme");
        assert_eq!(read_within(&wrappers, "deaf://x", Duration::ZERO), Err("no answer within 0 s".to_owned()));
    }
}
