//! Private repositories, opened by a token of Secrets Manager: git's own server behind TLS, and an
//! emulator of AWS. The asking is done in another process, which finds both by its environment, as
//! the function does.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod emulator;
#[allow(dead_code, reason = "each test uses a part")]
#[path = "../src/repository/tests/server.rs"]
mod server;

use std::process::Command;

use emulator::Emulator;
use rowhouse_aws::{Repositories, client};
use rowhouse_core::{Repository, Version};
use server::{PASSWORD, Server};

const REPOSITORY: &str = "ROWHOUSE_TEST_REPOSITORY";
const ANSWER: &str = "ROWHOUSE_TEST_ANSWER";

fn resolution(server: &Server, emulator: &Emulator) -> String {
    let folder = server.folder.path();
    let (authority, answer) = (folder.join("authority.pem"), folder.join("answer"));
    std::fs::write(&authority, &server.authority).unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "another_process_asks"])
        .env(REPOSITORY, server.address("private/site.git"))
        .env(ANSWER, &answer)
        .env("SSL_CERT_FILE", &authority)
        .env("AWS_ENDPOINT_URL", emulator.endpoint())
        .envs([("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")])
        .env("AWS_REGION", "eu-west-1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    std::fs::read_to_string(answer).unwrap()
}

#[tokio::test]
async fn a_private_repository_is_opened_by_the_token_of_its_host() {
    let (server, emulator) = (Server::start(), Emulator::start().await);
    let secrets = aws_sdk_secretsmanager::Client::new(&emulator.config);
    let name = format!("rowhouse/git/localhost/{}", server.port);
    let reason = resolution(&server, &emulator);
    assert!(reason.contains("Denied") && reason.contains(&name), "{reason}");

    let token = format!("me:{PASSWORD}\n");
    secrets.create_secret().name(&name).secret_string(token).send().await.unwrap();
    let commit = server.commit("main");
    assert_eq!(resolution(&server, &emulator), format!("Known(Commit(\"{commit}\"))"));

    for (text, says) in
        [("me:guessed", "401"), ("{\"token\": \"guessed\"}", "plain text"), (" ", "plain text")]
    {
        secrets.put_secret_value().secret_id(&name).secret_string(text).send().await.unwrap();
        let reason = resolution(&server, &emulator);
        assert!(reason.contains("Denied") && reason.contains(says), "{reason}");
        assert!(reason.contains(&name) && !reason.contains("guessed"), "{reason}");
    }
}

/// The other process of the test above; by itself it has nothing to ask.
#[tokio::test]
async fn another_process_asks() {
    let (Ok(repository), Ok(answer)) = (std::env::var(REPOSITORY), std::env::var(ANSWER)) else {
        return;
    };
    let secrets = aws_sdk_secretsmanager::Client::new(&client::shared_config().await);
    let repositories = Repositories::new(&["localhost".to_owned()], Some(secrets));
    let repository = Repository::parse(&repository).unwrap();
    let version = Version::parse("main").unwrap();
    let resolution = repositories.resolve(&repository, &version).await;
    std::fs::write(answer, format!("{resolution:?}")).unwrap();
}
