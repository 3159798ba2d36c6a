//! Reply classification and bounce generation.
