//! Somebody who connects anew every few milliseconds, for whom nothing may change.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::house::load::Client;

const PAUSE: Duration = Duration::from_millis(2);

/// Goes on until it is ended.
pub struct Prober {
    over: Arc<AtomicBool>,
    thread: JoinHandle<Probed>,
}

/// What it found.
#[derive(Debug, Default)]
pub struct Probed {
    pub requests: usize,
    /// The longest time from connecting to the end of an answer.
    pub longest: Duration,
    pub lost: Vec<String>,
}

impl Prober {
    pub fn start(port: u16, host: &'static str) -> Prober {
        let over = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            let mut probed = Probed::default();
            while !ends.load(Ordering::Relaxed) {
                let began = Instant::now();
                match Client::new(port, host).request("GET", "/", b"") {
                    Ok((200, _)) => {}
                    other => probed.lost.push(format!("{other:?}")),
                }
                probed.longest = probed.longest.max(began.elapsed());
                probed.requests += 1;
                std::thread::sleep(PAUSE);
            }
            probed
        });
        Prober { over, thread }
    }

    /// Ends it; every connection was taken and answered. How long the longest took is only told
    /// with a failure: on a machine that others use it says nothing of the platform.
    #[track_caller]
    pub fn end(self) {
        self.over.store(true, Ordering::Relaxed);
        let Probed { requests, longest, lost } = self.thread.join().unwrap();
        assert!(
            lost.is_empty(),
            "{} of {requests} new connections were lost, the longest took {longest:?}: {lost:?}",
            lost.len()
        );
    }
}
