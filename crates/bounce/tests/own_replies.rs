//! Every text that begins with `[internal]` in the sources has the class that its failure has, and a rule that says so.

use std::fs;
use std::path::{Path, PathBuf};

use bounce::Classifier;

/// What this daemon says, and what that is: 25 where configuration, policy or an operator failed it, 24 where time ran out, 21
/// where the domain has no way, 20 where a host did not do what it should.
const OWN: &[(&str, u8)] = &[
    ("552 5.3.4 [internal] message size exceeds the limit declared by the remote host", 23),
    ("451 4.4.2 [internal] connection closed by remote host", 20),
    ("451 4.4.2 [internal] no banner", 24),
    ("451 4.4.2 [internal] send HELO/EHLO failed", 20),
    ("451 4.4.2 [internal] no HELO/EHLO response", 24),
    ("451 4.4.2 [internal] send MAIL FROM failed", 20),
    ("451 4.4.2 [internal] no response for MAIL FROM", 24),
    ("451 4.4.2 [internal] send RCPT TO failed", 20),
    ("451 4.4.2 [internal] no response for RCPT TO", 24),
    ("451 4.4.2 [internal] send DATA failed", 20),
    ("451 4.4.2 [internal] no response for DATA", 24),
    ("451 4.4.2 [internal] send BODY failed", 20),
    ("451 4.4.2 [internal] no response for BODY", 24),
    ("451 4.4.2 [internal] send RSET failed", 20),
    ("451 4.4.2 [internal] no response for RSET", 24),
    ("451 4.4.2 [internal] invalid banner", 20),
    ("451 4.4.2 [internal] invalid response for HELO/EHLO", 20),
    ("451 4.4.2 [internal] invalid response for MAIL FROM", 20),
    ("451 4.4.2 [internal] invalid response for RCPT TO", 20),
    ("451 4.4.2 [internal] invalid response for DATA", 20),
    ("451 4.4.2 [internal] invalid response for BODY", 20),
    ("451 4.4.2 [internal] invalid response for RSET", 20),
    ("451 4.4.2 [internal] unexpected response while idle", 20),
    ("451 4.4.2 [internal] response to what was not sent yet", 20),
    ("451 4.4.2 [internal] idle connection closed", 20),
    ("550 5.7.1 [internal] discarded by policy", 25),
    ("550 5.4.4 [internal] NULL MX domain does not accept mail", 21),
    ("454 4.4.4 [internal] no MX or A for domain", 21),
    ("550 5.1.2 [internal] domain does not exist (NXDOMAIN)", 21),
    ("451 4.4.3 [internal] DNS failure: lookup of x.test MX: no answer in time", 21),
    ("451 4.4.3 [internal] DNS failure: lookup of spam.test MX failed: the server answered Server Failure", 21),
    ("554 5.4.4 [internal] Domain Lookup Failed", 21),
    ("551 5.4.6 [internal] Private/Loopback Address", 25),
    ("421 4.4.0 [internal] no MXs for this domain could be reached at this time", 20),
    ("554 5.7.0 [internal] Blackholed", 25),
    ("554 5.7.0 [internal] Message manually purged", 25),
    ("554 5.7.0 [internal] manually failed", 25),
    ("550 5.3.0 [internal] message body missing", 25),
    ("554 5.6.3 [internal] conversion to 7-bit content required but not possible", 40),
    ("550 5.7.30 [internal] REQUIRETLS support required", 25),
    ("554 5.6.5 [internal] conversion to 7-bit content failed over this message: a defect, which is in the log", 40),
    ("451 4.3.0 [internal] message could not be converted now", 20),
    ("451 4.2.0 [internal] mailbox could not be written", 20),
    ("452 4.3.1 [internal] mailbox could not be written: no space", 20),
    ("550 5.1.1 [internal] recipient has no mailbox here", 10),
    ("451 4.3.0 [internal] this server lacks what it needs for a connection", 20),
    (
        "554 5.4.6 [internal] routing loop: the best host for this domain is this server itself, which does not deliver it locally",
        25,
    ),
    ("554 5.4.7 [internal] exceeded max time without delivery", 24),
    ("554 5.4.7 [internal] exceeded max retries without delivery", 24),
    ("554 5.4.5 [internal] Delivery not attempted (message expired)", 24),
];

#[test]
fn each_has_the_class_of_its_failure_whatever_follows_it() {
    let classifier = Classifier::new();
    for (reply, class) in OWN {
        assert_eq!(classifier.classify(reply).code(), *class, "{reply}");
        assert_eq!(classifier.classify_local(reply).code(), *class, "{reply}");
        let with_reason = format!("{reply} (452 4.2.2 user unknown, mailbox full)");
        assert_eq!(classifier.classify(&with_reason).code(), *class, "{with_reason}");
    }
}

#[test]
fn no_text_in_the_sources_is_missing() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let (mut found, mut missing) = (0, Vec::new());
    for file in sources(&root.join("crates")).into_iter().chain(sources(&root.join("modules"))) {
        let source = fs::read_to_string(&file).unwrap();
        for (at, _) in source.match_indices("\"[internal] ") {
            let text = source[at + 1..].split(['"', '{']).next().unwrap_or("").trim_end();
            if !OWN.iter().any(|(reply, _)| reply.contains(text)) {
                missing.push(text.to_owned());
            }
            found += 1;
        }
    }
    assert!(missing.is_empty(), "these texts have no class here: {missing:#?}");
    assert!(30 < found, "{found} texts");
}

/// The sources of a folder that are no tests.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("");
        if path.is_dir() && name != "tests" {
            found.extend(sources(&path));
        } else if name.ends_with(".rs") && !name.ends_with("tests.rs") {
            found.push(path);
        }
    }
    found
}
