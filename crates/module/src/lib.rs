//! Module discovery by .ecm files and the module life cycle.
