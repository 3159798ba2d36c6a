//! What the Tab key offers for arguments: queued domains, bindings, ids of the last listing, and words of their own.

use std::cell::RefCell;
use std::rc::Rc;

use console::Command;

use super::bindings;
use crate::house::House;

/// What may stand at one place of a command's arguments; words that begin with `-` have no place.
#[derive(Clone, Copy)]
pub(super) enum Place {
    /// A routing domain with a queue.
    Domain,
    /// The same, or `all`.
    DomainOrAll,
    /// A binding.
    Binding,
    /// A message of the last listing.
    Id,
    /// One of these.
    Words(&'static [&'static str]),
}

/// The ids of the last listing, for whoever types next.
#[derive(Clone, Default)]
pub struct LastListed(Rc<RefCell<Vec<String>>>);

impl LastListed {
    /// A listing was shown.
    pub(super) fn show<'a>(&self, ids: impl Iterator<Item = &'a str>) {
        *self.0.borrow_mut() = ids.take(CANDIDATES_MAX).map(str::to_owned).collect();
    }
}

/// Adds completion to a command whose arguments have these places, one after the other.
pub(super) fn completed(house: &Rc<House>, command: Command, places: &'static [Place]) -> Command {
    let house = house.clone();
    command.complete_later(move |before, typed| {
        // Behind these words of a domain's command a domain stands, wherever they are.
        let place = match before.last() {
            Some(&("-d" | "--domain")) => Some(Place::Domain),
            Some(&("-b" | "--binding")) => Some(Place::Binding),
            _ => places.get(before.iter().filter(|word| !word.starts_with('-')).count()).copied(),
        };
        let (house, typed) = (house.clone(), typed.to_owned());
        async move {
            match place {
                Some(place) => candidates(&house, place, &typed).await,
                None => Vec::new(),
            }
        }
    })
}

async fn candidates(house: &House, place: Place, typed: &str) -> Vec<String> {
    match place {
        Place::Domain => house.engine.domains_like(typed, CANDIDATES_MAX).await,
        Place::DomainOrAll => {
            let mut domains = house.engine.domains_like(typed, CANDIDATES_MAX).await;
            domains.push("all".to_owned());
            domains
        }
        Place::Binding => bindings(house).await.into_iter().map(|(_, binding)| binding).collect(),
        Place::Id => house.last_listed.0.borrow().clone(),
        Place::Words(words) => words.iter().map(|word| (*word).to_owned()).collect(),
    }
}

/// Names that are offered at most.
const CANDIDATES_MAX: usize = 1000;
