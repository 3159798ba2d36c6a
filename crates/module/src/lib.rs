//! Module discovery by `.ecm` files and the module life cycle.
//!
//! A [`Catalogue`] knows what is installed, from manifests beside the modules; [`Modules`] are those this build can
//! run and whose options are declared; a [`Loaded`] set is what one configuration generation made of them, and lives
//! and dies with it. What a module must provide is the trait [`Module`].
//!
//! Knows no module by name. The life cycle runs on the master scheduler; hook providers run wherever their hook is
//! called.

mod capability;
mod catalogue;
mod ecm;
mod error;
mod infrastructure;
mod loaded;
mod modules;

pub use capability::Capability;
pub use catalogue::Catalogue;
pub use ecm::Manifest;
pub use error::Error;
pub use infrastructure::{Module, Setup, Stage};
pub use loaded::{Listed, Loaded};
pub use modules::Modules;
