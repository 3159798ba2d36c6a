//! What the classifier promises beside what `rules.tsv` says of each reply.

use super::*;

#[test]
fn what_an_operator_or_policy_says_is_an_administrative_failure_whatever_it_says() {
    let classifier = Classifier::new();
    for reply in ["554 Closed by operator", "550 5.1.1 no such user", "554 5.7.0 [internal] by jan: mailbox full"] {
        assert_eq!(classifier.classify_local(reply), BounceClass::ADMIN_FAILURE, "{reply}");
    }
    assert_eq!(classifier.classify_local("451 4.3.0 wait"), BounceClass::SOFT_BOUNCE);
    assert_eq!(classifier.classify("550 5.1.1 no such user"), BounceClass::INVALID_RECIPIENT);
}

#[test]
fn a_text_that_no_rule_knows_is_undetermined_or_temporary() {
    let classifier = Classifier::new();
    for reply in ["", "550 nope", "nope", "550", "\u{0}\u{1}", "5", "55"] {
        assert_eq!(classifier.classify(reply), BounceClass::UNDETERMINED, "{reply}");
    }
    assert_eq!(classifier.classify("451 nope"), BounceClass::SOFT_BOUNCE);
}

#[test]
fn an_endless_reply_is_read_to_its_bound_only() {
    let reply = "é ".repeat(REPLY_OCTETS_MAX) + "no such user";
    assert_eq!(Classifier::new().classify(&reply), BounceClass::UNDETERMINED);
}
