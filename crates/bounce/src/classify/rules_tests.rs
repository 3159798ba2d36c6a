//! The rule base is what its header says, and each rule decides its own example.

use super::super::RULES;
use super::*;

#[test]
fn every_line_is_a_rule_that_decides_its_example() {
    let mut phrases = Vec::new();
    let mut wrong: Vec<String> = RULES.lines().filter_map(|line| Rule::parse(line, &mut phrases).err()).collect();
    let rules = Rules::new(RULES);
    for (place, rule) in rules.rules.iter().enumerate() {
        let decided = rules.place(&Words::of(rule.example));
        if decided != Some(place) {
            let by = decided.map(|place| rules.rules[place].example);
            wrong.push(format!("{}: {} is decided by that of {by:?}", rule.class.code(), rule.example));
        }
        if rule.class.name() == "Custom" {
            wrong.push(format!("no class: {}", rule.class.code()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_phrase_can_occur() {
    let mut phrases = Vec::new();
    for line in RULES.lines() {
        let _ = Rule::parse(line, &mut phrases);
    }
    let strange: Vec<&String> = phrases
        .iter()
        .filter(|phrase| Words::of(phrase).text.trim() != phrase.trim() || phrase.trim().is_empty())
        .collect();
    assert!(strange.is_empty(), "a text never has these words: {strange:?}");
}

#[test]
fn codes_are_single_ranges_and_hundreds() {
    let takes = |codes: &str, reply: &str| Codes::parse(codes).unwrap().take(&Words::of(reply));
    assert!(takes("5.7.606-649", "550 5.7.620 x") && !takes("5.7.606-649", "550 5.7.650 x"));
    assert!(
        takes("x.7.28", "421 4.7.28 x") && takes("4xx", "421 x") && takes("4xx", "4.4.1 x") && !takes("4xx", "550 x")
    );
    assert!(takes("550", "550 x") && !takes("550", "551 x") && takes("none", "x") && !takes("none", "5.1.1 x"));
    assert!(takes("local", "550 [internal] x") && !takes("-", "550 [internal] x"));
    assert_eq!(Codes::parse("5.7"), None);
    assert_eq!(Codes::parse("five"), None);
}

#[test]
fn phrases_are_words_in_order_and_near() {
    let rules = Rules::new("10\t-\tuser.|mailbox + unknown ! sender\tuser unknown");
    let is = |text: &str| rules.first(&Words::of(text)).is_some();
    assert!(is("550 User unknown") && is("550 the mailboxes of ann are unknown"));
    assert!(!is("550 users unknown"), "a dot ends the word");
    assert!(!is("550 superuser unknown"), "a phrase begins with a word");
    assert!(!is("550 unknown user"), "the second stands behind the first");
    assert!(!is("550 user unknown, says the sender"));
    assert!(!is(&format!("550 user {} unknown", "x ".repeat(60))));
}
