//! Gate: the waker of what a connection's task drives itself.
//!
//! Most wakes come while the task runs, from parts that it polls next anyway.  They would cost one
//! more run of the task for every request; the gate notes them, and the task looks at the note
//! before it ends its run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};

#[derive(Debug)]
pub(super) struct Gate {
    running: AtomicBool,
    woken: AtomicBool,
    task: Waker,
}

impl Gate {
    pub(super) fn new(task: &Waker) -> Arc<Gate> {
        Arc::new(Gate {
            running: AtomicBool::new(true),
            woken: AtomicBool::new(false),
            task: task.clone(),
        })
    }

    /// Wakes the task in any case.
    pub(super) fn wake_task(&self) {
        self.task.wake_by_ref();
    }

    /// The task runs from here on.
    pub(super) fn enter(&self) {
        self.running.store(true, Ordering::Relaxed);
    }

    /// The task would end its run.  Returns whether there was a wake meanwhile.
    pub(super) fn leave(&self) -> bool {
        self.running.store(false, Ordering::SeqCst);
        self.woken.swap(false, Ordering::SeqCst)
    }

    /// What was woken is polled next.
    pub(super) fn forget(&self) {
        self.woken.store(false, Ordering::Relaxed);
    }
}

impl Wake for Gate {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.running.load(Ordering::SeqCst) {
            self.woken.store(true, Ordering::SeqCst);
            if self.running.load(Ordering::SeqCst) {
                return;
            }
        }
        self.task.wake_by_ref();
    }
}
