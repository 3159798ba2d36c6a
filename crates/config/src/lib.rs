//! The ecelerity.conf language: parsing, scopes and fallback, typed options, generations and transactions.
