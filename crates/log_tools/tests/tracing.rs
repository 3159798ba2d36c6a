//! A message is found in the logs that were rotated, compressed, damaged, and in those of another stamp.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use log_tools::{Source, trace};

/// Compresses as logrotate does.
fn gzip(path: &Path) {
    assert!(Command::new("gzip").arg(path).stdin(Stdio::null()).status().expect("gzip runs").success());
}

fn write(path: &Path, lines: &[&str]) {
    let mut file = std::fs::File::create(path).expect("a scratch file");
    lines.iter().for_each(|line| writeln!(file, "{line}").expect("a scratch file"));
}

#[test]
fn what_became_of_a_message_is_joined_from_every_file() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let at = |name: &str| dir.path().join(name);
    write(
        &at("mainlog.ec.2"),
        &[
            "1790000000@71/A0@81/A0@30/00@R@ann@shop.example@news@sender.example@192.0.2.9@2011@esmtp@default@default",
            "1790000000@71/A1@81/A0@30/00@R@bob@shop.example@news@sender.example@192.0.2.9@2011@esmtp@default@default",
        ],
    );
    gzip(&at("mainlog.ec.2"));
    write(
        &at("mainlog.ec.1"),
        &[
            "1790000004000000@71/A0@81/A0@50/00@T@shop.example@64@default@default@5@0@4.00@198.51.100.7@452 4.2.2 full",
            "@@@@M1",
        ],
    );
    write(&at("mainlog.ec"), &["1790009000@71/A0@81/A0@51/00@P@shop.example@0@default@default@0@1@9000.00@@550 gone"]);
    write(
        &at("bouncelog.ec-20260921"),
        &["1790009000@71/A0@81/A0@51/00@B@ann@shop.example@news@sender.example@default@default@0@10@2011@@550 gone"],
    );
    write(
        &at("rejectlog.ec"),
        &[
            "1789999999: R=\"192.0.2.9:4\" L=\"192.0.2.1:25\" C=\"30/00\" PATH=\"default\" PATH_GRP=\"default\" P=\"awaiting rcptto\" E=550 M=x CTXCONN=[] CTXMESS=[] no such user",
            "1789999999: R=\"192.0.2.9:4\" L=\"192.0.2.1:25\" C=\"31/00\" PATH=\"default\" PATH_GRP=\"default\" P=\"awaiting rcptto\" E=550 M=x CTXCONN=[] CTXMESS=[] another session",
        ],
    );
    write(&at("mainlog.other"), &["1790000000@71/A0@81/A0@30/00@D@not.ours@1@a@b@0@1@"]);
    // Octets of anything, and a file that was cut off.
    let mut noise: Vec<u8> = (0..200_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    noise.extend_from_slice(&vec![b'x'; 300_000]);
    std::fs::write(at("mainlog.ec.3"), noise).expect("a scratch file");
    let whole = std::fs::read(at("mainlog.ec.2.gz")).expect("it was made");
    std::fs::write(at("mainlog.ec.4.gz"), &whole[..whole.len() / 2]).expect("a scratch file");

    let logs = ["mainlog.ec", "bouncelog.ec", "rejectlog.ec"].map(at);
    let source = Source::named(&logs).expect("the logs");
    let told = |id: &str| {
        let found = trace(&source, id);
        (found.events.iter().map(|event| event.what_word()).collect::<Vec<_>>().join(" "), found)
    };
    let (words, found) = told("71/A0");
    assert_eq!(words, "refused received later failed bounced", "{:?}", found.events);
    assert_eq!(found.files, 7);
    assert!(found.troubles.iter().all(|trouble| trouble.contains("mainlog.ec.4.gz")), "{:?}", found.troubles);
    assert_eq!(told("81/a0").0, "refused received received later failed bounced");
    assert_eq!(told("31/00").0, "refused");
    assert_eq!(told("99/00").0, "");
}
