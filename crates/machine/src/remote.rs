//! Remotes: repositories that are asked for their branches, a few at a time each, and not while they are known to be
//! silent. Many rows of one server that hangs cost one wait, not one each.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rowhouse_core::Repository;
use tokio::sync::Semaphore;

use crate::git_error::GitError;

/// How long a repository may take to name its branches. Others wait meanwhile.
pub(crate) const ASK: Duration = Duration::from_secs(20);
/// How many may ask the same repository at a time.
const TURNS: usize = 4;
/// How long one that did not answer is not asked again.
const SILENT: Duration = Duration::from_secs(10);

/// How each repository answered that is asked now, or did not answer.
#[derive(Debug, Default)]
pub(crate) struct Remotes(Mutex<HashMap<String, Arc<Remote>>>);

#[derive(Debug)]
struct Remote {
    turns: Semaphore,
    silence: Mutex<Option<Silence>>,
}

/// A repository that did not answer.
#[derive(Clone, Debug)]
struct Silence {
    since: Instant,
    /// What git said of it.
    said: String,
}

impl Remotes {
    /// Asks in turn. One that was silent just now is not asked: the answer is the same.
    pub(crate) async fn ask<T>(
        &self,
        repository: &Repository,
        question: impl Future<Output = Result<T, GitError>>,
    ) -> Result<T, GitError> {
        let remote = self.remote(repository);
        let _turn = remote.turns.acquire().await;
        if let Some(silence) = remote.silence().filter(|silence| silence.since.elapsed() < SILENT) {
            let repository = repository.clone();
            return Err(GitError::Unreachable { repository, said: silence.said });
        }
        let began = Instant::now();
        let answer = question.await;
        remote.set_silence(match &answer {
            // One that refuses at once keeps nobody waiting.
            Err(GitError::Unreachable { said, .. }) if began.elapsed() > ASK / 2 => {
                Some(Silence { since: Instant::now(), said: said.clone() })
            }
            Ok(_) | Err(_) => None,
        });
        answer
    }

    fn remote(&self, repository: &Repository) -> Arc<Remote> {
        let mut remotes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that nobody asks now, and that answered, are forgotten.
        remotes.retain(|_, known| Arc::strong_count(known) > 1 || known.silence().is_some());
        Arc::clone(remotes.entry(repository.as_str().to_owned()).or_insert_with(|| {
            Arc::new(Remote { turns: Semaphore::new(TURNS), silence: Mutex::default() })
        }))
    }
}

impl Remote {
    fn silence(&self) -> Option<Silence> {
        self.silence.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_silence(&self, silence: Option<Silence>) {
        *self.silence.lock().unwrap_or_else(PoisonError::into_inner) = silence;
    }
}
