//! The table: one row a message, its headers as octets and, for whoever asks with SQL, what they say.
//!
//! WAL with `synchronous = FULL`: the log is synced with each commit, and its directory with the first sync of a log that may
//! be new, so a committed transaction survives a power loss. EXTRA would add nothing: it syncs the directory after a rollback
//! journal is removed, and there is none. One connection writes, another reads; each is used by one thread at a time.

use std::path::{Path, PathBuf};

use message::{Envelope, MessageId};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OptionalExtension as _, params};

use crate::error::{OpenError, SpoolError};
use crate::file::BodyMark;

/// One message.
pub struct Row {
    /// The id its body is stored under.
    pub batch: MessageId,
    /// What the body file must look like.
    pub body: BodyMark,
    /// The envelope's record.
    pub headers: Vec<u8>,
}

/// An open database.
pub struct Table {
    connection: Connection,
    path: PathBuf,
}

impl Table {
    /// Opens or makes the database at `path`.
    pub fn open(path: &Path, force_fsync: bool) -> Result<Self, OpenError> {
        let (this, found) = Self::connect(path)?;
        let failed = |error| this.not_opened(error);
        // Neither this nor what follows writes to a database that is as it should be: the device may be full.
        let mode: String =
            this.connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).map_err(failed)?;
        if mode != "wal" {
            this.connection.pragma_update(None, "journal_mode", "WAL").map_err(failed)?;
        }
        let synchronous = if force_fsync { "FULL" } else { "OFF" };
        this.connection.pragma_update(None, "synchronous", synchronous).map_err(failed)?;
        if found != FORMAT {
            this.connection.execute_batch(SCHEMA).map_err(failed)?;
            this.connection.pragma_update(None, "user_version", FORMAT).map_err(failed)?;
        }
        Ok(this)
    }

    /// Opens the database at `path` to read it; nothing in it is changed.
    pub fn look(path: &Path) -> Result<Self, OpenError> {
        let (this, found) = Self::connect(path)?;
        if found == 0 {
            let source = std::io::Error::other("there is no table of messages in it");
            return Err(OpenError::Io { doing: "read", path: path.to_owned(), source });
        }
        this.connection.pragma_update(None, "query_only", true).map_err(|error| this.not_opened(error))?;
        Ok(this)
    }

    /// An open database, and its format; zero if it is new.
    fn connect(path: &Path) -> Result<(Self, u32), OpenError> {
        let connection = Connection::open(path).map_err(|error| not_opened(path, error))?;
        let this = Self { connection, path: path.to_owned() };
        // Otherwise whoever closes last removes the log, and whether it was whole can no longer be told.
        let kept = this.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
        kept.map_err(|error| this.not_opened(error))?;
        let found = this.connection.pragma_query_value(None, "user_version", |row| row.get(0));
        let found = found.map_err(|error| this.not_opened(error))?;
        if FORMAT < found {
            return Err(OpenError::Version { path: path.to_owned(), found, known: FORMAT });
        }
        Ok((this, found))
    }

    fn not_opened(&self, error: rusqlite::Error) -> OpenError {
        not_opened(&self.path, error)
    }

    /// Makes everything durable that can be read, also what a killed process had written and not synced: copies the log into
    /// the database, with a sync of each.
    pub fn make_durable(&self) -> Result<(), SpoolError> {
        let checkpoint = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
        let done = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], checkpoint);
        match done {
            Ok(0) => Ok(()),
            Ok(_) => {
                Err(SpoolError::from_io("copy the log of", &self.path, std::io::ErrorKind::ResourceBusy.into(), (0, 0)))
            }
            Err(error) => Err(self.failed("copy the log of", &error)),
        }
    }

    /// Octets of the database that hold nothing.
    pub fn free_bytes(&self) -> u64 {
        let figure =
            |name: &str| self.connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).unwrap_or(0);
        figure("freelist_count") as u64 * figure("page_size") as u64
    }

    /// Gives every message's id. Reads the index of batches and no headers.
    pub fn each_id(&self, each: &mut dyn FnMut(MessageId)) -> Result<(), SpoolError> {
        let mut read = || -> rusqlite::Result<()> {
            let mut all = self.connection.prepare("SELECT id FROM message INDEXED BY message_batch")?;
            let mut rows = all.query([])?;
            while let Some(row) = rows.next()? {
                each(id_of(row.get(0)?));
            }
            Ok(())
        };
        read().map_err(|error| self.failed("read", &error))
    }

    /// Every message's id and its batch.
    pub fn ids(&self) -> Result<Vec<(MessageId, MessageId)>, SpoolError> {
        let read = || -> rusqlite::Result<Vec<(MessageId, MessageId)>> {
            let mut all = self.connection.prepare("SELECT id, batch FROM message")?;
            let rows = all.query_map([], |row| Ok((id_of(row.get(0)?), id_of(row.get(1)?))))?;
            rows.collect()
        };
        let mut ids = read().map_err(|error| self.failed("read", &error))?;
        ids.sort();
        Ok(ids)
    }

    /// One message.
    pub fn row(&self, id: MessageId) -> Result<Row, SpoolError> {
        let read = || {
            let mut one = self
                .connection
                .prepare_cached("SELECT batch, body_bytes, body_crc, headers FROM message WHERE id = ?1")?;
            one.query_row([bits(id)], |row| {
                let body = BodyMark { octets: row.get::<_, i64>(1)? as u64, crc: row.get::<_, i64>(2)? as u32 };
                Ok(Row { batch: id_of(row.get(0)?), body, headers: row.get(3)? })
            })
            .optional()
        };
        read().map_err(|error| self.failed("read", &error))?.ok_or(SpoolError::Missing { id })
    }

    /// Whether a message of this batch is left.
    pub fn wants(&self, batch: MessageId) -> Result<bool, SpoolError> {
        let asked = self.connection.prepare_cached("SELECT 1 FROM message WHERE batch = ?1 LIMIT 1");
        asked.and_then(|mut one| one.exists([bits(batch)])).map_err(|error| self.failed("read", &error))
    }

    /// Begins a transaction.
    pub fn begin(&self) -> Result<(), SpoolError> {
        self.connection.execute_batch("BEGIN IMMEDIATE").map_err(|error| self.failed("begin a transaction in", &error))
    }

    /// Makes everything since [`Table::begin`] durable, or nothing.
    pub fn commit(&self) -> Result<(), SpoolError> {
        let committed = self.connection.execute_batch("COMMIT").map_err(|error| self.failed("commit to", &error));
        if committed.is_err() {
            self.abandon();
        }
        committed
    }

    /// Ends a transaction without a trace.
    pub fn abandon(&self) {
        // There may be none any more: some errors end it.
        let _ = self.connection.execute_batch("ROLLBACK");
    }

    /// A new message, or one of this id in the place of another.
    pub fn insert(&self, id: MessageId, row: &Row) -> Result<(), SpoolError> {
        let shown = Envelope::decode(&row.headers).ok();
        let shown = shown.as_ref();
        let insert = || {
            let mut insert = self.connection.prepare_cached(INSERT)?;
            insert.execute(params![
                bits(id),
                bits(row.batch),
                row.body.octets as i64,
                i64::from(row.body.crc),
                row.headers,
                shown.map(|envelope| envelope.reverse_path.as_str().to_owned()),
                shown.map(|envelope| envelope.forward_path.as_str().to_owned()),
                shown.map(|envelope| envelope.queue.domain.to_string()),
                shown.map(|envelope| envelope.created.as_secs() as i64),
                shown.map(|envelope| envelope.delivery.retries),
                shown.map(|envelope| envelope.delivery.next_attempt.as_secs() as i64),
            ])
        };
        insert().map(drop).map_err(|error| self.failed("write", &error))
    }

    /// The batch of a message that is no longer there; none if it was not there before.
    pub fn delete(&self, id: MessageId) -> Result<Option<MessageId>, SpoolError> {
        let delete = || {
            let mut delete = self.connection.prepare_cached("DELETE FROM message WHERE id = ?1 RETURNING batch")?;
            delete.query_row([bits(id)], |row| Ok(id_of(row.get(0)?))).optional()
        };
        delete().map_err(|error| self.failed("delete from", &error))
    }

    fn failed(&self, doing: &'static str, error: &rusqlite::Error) -> SpoolError {
        if error.sqlite_error_code() == Some(ErrorCode::DiskFull) {
            return SpoolError::Full { wanted_bytes: 0, free_bytes: 0 };
        }
        let source = std::io::Error::other(error.to_string());
        SpoolError::from_io(doing, &self.path, source, (0, 0))
    }
}

fn not_opened(path: &Path, error: rusqlite::Error) -> OpenError {
    let source = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => std::io::Error::new(std::io::ErrorKind::StorageFull, error),
        _ => std::io::Error::other(error),
    };
    OpenError::Io { doing: "open", path: path.to_owned(), source }
}

/// SQLite's integers are signed; the octets are the same.
const fn bits(id: MessageId) -> i64 {
    id.to_bits() as i64
}

const fn id_of(bits: i64) -> MessageId {
    MessageId::from_bits(bits as u64)
}

const FORMAT: u32 = 1;
const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS message (
    id INTEGER PRIMARY KEY,
    batch INTEGER NOT NULL,
    body_bytes INTEGER NOT NULL,
    body_crc INTEGER NOT NULL,
    headers BLOB NOT NULL,
    reverse_path TEXT,
    forward_path TEXT,
    domain TEXT,
    created INTEGER,
    retries INTEGER,
    next_attempt INTEGER
);
CREATE INDEX IF NOT EXISTS message_batch ON message (batch);
";
const INSERT: &str = "INSERT OR REPLACE INTO message
    (id, batch, body_bytes, body_crc, headers, reverse_path, forward_path, domain, created, retries, next_attempt)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
