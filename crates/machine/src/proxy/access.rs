//! Access: one line in the log for each request, written when its answer has ended.

use std::time::Instant;

use http::{Method, StatusCode, Uri};
use tracing::Level;

/// A line that is written when dropped.
pub(super) struct Access(Box<Line>);

struct Line {
    start: Instant,
    app: String,
    method: Method,
    path: String,
    status: Option<StatusCode>,
    upstream: String,
}

impl Access {
    /// Begins a line, if anybody reads it.
    pub(super) fn begin(method: &Method, target: &Uri) -> Option<Access> {
        tracing::enabled!(Level::DEBUG).then(|| {
            Access(Box::new(Line {
                start: Instant::now(),
                app: String::new(),
                method: method.clone(),
                path: target.path().to_owned(),
                status: None,
                upstream: String::new(),
            }))
        })
    }

    pub(super) fn app(&mut self, app: &str) {
        app.clone_into(&mut self.0.app);
    }

    pub(super) fn upstream(&mut self, id: &str) {
        id.clone_into(&mut self.0.upstream);
    }

    pub(super) fn status(&mut self, status: StatusCode) {
        self.0.status = Some(status);
    }
}

impl Drop for Access {
    fn drop(&mut self) {
        let Line { start, app, method, path, status, upstream } = &*self.0;
        // A client that left before the answer is logged as nginx does.
        let status = status.map_or(499, |status| status.as_u16());
        let duration = start.elapsed();
        tracing::debug!(app, %method, path, status, ?duration, upstream, "request");
    }
}
