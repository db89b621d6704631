//! moto, another emulator of AWS. It is here for what ministack does not do: it publishes the
//! events of stacks to their topics, and has classic load balancers. Everything happens inside the
//! call, and nothing is rolled back.

use std::fs::File;
use std::process::{Child, Command, Stdio};

use aws_config::SdkConfig;
use tempfile::TempDir;

use crate::emulator::{config, free_port, program, until};

/// A running server. It ends with the value that stands for it, and shows its log when the test
/// failed.
pub(crate) struct Moto {
    process: Child,
    folder: TempDir,
    pub(crate) endpoint: String,
    pub(crate) config: SdkConfig,
}

impl Moto {
    pub(crate) async fn start() -> Moto {
        let folder = TempDir::new().unwrap();
        let log = File::create(folder.path().join("log")).unwrap();
        let port = free_port().to_string();
        let process = Command::new(program("moto_server"))
            .args(["-H", "127.0.0.1", "-p", &port])
            .env_remove("AWS_ENDPOINT_URL")
            // It would run functions in containers; the test runs them.
            .env("DOCKER_HOST", "tcp://127.0.0.1:9")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let endpoint = format!("http://127.0.0.1:{port}");
        let config = config(&endpoint).await;
        let moto = Moto { process, folder, endpoint, config };
        let s3 = rowhouse_aws::client::s3(&moto.config);
        until("moto answers", async || s3.list_buckets().send().await.ok()).await;
        moto
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.folder.path().join("log"));
            eprintln!("moto's log:\n{}", log.unwrap_or_default());
        }
    }
}
