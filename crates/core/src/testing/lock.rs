//! The lock of what is in memory.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Nothing panics while one of these is held, and if it did, the value would still be whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
