//! One SQLite connection on a thread of its own: asynchronous code sends it closures and never
//! blocks.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use tokio::sync::oneshot;

type Job<C> = Box<dyn FnOnce(&mut C) + Send>;

/// How long a statement waits for another process that holds the write lock.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How safely a commit is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// On the disk when the commit returns.
    Full,
    /// Safe from the end of any process; the last commits may be lost with the machine's power.
    Process,
}

/// Opens a database in WAL mode, so that readers and the one writer never wait for each other.
pub(crate) fn open(path: &Path, durability: Durability) -> rusqlite::Result<Connection> {
    // What makes a file where none is, so that others cannot read it whatever the umask: SQLite
    // gives its other files the mode of this one. One that is there is not opened here, for to
    // close it would end the locks of others in this process.
    let _ = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    let synchronous = match durability {
        Durability::Full => "full",
        Durability::Process => "normal",
    };
    connection.pragma_update(None, "synchronous", synchronous)?;
    Ok(connection)
}

/// Opens a database in a folder of another user, who may be hostile: it is made by that one, and
/// must be there; no link is followed, and what stands in its schema may do no more than plain SQL.
/// <https://www.sqlite.org/c3ref/open.html>,
/// <https://www.sqlite.org/pragma.html#pragma_trusted_schema>
pub(crate) fn open_of_another(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "synchronous", "full")?;
    Ok(connection)
}

/// Opens a database that is there, and can change nothing of it.
pub(crate) fn open_read_only(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

/// Says what is wrong in words that help: who holds a lock, what is full, what may not be written.
pub(crate) fn explain(error: &rusqlite::Error) -> String {
    use rusqlite::ErrorCode;
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "the database is locked by another process".to_owned()
        }
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            format!("the database file cannot be written: {error}")
        }
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            format!("the database file is damaged: {error}")
        }
        // Of a full disk, and of a count of ids at its end, SQLite says the same.
        Some(_) | None => error.to_string(),
    }
}

/// A handle to the connection's thread, which ends with the last handle.
#[derive(Debug)]
pub(crate) struct Database<C = Connection> {
    jobs: mpsc::Sender<Job<C>>,
}

impl<C> Clone for Database<C> {
    fn clone(&self) -> Database<C> {
        Database { jobs: self.jobs.clone() }
    }
}

impl<C: Send + 'static> Database<C> {
    /// Gives the connection, or what stands for it, a thread.
    pub(crate) fn new(mut connection: C, name: &str) -> std::io::Result<Database<C>> {
        let (jobs, inbox) = mpsc::channel::<Job<C>>();
        std::thread::Builder::new().name(name.to_owned()).stack_size(256 * 1024).spawn(
            move || {
                while let Ok(job) = inbox.recv() {
                    job(&mut connection);
                }
            },
        )?;
        Ok(Database { jobs })
    }

    /// Runs `job` on the connection's thread, after the ones sent before it.
    pub(crate) async fn run<R: Send + 'static>(
        &self,
        job: impl FnOnce(&mut C) -> R + Send + 'static,
    ) -> R {
        self.send(job).await.expect("a job always answers")
    }

    /// The same for a thread of one's own, which waits for it.
    pub(crate) fn run_here<R: Send + 'static>(
        &self,
        job: impl FnOnce(&mut C) -> R + Send + 'static,
    ) -> R {
        self.send(job).blocking_recv().expect("a job always answers")
    }

    fn send<R: Send + 'static>(
        &self,
        job: impl FnOnce(&mut C) -> R + Send + 'static,
    ) -> oneshot::Receiver<R> {
        let (answer, result) = oneshot::channel();
        let job: Job<C> = Box::new(move |connection| {
            // Nobody waits any more: the caller was cancelled, and the work is done all the same.
            let _ = answer.send(job(connection));
        });
        self.jobs.send(job).expect("the thread ends only with its last handle");
        result
    }
}
