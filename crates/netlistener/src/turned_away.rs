//! The log's word on clients that were turned away at one listening socket: at most one record a second, none uncounted.
//!
//! The first client is told at once; those of the second after it are told together when that second is over, and so on
//! until a second passes without one. Lives on the loop of the socket.
//!
//! Invariant: the records of a socket together speak of every client that was turned away there.

use std::cell::Cell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tracing::{error, warn};

/// The least time between two records.
const INTERVAL: Duration = Duration::from_secs(1);

/// Of one listening socket.
pub(crate) struct TurnedAway {
    listen: Arc<str>,
    /// A record was written less than [`INTERVAL`] ago.
    is_quiet: Cell<bool>,
    untold: Cell<u64>,
    last: Cell<(Option<IpAddr>, Why)>,
}

/// Why a client is turned away.
#[derive(Clone, Copy)]
pub(crate) struct Why {
    /// In words.
    pub(crate) text: &'static str,
    /// It is this machine that falls short, and not the client that is unwelcome: for the operator to see at once.
    pub(crate) is_shortage: bool,
}

impl From<&'static str> for Why {
    fn from(text: &'static str) -> Self {
        Self { text, is_shortage: false }
    }
}

impl TurnedAway {
    pub(crate) fn at(listen: &Arc<str>) -> Rc<Self> {
        let (is_quiet, untold, last) = (Cell::new(false), Cell::new(0), Cell::new((None, "".into())));
        Rc::new(Self { listen: listen.clone(), is_quiet, untold, last })
    }

    /// A client was turned away, and why. To be called on a loop.
    pub(crate) fn tell(self: &Rc<Self>, client: Option<IpAddr>, why: impl Into<Why>) {
        let why = why.into();
        if self.is_quiet.replace(true) {
            self.untold.set(self.untold.get() + 1);
            self.last.set((client, why));
            return;
        }
        record(why, &format!("{}: {} was turned away", self.listen, name(client)));
        tokio::task::spawn_local(self.clone().tell_the_others());
    }

    async fn tell_the_others(self: Rc<Self>) {
        loop {
            tokio::time::sleep(INTERVAL).await;
            let (clients, (last, why)) = (self.untold.take(), self.last.get());
            if clients == 0 {
                return self.is_quiet.set(false);
            }
            let last = name(last);
            record(why, &format!("{}: {clients} more clients were turned away, the last was {last}", self.listen));
        }
    }
}

fn record(why: Why, what: &str) {
    let text = why.text;
    match why.is_shortage {
        true => error!(target: "NET", "{what}: {text}"),
        false => warn!(target: "NET", "{what}: {text}"),
    }
}

fn name(client: Option<IpAddr>) -> String {
    client.map_or_else(|| "a local client".to_owned(), |client| client.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Metadata, Subscriber};

    /// Keeps the texts of events.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<String>>>);

    impl Visit for Kept {
        fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
            if field.name() == "message" {
                self.0.lock().unwrap().push(format!("{value:?}"));
            }
        }
    }

    impl Subscriber for Kept {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            metadata.target() == "NET"
        }
        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }
        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn event(&self, event: &Event<'_>) {
            event.record(&mut self.clone());
        }
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }

    #[test]
    fn a_crowd_is_one_record_a_second_and_none_of_it_is_left_out() {
        let kept = Kept::default();
        let _default = tracing::subscriber::set_default(kept.clone());
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_time().start_paused(true).build_local(Default::default()).unwrap();
        runtime.block_on(async {
            let turned_away = TurnedAway::at(&":25".into());
            for last in 1..=200 {
                turned_away.tell(Some([192, 0, 2, last].into()), "a cap on sessions is reached");
            }
            tokio::time::sleep(Duration::from_secs(3)).await;
            turned_away.tell(None, "always_deny is set for it");
        });
        let expected = [
            ":25: 192.0.2.1 was turned away: a cap on sessions is reached",
            ":25: 199 more clients were turned away, the last was 192.0.2.200: a cap on sessions is reached",
            ":25: a local client was turned away: always_deny is set for it",
        ];
        assert_eq!(*kept.0.lock().unwrap(), expected);
    }
}
