//! Content for servers that do not offer 8BITMIME: converts bodies in the CPU pool, and remembers the last ones for the
//! message's other recipients.
//!
//! One [`Forms`] a delivery loop. Bounded in number and octets; what it no longer knows is converted again.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;

use message::seven_bit::{self, Purpose, Unconvertible};
use message::{Body, Edits, MessageId};
use scheduler::{MemoryOwner, Rejected, ThreadPool};
use smtp::{Pieces, Reply};

use crate::replies::{CONVERSION_DEFECT, CONVERSION_IMPOSSIBLE, CONVERSION_MISSED};
use crate::seams::Local;

/// What a body is for a server of 7 bits.
#[derive(Clone, Debug)]
pub(crate) enum Form {
    /// 7-bit as it stands.
    AsItIs,
    /// This.
    Converted(Body),
    /// Nothing: it has to stay as it is.
    Impossible(Unconvertible),
    /// Nothing: converting it met a defect of this program.
    Defect,
    /// The thread pool took no work.
    Missed,
}

impl Form {
    /// Converts a message in the pool; see [`seven_bit::convert`].
    pub(crate) fn of(message: Pieces, pool: ThreadPool, bodies: MemoryOwner) -> Local<'static, Self> {
        Box::pin(async move {
            match pool.run_contained(move || seven_bit::convert(&message.into_bytes(), Purpose::Relay)).await {
                Ok(Ok(None)) => Self::AsItIs,
                Ok(Ok(Some(converted))) => Self::Converted(message::charged(converted, &bodies)),
                Ok(Err(why)) => Self::Impossible(why),
                Err(Rejected::Panicked) => Self::Defect,
                Err(_) => Self::Missed,
            }
        })
    }

    /// The body to send in the place of `whole`, or how the message fails.
    pub(crate) fn body(self, whole: Pieces) -> Result<Pieces, Reply> {
        match self {
            Self::AsItIs => Ok(whole),
            Self::Converted(converted) => Ok(converted.into()),
            Self::Impossible(why) => {
                let base = CONVERSION_IMPOSSIBLE;
                Err(Reply::with_text(base.code, base.enhanced, format!("{}: {why}", base.text)))
            }
            Self::Defect => Err(CONVERSION_DEFECT),
            Self::Missed => Err(CONVERSION_MISSED),
        }
    }

    fn octets(&self) -> usize {
        if let Self::Converted(body) = self { body.len() } else { 0 }
    }
}

/// What a form is of: a stored body, with the edits of its header section.
pub(crate) type Whose = (MessageId, Option<Arc<Edits>>);

/// Forms known; the newest last.
#[derive(Default)]
pub(crate) struct Forms(RefCell<VecDeque<(Whose, Form)>>);

impl Forms {
    /// What is known of a message.
    pub(crate) fn known(&self, whose: &Whose) -> Option<Form> {
        let forms = self.0.borrow();
        forms.iter().find(|(of, _)| of == whose).map(|(_, form)| form.clone())
    }

    /// Remembers a form, and forgets the oldest beyond the bounds.
    pub(crate) fn remember(&self, whose: Whose, form: &Form) {
        if matches!(form, Form::Missed) || OCTETS_MAX < form.octets() || self.known(&whose).is_some() {
            return;
        }
        let mut forms = self.0.borrow_mut();
        forms.push_back((whose, form.clone()));
        let octets = |forms: &VecDeque<(Whose, Form)>| forms.iter().map(|(_, form)| form.octets()).sum();
        while FORMS_MAX < forms.len() || OCTETS_MAX < octets(&forms) {
            forms.pop_front();
        }
    }
}

/// Forms remembered by one loop.
const FORMS_MAX: usize = 64;
/// Octets they may have together; a larger one is converted for each transaction.
const OCTETS_MAX: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_bounded_in_number_and_octets() {
        let id = |number: usize| (format!("{number:02}/00-00001-00000000").parse::<MessageId>().unwrap(), None);
        let (forms, known) = (Forms::default(), |forms: &Forms, number| forms.known(&id(number)).is_some());
        let half = Form::Converted(vec![0; OCTETS_MAX / 2].into());
        for number in 0..3 {
            forms.remember(id(number), &half);
        }
        assert_eq!([0, 1, 2].map(|number| known(&forms, number)), [false, true, true]);
        for number in 10..10 + FORMS_MAX {
            forms.remember(id(number), &Form::AsItIs);
        }
        assert!(!known(&forms, 2) && known(&forms, 10));
        forms.remember(id(99), &Form::Converted(vec![0; OCTETS_MAX + 1].into()));
        forms.remember(id(98), &Form::Missed);
        assert!(!known(&forms, 99) && !known(&forms, 98));
    }
}
