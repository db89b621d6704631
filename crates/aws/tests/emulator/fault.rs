//! microburst, a proxy before the emulator that fails as AWS and networks do.

use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::emulator::{Emulator, free_port, program, until};

/// A running proxy. It ends with the value that stands for it.
pub(crate) struct Faults {
    process: Child,
    endpoint: String,
    http: reqwest::Client,
}

impl Faults {
    pub(crate) async fn start(emulator: &Emulator) -> Faults {
        Faults::before(emulator.endpoint()).await
    }

    /// Before an emulator that need not run yet.
    pub(crate) async fn before(upstream: &str) -> Faults {
        let port = free_port();
        let process = Command::new(program("microburst"))
            .args(["--host", "127.0.0.1", "--port", &port.to_string()])
            .args(["--upstream", upstream])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let http = super::web();
        let faults = Faults { process, endpoint: format!("http://127.0.0.1:{port}"), http };
        until("the proxy answers", async || faults.control("health").send().await.ok()).await;
        faults
    }

    /// Where a function sends its requests to meet the faults.
    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// From now on these rules, and no others.
    pub(crate) async fn set(&self, rules: &Value) {
        let url = format!("{}/_microburst/rules", self.endpoint);
        let answer = self.http.post(url).body(rules.to_string()).send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
    }

    /// Which faults there were since the start, as microburst tells it.
    pub(crate) async fn fired(&self) -> Value {
        let answer = self.control("fired?limit=10000").send().await.unwrap();
        serde_json::from_str(&answer.text().await.unwrap()).unwrap()
    }

    fn control(&self, path: &str) -> reqwest::RequestBuilder {
        self.http.get(format!("{}/_microburst/{path}", self.endpoint))
    }
}

impl Drop for Faults {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
