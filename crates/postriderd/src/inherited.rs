//! What the process was started with and did not ask for: descriptors of whoever started it.
//!
//! One that stays open holds a terminal, a lock or a pipe of somebody else for as long as the daemon runs, and goes on to the
//! programs of its logs.

use rustix::fs::{Dir, Mode, OFlags, open};

/// Closes every descriptor but the standard streams. Before any of our own is opened, for it would be closed with them.
pub fn close() {
    for folder in ["/proc/self/fd", "/dev/fd"] {
        let opened = open(folder, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        let Ok(entries) = opened.and_then(Dir::new) else { continue };
        let numbers: Vec<i32> =
            entries.filter_map(|entry| entry.ok()?.file_name().to_str().ok()?.parse().ok()).collect();
        for number in numbers.into_iter().filter(|number| 2 < *number) {
            // The one that read the folder is closed by now.
            let _ = nix::unistd::close(number);
        }
        return;
    }
}
