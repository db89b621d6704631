//! A stream that a thread of its own writes: whoever speaks into it goes on, even where the reader
//! has stopped.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rowhouse_core::counted;

/// How many lines wait for a slow reader; what is said while so many wait is left out.
const WAITING: usize = 1000;
/// How long the end of the program waits for the last lines to be read.
const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Outlet {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    lines: Mutex<Lines>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Lines {
    waiting: VecDeque<Vec<u8>>,
    left_out: usize,
    is_writing: bool,
}

impl Outlet {
    pub(crate) fn new(mut stream: impl Write + Send + 'static) -> io::Result<Outlet> {
        let shared = Arc::<Shared>::default();
        let outlet = Outlet { shared: Arc::clone(&shared) };
        std::thread::Builder::new().name("outlet".to_owned()).spawn(move || {
            loop {
                let line = shared.next();
                // Where the stream is gone there is nobody to tell.
                let _ = stream.write_all(&line).and_then(|()| stream.flush());
            }
        })?;
        Ok(outlet)
    }

    /// Has a line written when its turn comes. Never waits for the reader.
    pub(crate) fn say(&self, line: &[u8]) {
        let mut lines = self.shared.lines();
        if lines.waiting.len() >= WAITING {
            lines.left_out += 1;
            return;
        }
        let left_out = std::mem::take(&mut lines.left_out);
        if left_out > 0 {
            let lines_left_out = counted(left_out, "line");
            let said = format!("({lines_left_out} left out here: nobody read in time)\n");
            lines.waiting.push_back(said.into_bytes());
        }
        lines.waiting.push_back(line.to_vec());
        self.shared.changed.notify_all();
    }

    /// Waits until everything is written, but not for ever.
    pub(crate) fn finish(&self) {
        let lines = self.shared.lines();
        let is_busy = |lines: &mut Lines| lines.is_writing || !lines.waiting.is_empty();
        // Whether it was all read or patience has ended: the program ends.
        drop(self.shared.changed.wait_timeout_while(lines, PATIENCE, is_busy));
    }
}

impl Shared {
    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next line to write; to ask for it says that the one before is written.
    fn next(&self) -> Vec<u8> {
        let mut lines = self.lines();
        lines.is_writing = false;
        self.changed.notify_all();
        loop {
            if let Some(line) = lines.waiting.pop_front() {
                lines.is_writing = true;
                return line;
            }
            lines = self.changed.wait(lines).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// Writes a line when it is allowed to.
    struct Slow {
        allowed: Receiver<()>,
        written: Sender<String>,
    }

    impl Write for Slow {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.allowed.recv().map_err(io::Error::other)?;
            self.written.send(String::from_utf8_lossy(line).into_owned()).unwrap();
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_a_stalled_reader_misses_is_left_out_and_counted() {
        let (allow, allowed) = channel();
        let (written, lines) = channel();
        let outlet = Outlet::new(Slow { allowed, written }).unwrap();
        outlet.say(b"first\n");
        let is_begun = || outlet.shared.lines().is_writing;
        while !is_begun() {
            std::thread::yield_now();
        }
        for number in 0..WAITING + 5 {
            outlet.say(format!("{number}\n").as_bytes());
        }
        for _ in 0..=WAITING {
            allow.send(()).unwrap();
        }
        let read = |count| lines.iter().take(count).collect::<Vec<String>>();
        assert_eq!(read(WAITING + 1).last().unwrap(), &format!("{}\n", WAITING - 1));
        outlet.say(b"last\n");
        for _ in 0..2 {
            allow.send(()).unwrap();
        }
        let said = "(5 lines left out here: nobody read in time)\n";
        assert_eq!(read(2), [said, "last\n"]);
        outlet.finish();
        assert!(!is_begun());
    }
}
