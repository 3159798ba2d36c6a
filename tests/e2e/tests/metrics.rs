//! `metrics` is read by Prometheus' own parser, and each number in it has its kind and its sentence.

use std::process::Command;

use e2e::{MAILDIR, accept, ask, ask_json, daemon, letter, wait_for_mail};
use testkit::run;

/// Reads the text with the parser of the official client and prints what it understood: kind, name and samples.
const PARSE: &str = r#"
import sys
from prometheus_client.parser import text_fd_to_metric_families
for family in text_fd_to_metric_families(open(sys.argv[1])):
    for sample in family.samples:
        labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
        print(family.type, family.name, len(family.documentation), sample.name, labels, sample.value, sep="\t")
"#;

#[test]
fn prometheus_reads_every_number_with_its_kind_and_its_help() {
    let daemon = daemon(&format!("{MAILDIR}spool_backend = \"journal\"\n")).start();
    accept(&daemon, "ann@client.test", &["bob@here.test"], &letter("counted"));
    wait_for_mail(&daemon, "bob@here.test", 1);
    ask(&daemon, &["config", "reload"]);
    let text = ask(&daemon, &["metrics"]);
    let path = daemon.dir().join("metrics.txt");
    std::fs::write(&path, &text).expect("the scratch directory takes files");
    // The distribution's own, which has the parser; another may come first in PATH.
    let python = "/usr/bin/python3";
    let parsed = run(Command::new(python).args(["-c", PARSE]).arg(&path));
    assert!(
        parsed.status.success(),
        "is python3-prometheus-client installed (tests/run does)?\n{}\n{text}",
        parsed.stderr
    );
    let rows: Vec<Vec<&str>> = parsed.stdout.lines().map(|line| line.split('\t').collect()).collect();
    assert!(100 < rows.len(), "{text}");
    for row in &rows {
        let [kind, name, help, ..] = row[..] else { panic!("{row:?}") };
        assert!(["counter", "gauge", "histogram"].contains(&kind), "{name} is {kind}: nobody declares it\n{text}");
        assert!(help.parse::<usize>().is_ok_and(|length| 10 < length), "{name} has no help");
    }
    let value = |name: &str, labels: &str| {
        let row = rows.iter().find(|row| row[3] == name && row[4] == labels);
        row.unwrap_or_else(|| panic!("no {name} {labels} in\n{text}"))[5].parse::<f64>().expect("a number")
    };
    assert_eq!(value("postrider_reception_messages_accepted_total", ""), 1.0);
    assert!(1.0 <= value("postrider_netlistener_accepted_total", "listener=esmtp_listener"));
    assert_eq!(value("postrider_memory_pressure", ""), 0.0);
    let (all, infinite) = (
        value("postrider_spool_sync_micros_count", "store=journal"),
        value("postrider_spool_sync_micros_bucket", "le=+Inf,store=journal"),
    );
    assert!(1.0 <= all && all == infinite, "{text}");
    assert!(ask_json(&daemon, &["metrics"])["reception.messages.accepted"].is_number(), "programs have the own names");
}
