//! The standard variables of the context: computed from session and envelope when they are read, never kept. One that policy
//! has set itself goes before.

use std::borrow::Cow;

use smtp::{Mailbox, ReversePath};

use crate::context::Scope;
use crate::session::Session;

/// The variables, with what each says (reference: extending.md section 2). A test computes each of them.
pub const STANDARD: &[(Scope, &str, &str)] = &[
    (Scope::Connection, "auth_name", "the mechanism of AUTH"),
    (Scope::Connection, "auth_user", "who authenticated, as far as the mechanism tells"),
    (Scope::Connection, "auth_status", "pass, fail or error"),
    (Scope::Connection, "can_relay", "true if the client may relay to anyone"),
    (Scope::Connection, "connection_message_count", "messages taken on this connection"),
    (Scope::Connection, "connection_rcpt_count", "recipients taken on this connection"),
    (Scope::Connection, "message_rcpt_count", "recipients taken since MAIL"),
    (Scope::Connection, "ehlo_domain", "the argument of EHLO or HELO"),
    (Scope::Connection, "ehlo_string", "the whole command"),
    (Scope::Connection, "tls", "the TLS version, if there is TLS"),
    (Scope::Connection, "tls_cipher", "the cipher suite"),
    (Scope::Connection, "tls_cipher_algbits", "bits of the cipher's algorithm"),
    (Scope::Connection, "tls_cipher_usebits", "bits in use"),
    (Scope::Connection, "tls_client_cert_subject", "the subject of the client's certificate"),
    (Scope::Connection, "tls_client_cert_subject_cn", "its common name"),
    (Scope::Connection, "tls_client_cert_issuer", "the issuer of the client's certificate"),
    (Scope::Connection, "tls_client_cert_issuer_cn", "its common name"),
    (Scope::Connection, "tls_client_verified", "yes if the certificate was verified, else no"),
    (Scope::Message, "mailfrom_string", "the MAIL command with the reverse-path"),
    (Scope::Message, "mailfrom_localpart", "the local part of the reverse-path"),
    (Scope::Message, "mailfrom_domain", "the domain of the reverse-path"),
    (Scope::Message, "rcptto_string", "the RCPT command with the forward-path"),
    (Scope::Message, "rcptto_localpart", "the local part of the forward-path"),
    (Scope::Message, "rcptto_domain", "the domain of the forward-path"),
];

/// What the variables are computed from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts<'a> {
    /// The session, while there is one.
    pub session: Option<&'a Session>,
    /// MAIL FROM, once it is said.
    pub reverse_path: Option<&'a ReversePath>,
    /// RCPT TO, where one recipient is looked at.
    pub forward_path: Option<&'a Mailbox>,
    /// Recipients taken since MAIL.
    pub message_recipients: Option<usize>,
}

impl<'a> Facts<'a> {
    /// The value of a standard variable; `None` if it is no such, or has none at this point.
    pub fn variable(&self, scope: Scope, key: &str) -> Option<Cow<'a, str>> {
        match scope {
            Scope::Connection => self.of_connection(key),
            Scope::Message => self.of_message(key),
        }
    }

    fn of_connection(&self, key: &str) -> Option<Cow<'a, str>> {
        let session = self.session?;
        let number = |number: u64| Some(Cow::Owned(number.to_string()));
        match key {
            "can_relay" => session.can_relay.then_some(Cow::Borrowed("true")),
            "connection_message_count" => number(session.messages),
            "connection_rcpt_count" => number(session.recipients),
            "message_rcpt_count" => number(self.message_recipients? as u64),
            "ehlo_domain" => text(&session.helo),
            "ehlo_string" if session.helo.is_empty() => None,
            "ehlo_string" => {
                let verb = if session.extended { "EHLO" } else { "HELO" };
                Some(Cow::Owned(format!("{verb} {}", session.helo)))
            }
            _ if key.starts_with("auth_") => of_auth(session, key),
            _ if key.starts_with("tls") => of_tls(session, key),
            _ => None,
        }
    }

    fn of_message(&self, key: &str) -> Option<Cow<'a, str>> {
        let (what, part) = key.split_once('_')?;
        let (verb, path, mailbox) = match what {
            "mailfrom" => ("MAIL FROM", self.reverse_path?.as_str(), self.reverse_path?.mailbox()),
            "rcptto" => ("RCPT TO", self.forward_path?.as_str(), self.forward_path),
            _ => return None,
        };
        match part {
            "string" => Some(Cow::Owned(format!("{verb}:<{path}>"))),
            "localpart" => Some(Cow::Borrowed(mailbox.map_or("", Mailbox::local_part))),
            "domain" => Some(Cow::Borrowed(mailbox.map_or("", Mailbox::domain))),
            _ => None,
        }
    }
}

fn of_auth<'a>(session: &'a Session, key: &str) -> Option<Cow<'a, str>> {
    let auth = session.auth.as_ref()?;
    match key {
        "auth_name" => text(&auth.mechanism),
        "auth_user" => text(&auth.user),
        "auth_status" => text(&auth.status),
        _ => None,
    }
}

fn of_tls<'a>(session: &'a Session, key: &str) -> Option<Cow<'a, str>> {
    let tls = session.tls.as_ref()?;
    let client = tls.client.as_ref();
    match key {
        "tls" => text(&tls.version),
        "tls_cipher" => text(&tls.cipher),
        "tls_cipher_algbits" => Some(tls.bits.0.to_string().into()),
        "tls_cipher_usebits" => Some(tls.bits.1.to_string().into()),
        "tls_client_cert_subject" => text(&client?.0),
        "tls_client_cert_subject_cn" => common_name(&client?.0),
        "tls_client_cert_issuer" => text(&client?.1),
        "tls_client_cert_issuer_cn" => common_name(&client?.1),
        "tls_client_verified" => Some(Cow::Borrowed(if tls.verified { "yes" } else { "no" })),
        _ => None,
    }
}

fn text(text: &str) -> Option<Cow<'_, str>> {
    (!text.is_empty()).then_some(Cow::Borrowed(text))
}

/// The common name of a distinguished name, as `CN=mail.example, O=Example`.
fn common_name(name: &str) -> Option<Cow<'_, str>> {
    let parts = name.split([',', '/']).map(str::trim);
    parts.filter_map(|part| part.strip_prefix("CN=")).map(Cow::Borrowed).next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{Auth, Tls};

    fn session() -> Session {
        let mut session = Session::new(None, None, message::MessageId::NULL, "*:25".into());
        session.helo = "pc.example".into();
        session.extended = true;
        session.can_relay = true;
        session.auth = Some(Box::new(Auth { mechanism: "PLAIN".into(), user: "ann".into(), status: "pass".into() }));
        session.tls = Some(Box::new(Tls {
            version: "TLSv1.3".into(),
            cipher: "TLS_AES_256_GCM_SHA384".into(),
            bits: (256, 256),
            client: Some(("CN=pc.example, O=Example".into(), "/O=CA/CN=Root".into())),
            verified: true,
        }));
        session
    }

    #[test]
    fn every_standard_variable_has_a_value_where_there_is_one_and_none_elsewhere() {
        let (session, from) = (session(), ReversePath::Mailbox(Mailbox::parse("news@here.example").unwrap()));
        let to = Mailbox::parse("ann@shop.example").unwrap();
        let (reverse_path, forward_path) = (Some(&from), Some(&to));
        let all = Facts { session: Some(&session), reverse_path, forward_path, message_recipients: Some(2) };
        for &(scope, key, _) in STANDARD {
            assert!(all.variable(scope, key).is_some_and(|value| !value.is_empty()), "{key}");
            assert_eq!(Facts::default().variable(scope, key), None, "{key}");
            let other = if scope == Scope::Message { Scope::Connection } else { Scope::Message };
            assert_eq!(all.variable(other, key), None, "{key}");
        }
        let value = |scope, key| all.variable(scope, key).unwrap().into_owned();
        assert_eq!(value(Scope::Connection, "ehlo_string"), "EHLO pc.example");
        assert_eq!(value(Scope::Connection, "tls_client_cert_subject_cn"), "pc.example");
        assert_eq!(value(Scope::Connection, "tls_client_cert_issuer_cn"), "Root");
        assert_eq!(value(Scope::Message, "mailfrom_string"), "MAIL FROM:<news@here.example>");
        assert_eq!(value(Scope::Message, "rcptto_domain"), "shop.example");
        let null = Facts { reverse_path: Some(&ReversePath::Null), ..Facts::default() };
        assert_eq!(null.variable(Scope::Message, "mailfrom_string").as_deref(), Some("MAIL FROM:<>"));
        assert_eq!(null.variable(Scope::Message, "mailfrom_domain").as_deref(), Some(""));
    }
}
