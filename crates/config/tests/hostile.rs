//! Large and hostile texts: refused or read in one pass, with bounded memory. A step that grew with the square of the
//! text would take these tests minutes; `POSTRIDER_HOSTILE_MIB=10` with `--release` is the full size.

mod common;

use std::sync::{Arc, LazyLock};

use common::*;
use config::{Configuration, Diagnostics, Lookup, Registry};

static REGISTRY: LazyLock<Arc<Registry>> = LazyLock::new(|| Arc::new(registry()));

/// Bytes of each text.
fn size() -> usize {
    let mib = std::env::var("POSTRIDER_HOSTILE_MIB").ok().and_then(|mib| mib.parse::<usize>().ok());
    mib.map_or(1 << 17, |mib| mib << 20)
}

fn read(text: &str) -> Result<Configuration, Diagnostics> {
    drop(config::format(text));
    Configuration::of_text(REGISTRY.clone(), text)
}

/// A text of `size` bytes made of numbered pieces.
fn numbered(piece: impl Fn(usize) -> String) -> String {
    let (mut text, size) = (String::new(), size());
    let mut n = 0;
    while text.len() < size {
        text.push_str(&piece(n));
        n += 1;
    }
    text
}

fn said(text: &str) -> String {
    Configuration::of_text(REGISTRY.clone(), text).expect_err("too much").render(false)
}

#[test]
fn one_piece_over_and_over() {
    for piece in [
        "a { ",
        "{",
        "}",
        "(",
        ")",
        "[",
        "]",
        "=",
        ",",
        "\"",
        "'",
        "\\",
        "\\\"\n",
        "/*",
        "*/",
        "#",
        "/",
        "//",
        "$",
        "${",
        "$\"",
        "${A}",
        "\u{0}",
        "\u{201c}",
        "\u{a0}",
        "a = ( ",
        "a = [ b = ",
        "x\n",
        "a b ",
        "hostname = x ",
        "hostname = x\n",
        "domain a { ",
        "domain a { } ",
        "domain \"/a/\" { }",
        "include \"x\"\n",
        "if_env A { ",
        "if_env A { } ",
        "tls = no ",
        "opendkim { ",
        "Listen ",
        "binding b { hostname = 1 } ",
        "relay_hosts = ( 1.2.3.4 ) ",
        "hostname = \"${A}\" ",
        "hostname = $\"${A:-b}\" ",
    ] {
        drop(read(&piece.repeat(size() / piece.len())));
    }
}

#[test]
fn a_great_many_stanzas() {
    let text = numbered(|n| format!("domain \"d{n}.example\" {{ message_expiration = {n} }}\n"));
    let generation = read(&text).expect("valid").current();
    assert_eq!(expiration(&generation, &queue("", "", "d77.example")), 77);
    let text =
        numbered(|n| format!("binding_group \"g{n}\" {{ binding b {{ domain d {{ message_expiration = 1 }} }} }} "));
    assert!(read(&text).expect("warnings only").current().warnings().len() > 1000);
    read(&numbered(|n| format!("domain \"d{}\" {{ message_expiration = 1 }} ", n % 7))).expect("one stanza many times");
    let text = numbered(|n| format!("Listen \"/run/{}\" {{ }} ", n % 3000));
    read(&format!("ESMTP_Listener {{ {text} }}")).expect("warnings only");
    let text =
        numbered(|n| format!("Peer \"{}.{}.{}.0/{}\" {{ }} ", n % 223 + 1, n / 223 % 256, n / 65536 % 256, n % 32));
    read(&format!("ESMTP_Listener {{ {text} }}")).expect("valid");
}

#[test]
fn a_great_many_patterns() {
    let generation = read(&numbered(|n| format!("domain \"/d{}\\./\" {{ message_expiration = {n} }} ", n % 500)))
        .expect("the same ones are compiled once")
        .current();
    assert!(expiration(&generation, &queue("", "", "d7.example")) > 500);
    let nested = said("domain \"/((((((a{9}){9}){9}){9}){9}){9}){9}/\" { }");
    assert!(nested.contains("needs more than 1024 KiB"), "{nested}");
    assert!(said(&format!("domain \"/{}/\" {{ }}", "(".repeat(size()))).contains("needs more than 64 KiB"));
}

#[test]
fn patterns_of_many_scopes_share_what_they_compile() {
    let stanzas: String = (0..20).map(|n| format!("domain \"/p{n}/\" {{ message_expiration = {n} }} ")).collect();
    let text: String = (0..600).map(|n| format!("binding \"b{n}\" {{ {stanzas} }}\n")).collect();
    let generation = read(&text).expect("valid").current();
    assert_eq!(expiration(&generation, &queue("", "b599", "p13")), 1, "p1 stands before p13");
}

#[test]
fn large_lists_are_read_and_larger_ones_refused() {
    let element = |n: usize| format!("10.{}.{}.{} ", n >> 16, n >> 8 & 255, n & 255);
    let list = |count: usize| format!("relay_hosts = ( {})", (0..count).map(element).collect::<String>());
    let generation = read(&list(20_000)).expect("valid").current();
    assert_eq!(generation.get(&RELAY_HOSTS, &Lookup::Global).nets().len(), 20_000);
    let limit = 1 << 18;
    assert!(said(&format!("relay_domains = ( {})", "a ".repeat(limit + 1))).contains("has more than 262144 elements"));
    assert!(said(&format!("context = [ {}]", "a=b ".repeat(limit + 1))).contains("has more than 262144 elements"));
    let keys: String = (0..20_000).map(|n| format!("k{n} = v ")).collect();
    read(&format!("context = [ {keys}]")).expect("different keys");
}

#[test]
fn what_a_load_holds_in_all_is_bounded_with_one_error() {
    let told = said(&"domain d{}".repeat(500_001));
    assert!(told.contains("has more than 500000 scopes") && told.contains("keep tables of this size"), "{told}");
    assert_eq!(told.matches("Error").count(), 1, "nothing after it is looked at: {told}");
    let told = said(&"a=1 ".repeat(2_000_001));
    assert!(told.contains("has more than 2000000 options"), "{told}");
    let list = "a ".repeat(200_000);
    let told = said(&(0..6).map(|n| format!("domain d{n} {{ routes = ( {list}) }}\n")).collect::<String>());
    assert!(told.contains("has more than 1048576 elements of arrays and dictionaries"), "{told}");
}

#[test]
fn a_million_options_are_read() {
    let text: String = (0..1_000_000).map(|n| format!("hostname=a{n}\n")).collect();
    let generation = Configuration::of_text(REGISTRY.clone(), &text).expect("valid").current();
    assert_eq!(generation.get(&HOSTNAME, &Lookup::Global), "a999999");
}

#[test]
fn content_that_nobody_declares_is_bounded() {
    let names: String = (0..20_100).map(|n| format!("n{n} = 1 ")).collect();
    assert!(said(&format!("opendkim \"x\" {{ {names} }}")).contains("more than 20000 different names"));
    let words: String = (0..1_100).map(|n| format!("w{n} {{ }} ")).collect();
    assert!(said(&format!("opendkim \"x\" {{ {words} }}")).contains("more than 1000 different words"));
}

#[test]
fn stanzas_that_hold_nothing_are_no_burden() {
    let text = numbered(|n| format!("if_env \"HOSTILE_{n}\" {{ domain d{n} {{ message_expiration = ${{X}} }} }} "));
    assert_eq!(read(&text).expect("valid").current().instances("domain").len(), 0);
}
