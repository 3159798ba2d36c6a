//! The tagged fields of an envelope's record: what few messages have.

use std::sync::Arc;

use super::{DecodeError, Reader, put_id, put_number};
use crate::edits::{Change, Edits};
use crate::envelope::{Envelope, Notify, Particulars, Ret};

const BODY: u8 = 1;
const EDITS: u8 = 2;
const URGENT: u8 = 3;
const ROUTING_DOMAIN: u8 = 4;
const RET: u8 = 5;
const ENVID: u8 = 6;
const NOTIFY: u8 = 7;
const ORCPT: u8 = 8;
const SMTPUTF8: u8 = 9;
const REQUIRETLS: u8 = 10;

const SUCCESS: u8 = 1;
const FAILURE: u8 = 1 << 1;
const DELAY: u8 = 1 << 2;

/// The fields, in the order of their tags.
#[derive(Default)]
pub(super) struct Tagged {
    count: u8,
    octets: Vec<u8>,
}

impl Tagged {
    /// Those of an envelope.
    pub(super) fn of(envelope: &Envelope) -> Self {
        let mut fields = Self::default();
        let particulars = envelope.particulars.as_deref();
        if let Some(body) = particulars.and_then(|particulars| particulars.body) {
            fields.put(BODY, |out| put_id(out, body));
        }
        if let Some(edits) = &envelope.edits {
            fields.put(EDITS, |out| put_edits(out, edits));
        }
        if let Some(particulars) = particulars {
            fields.particulars(particulars);
        }
        fields
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        if self.count != 0 {
            out.push(self.count);
            out.extend_from_slice(&self.octets);
        }
    }

    fn particulars(&mut self, particulars: &Particulars) {
        let notification = &particulars.notification;
        self.put_flag(URGENT, particulars.urgent);
        self.put_text(ROUTING_DOMAIN, particulars.routing_domain.as_deref());
        if let Some(ret) = notification.ret {
            self.put(RET, |out| out.push(u8::from(ret == Ret::Headers)));
        }
        self.put_text(ENVID, notification.envid.as_deref());
        if let Some(Notify { success, failure, delay }) = notification.notify {
            let when = |asked: bool, flag: u8| if asked { flag } else { 0 };
            self.put(NOTIFY, |out| out.push(when(success, SUCCESS) | when(failure, FAILURE) | when(delay, DELAY)));
        }
        self.put_text(ORCPT, notification.orcpt.as_deref());
        self.put_flag(SMTPUTF8, particulars.smtputf8);
        self.put_flag(REQUIRETLS, particulars.requiretls);
    }

    fn put(&mut self, tag: u8, value: impl FnOnce(&mut Vec<u8>)) {
        let mut octets = Vec::new();
        value(&mut octets);
        self.count += 1;
        self.octets.push(tag);
        put_number(&mut self.octets, octets.len() as u64);
        self.octets.extend_from_slice(&octets);
    }

    fn put_text(&mut self, tag: u8, text: Option<&str>) {
        if let Some(text) = text {
            self.put(tag, |out| out.extend_from_slice(text.as_bytes()));
        }
    }

    fn put_flag(&mut self, tag: u8, flag: bool) {
        if flag {
            self.put(tag, |_| {});
        }
    }
}

/// Reads the fields, how many there are first.
pub(super) fn decode(
    reader: &mut Reader<'_>,
    envelope: &mut Envelope,
    intern: &mut dyn FnMut(&str) -> Arc<str>,
) -> Result<(), DecodeError> {
    let mut before = 0;
    for _ in 0..reader.byte()? {
        let tag = reader.byte()?;
        if tag <= before {
            return Err(DecodeError::Invalid("order of fields"));
        }
        before = tag;
        let octets = usize::try_from(reader.number()?).map_err(|_| DecodeError::Truncated)?;
        let mut value = Reader(reader.bytes(octets)?);
        field(tag, &mut value, envelope, intern)?;
        if !value.0.is_empty() {
            return Err(DecodeError::Invalid("field"));
        }
    }
    Ok(())
}

fn field(
    tag: u8,
    value: &mut Reader<'_>,
    envelope: &mut Envelope,
    intern: &mut dyn FnMut(&str) -> Arc<str>,
) -> Result<(), DecodeError> {
    if tag == EDITS {
        envelope.edits = Some(Arc::new(edits(value)?));
        return Ok(());
    }
    if REQUIRETLS < tag {
        return Err(DecodeError::UnknownField(tag));
    }
    let particulars = envelope.particulars_mut();
    let notification = &mut particulars.notification;
    match tag {
        BODY => particulars.body = Some(value.id()?),
        URGENT => particulars.urgent = true,
        ROUTING_DOMAIN => particulars.routing_domain = Some(intern(rest(value)?)),
        RET => {
            notification.ret = Some(match value.byte()? {
                0 => Ret::Full,
                1 => Ret::Headers,
                _ => return Err(DecodeError::Invalid("RET")),
            });
        }
        ENVID => notification.envid = Some(rest(value)?.into()),
        NOTIFY => {
            let asked = value.byte()?;
            if SUCCESS | FAILURE | DELAY < asked {
                return Err(DecodeError::Invalid("NOTIFY"));
            }
            let [success, failure, delay] = [SUCCESS, FAILURE, DELAY].map(|flag| asked & flag != 0);
            notification.notify = Some(Notify { success, failure, delay });
        }
        ORCPT => notification.orcpt = Some(rest(value)?.into()),
        SMTPUTF8 => particulars.smtputf8 = true,
        _ => particulars.requiretls = true,
    }
    Ok(())
}

/// What is left of a field, as text.
fn rest<'a>(value: &mut Reader<'a>) -> Result<&'a str, DecodeError> {
    std::str::from_utf8(std::mem::take(&mut value.0)).map_err(|_| DecodeError::Invalid("text"))
}

fn put_edits(out: &mut Vec<u8>, edits: &Edits) {
    put_number(out, edits.changes().len() as u64);
    let mut free = 0;
    for change in edits.changes() {
        put_number(out, (change.at - free).into());
        put_number(out, change.removed.into());
        put_number(out, change.inserted.into());
        free = change.at + change.removed;
    }
    out.extend_from_slice(edits.text());
}

fn edits(value: &mut Reader<'_>) -> Result<Edits, DecodeError> {
    const INVALID: DecodeError = DecodeError::Invalid("set of edits");
    let count = usize::try_from(value.number()?).map_err(|_| INVALID)?;
    // Each takes three octets at least.
    if value.0.len() / 3 < count {
        return Err(INVALID);
    }
    let (mut changes, mut free) = (Vec::with_capacity(count), 0u32);
    for _ in 0..count {
        let mut number = || u32::try_from(value.number()?).map_err(|_| INVALID);
        let (gap, removed, inserted) = (number()?, number()?, number()?);
        let at = free.checked_add(gap).ok_or(INVALID)?;
        free = at.checked_add(removed).ok_or(INVALID)?;
        changes.push(Change { at, removed, inserted });
    }
    Edits::of_parts(changes, std::mem::take(&mut value.0).to_vec()).map_err(|_| INVALID)
}
