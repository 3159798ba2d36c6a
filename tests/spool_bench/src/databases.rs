//! fjall and SQLite, each committed durably for every batch.

use std::path::Path;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use rusqlite::{Connection, params};

use crate::batcher::Engine;
use crate::load::BODY;

/// fjall 3: one write batch, then `SyncData`.
pub struct Fjall {
    database: Database,
    messages: Keyspace,
    body: Vec<u8>,
}

impl Fjall {
    /// A new database with its defaults.
    pub fn open(directory: &Path) -> Result<Self, String> {
        let database = Database::builder(directory).open().map_err(|error| error.to_string())?;
        let messages =
            database.keyspace("messages", KeyspaceCreateOptions::default).map_err(|error| error.to_string())?;
        Ok(Self { database, messages, body: body() })
    }
}

impl Engine for Fjall {
    fn commit(&mut self, puts: &[u64], deletes: &[u64]) {
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncData));
        for number in puts {
            batch.insert(&self.messages, number.to_be_bytes(), self.body.as_slice());
        }
        for number in deletes {
            batch.remove(&self.messages, number.to_be_bytes());
        }
        batch.commit().expect("fjall commits");
    }
}

/// SQLite: write-ahead log, `synchronous = FULL`, one transaction for each batch.
pub struct Sqlite {
    connection: Connection,
    body: Vec<u8>,
}

impl Sqlite {
    /// A new database.
    pub fn open(directory: &Path) -> Result<Self, String> {
        let text = |error: rusqlite::Error| error.to_string();
        let connection = Connection::open(directory.join("messages.db")).map_err(text)?;
        let set = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
                   CREATE TABLE message (id INTEGER PRIMARY KEY, body BLOB NOT NULL);";
        connection.execute_batch(set).map_err(text)?;
        Ok(Self { connection, body: body() })
    }
}

impl Engine for Sqlite {
    fn commit(&mut self, puts: &[u64], deletes: &[u64]) {
        let transaction = self.connection.transaction().expect("SQLite begins");
        {
            let mut insert = transaction.prepare_cached("INSERT INTO message VALUES (?1, ?2)").expect("SQL");
            for &number in puts {
                insert.execute(params![number as i64, self.body]).expect("inserts");
            }
            let mut delete = transaction.prepare_cached("DELETE FROM message WHERE id = ?1").expect("SQL");
            for &number in deletes {
                delete.execute(params![number as i64]).expect("deletes");
            }
        }
        transaction.commit().expect("SQLite commits");
    }
}

/// What does not compress, so that nobody gains by trying.
fn body() -> Vec<u8> {
    let mut state = 1_u64;
    let octet = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..BODY).map(octet).collect()
}
