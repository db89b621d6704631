//! Succession: how a platform at work is followed by a new process, so that somebody serves at
//! every moment. The two talk over one socket, which is the successor's standard input:
//!
//! 1. The successor reads everything that it will need, changes nothing, and says that it can.
//! 2. The predecessor stops whatever it has under way, and passes the folder's lock and the
//! 3. The successor adopts what runs, changes nothing yet, and says that it is ready.
//! 4. The predecessor accepts nothing more, and says so: the platform is the successor's.
//!
//! Until then the successor can end at any point, and the predecessor is the platform again; and if
//! the predecessor ends, so does the successor. The socket ends when the predecessor passes no
//! request any more.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream as Socket;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Set for a process whose standard input leads to its predecessor.
pub const SUCCEEDS: &str = "ROWHOUSE_PREDECESSOR_ON_STDIN";

/// What is said over the socket, a letter each.
const PROVED: u8 = b'p';
const LOCK: u8 = b'l';
const READY: u8 = b'r';
const GO: u8 = b'g';
const ANNOUNCED: u8 = b'a';

/// A successor that is of no use.
#[derive(Debug, Error)]
pub enum SuccessorError {
    #[error("`{}` cannot be started", program.display())]
    Start { program: PathBuf, source: io::Error },
    #[error("`{}` ended before it was ready ({how})", program.display())]
    Ended { program: PathBuf, how: String },
    #[error("`{}` was not ready within {} s", program.display(), limit.as_secs_f32())]
    Silent { program: PathBuf, limit: Duration },
}

/// A process that is to take over from this one. Until it has, it ends when this is dropped.
#[derive(Debug)]
pub struct Successor {
    program: PathBuf,
    process: Child,
    line: UnixStream,
    /// How long each of its answers may take.
    limit: Duration,
    has_taken_over: bool,
}

impl Successor {
    /// Starts the program, and waits until it says that it could take over.
    pub async fn start(
        program: PathBuf,
        mut command: Command,
        limit: Duration,
    ) -> Result<Successor, SuccessorError> {
        let mut begin = || {
            let (line, theirs) = Socket::pair()?;
            line.set_nonblocking(true)?;
            // A group of its own: what a terminal sends to this process is passed on, once.
            let process = command
                .env(SUCCEEDS, "1")
                .stdin(Stdio::from(OwnedFd::from(theirs)))
                .process_group(0)
                .spawn()?;
            Ok((UnixStream::from_std(line)?, process))
        };
        let (line, process) =
            begin().map_err(|source| SuccessorError::Start { program: program.clone(), source })?;
        // The command keeps the other end otherwise, and nobody would see it close.
        drop(command);
        let mut successor = Successor { program, process, line, limit, has_taken_over: false };
        successor.hear(PROVED).await?;
        Ok(successor)
    }

    /// Its process.
    pub fn pid(&self) -> Option<u32> {
        self.process.id()
    }

    /// Passes the lock and the listening socket, and waits until it could serve.
    pub(crate) async fn take_over(
        &mut self,
        lock: BorrowedFd<'_>,
        listener: &TcpListener,
        known: &Known,
    ) -> Result<(), SuccessorError> {
        let text = serde_json::to_vec(known).expect("paths of ours and numbers have a JSON form");
        let passed = async {
            pass(&self.line, [lock, listener.as_fd()]).await?;
            self.line.write_u32(u32::try_from(text.len()).map_err(io::Error::other)?).await?;
            self.line.write_all(&text).await
        };
        match timeout(self.limit, passed).await {
            Ok(Ok(())) => self.hear(READY).await,
            // It has ended; why is told where that is noticed.
            Ok(Err(_)) | Err(_) => Err(self.give_up(true).await),
        }
    }

    /// Says that the platform is its own from now on, and waits until the folder says so too. If it
    /// has ended meanwhile, that is the end of a platform, and shows as one.
    pub(crate) async fn go(&mut self) {
        self.has_taken_over = true;
        let told = async {
            self.line.write_u8(GO).await?;
            self.line.read_u8().await
        };
        let _ = timeout(self.limit, told).await;
    }

    async fn hear(&mut self, word: u8) -> Result<(), SuccessorError> {
        match timeout(self.limit, self.line.read_u8()).await {
            Ok(Ok(heard)) if heard == word => Ok(()),
            Ok(Ok(_)) => Err(self.give_up(false).await),
            Ok(Err(_)) => Err(self.give_up(true).await),
            Err(_) => {
                self.end().await;
                Err(SuccessorError::Silent { program: self.program.clone(), limit: self.limit })
            }
        }
    }

    /// Makes sure that it has ended, and says how it did. `by_itself`: it has closed its side, and
    /// its own end is waited for.
    async fn give_up(&mut self, by_itself: bool) -> SuccessorError {
        let how = match timeout(self.limit, self.process.wait()).await {
            Ok(Ok(status)) if by_itself => status.to_string(),
            Ok(_) | Err(_) => "it says what no successor says".to_owned(),
        };
        self.end().await;
        SuccessorError::Ended { program: self.program.clone(), how }
    }

    async fn end(&mut self) {
        // It may have ended already.
        let _ = self.process.kill().await;
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        if !self.has_taken_over {
            let _ = self.process.start_kill();
        }
    }
}

async fn pass(line: &UnixStream, descriptors: [BorrowedFd<'_>; 2]) -> io::Result<()> {
    line.writable().await?;
    line.async_io(Interest::WRITABLE, || {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut rights = SendAncillaryBuffer::new(&mut space);
        rights.push(SendAncillaryMessage::ScmRights(&descriptors));
        sendmsg(line, &[IoSlice::new(&[LOCK])], &mut rights, SendFlags::NOSIGNAL)?;
        Ok(())
    })
    .await
}

/// The platform that this process is to follow.
#[derive(Debug)]
pub struct Predecessor {
    line: UnixStream,
}

/// What a predecessor passes on.
#[derive(Debug)]
pub(crate) struct Inheritance {
    pub(crate) lock: OwnedFd,
    pub(crate) listener: TcpListener,
    pub(crate) known: Known,
}

/// What a predecessor knows and no file tells. Other versions of this program may know more or
/// less.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Known {
    /// The folders of the instances that answer, which need not be asked.
    pub(crate) healthy: Vec<PathBuf>,
    /// See `Machine::open_files`.
    pub(crate) open_files: Option<u64>,
}

impl Predecessor {
    /// The one that has started this process, if one has.
    pub fn of_this_process() -> io::Result<Option<Predecessor>> {
        if std::env::var_os(SUCCEEDS).is_none() {
            return Ok(None);
        }
        let socket = Socket::from(io::stdin().as_fd().try_clone_to_owned()?);
        // Nobody else has it: its end is what tells the predecessor that this process has ended.
        rustix::stdio::dup2_stdin(std::fs::File::open("/dev/null")?)?;
        socket.set_nonblocking(true)?;
        Ok(Some(Predecessor { line: UnixStream::from_std(socket)? }))
    }

    /// Says that this process could take over, and waits for what is passed on.
    pub(crate) async fn inherit(&mut self) -> io::Result<Inheritance> {
        self.line.write_u8(PROVED).await?;
        let (lock, listener) = receive(&self.line).await?;
        let mut text = vec![0; usize::try_from(self.line.read_u32().await?).unwrap_or(0)];
        self.line.read_exact(&mut text).await?;
        let known = serde_json::from_slice(&text)?;
        Ok(Inheritance { lock, listener: TcpListener::from(listener), known })
    }

    /// Says that this process could serve at once, and waits until it shall.
    pub(crate) async fn take_over(&mut self) -> io::Result<()> {
        self.line.write_u8(READY).await?;
        match self.line.read_u8().await? {
            GO => Ok(()),
            _ => Err(io::Error::other("the predecessor says what none says")),
        }
    }

    /// Says that the folder names this process.
    pub(crate) async fn announced(&mut self) {
        // It may have ended, and then asks no more.
        let _ = self.line.write_u8(ANNOUNCED).await;
    }

    /// Waits until it passes no request any more, however it ends.
    pub(crate) async fn gone(mut self) {
        while self.line.read_u8().await.is_ok() {}
    }
}

async fn receive(line: &UnixStream) -> io::Result<(OwnedFd, OwnedFd)> {
    line.readable().await?;
    line.async_io(Interest::READABLE, || {
        let mut word = [0];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut rights = RecvAncillaryBuffer::new(&mut space);
        let mut into = [IoSliceMut::new(&mut word)];
        let received = recvmsg(line, &mut into, &mut rights, RecvFlags::CMSG_CLOEXEC)?;
        let mut descriptors = rights.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            RecvAncillaryMessage::ScmCredentials(_) | _ => None,
        });
        let mut passed = descriptors.by_ref().flatten();
        match (received.bytes, passed.next(), passed.next()) {
            (1, Some(lock), Some(listener)) => Ok((lock, listener)),
            _ => Err(io::Error::other("the predecessor has ended")),
        }
    })
    .await
}
