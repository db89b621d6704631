//! Against git's own server behind TLS, with a certificate authority of the test's.

mod server;

use std::process::Command;

use reqwest::Certificate;
use rowhouse_core::{Repository, Resolution, Version};

use crate::outbound::Outbound;
use crate::repository::Repositories;
use crate::repository::tests::server::{PASSWORD, Server};

fn version(text: &str) -> Version {
    Version::parse(text).unwrap()
}

fn repository(text: &str) -> Repository {
    Repository::parse(text).unwrap()
}

fn repositories(server: &Server, allowed: &[&str]) -> Repositories {
    let allowed: Vec<String> = allowed.iter().map(|host| (*host).to_owned()).collect();
    let root = Certificate::from_pem(server.authority.as_bytes()).unwrap();
    Repositories::over(Outbound::trusting(&allowed, vec![root]), None)
}

async fn resolve(server: &Server, path: &str, name: &str) -> Resolution {
    let (repositories, address) =
        (repositories(server, &["localhost"]), repository(&server.address(path)));
    let version = version(name);
    // The port to a platform asks for futures that may change threads.
    let resolution: &mut (dyn Future<Output = Resolution> + Send + Unpin) =
        &mut Box::pin(repositories.resolve(&address, &version));
    resolution.await
}

#[track_caller]
fn unreachable(resolution: Resolution) -> String {
    match resolution {
        Resolution::Unreachable { reason } => reason,
        Resolution::Known(_) | Resolution::NoSuchVersion { .. } | Resolution::Denied { .. } => {
            panic!("{resolution:?}")
        }
    }
}

#[track_caller]
fn denied(resolution: Resolution) -> String {
    match resolution {
        Resolution::Denied { reason } => reason,
        Resolution::Known(_)
        | Resolution::NoSuchVersion { .. }
        | Resolution::Unreachable { .. } => panic!("{resolution:?}"),
    }
}

#[track_caller]
fn refused(resolution: Resolution) -> String {
    match resolution {
        Resolution::NoSuchVersion { reason } => reason,
        Resolution::Known(_) | Resolution::Denied { .. } | Resolution::Unreachable { .. } => {
            panic!("{resolution:?}")
        }
    }
}

#[tokio::test]
async fn branches_and_tags_are_resolved_in_every_version_of_the_protocol() {
    let server = Server::start();
    for path in ["site.git", "site.git/", "old/site.git", "moved/site.git"] {
        for (name, commit) in [
            ("main", "main"),
            ("light", "light^{commit}"),
            ("annotated", "annotated^{commit}"),
            ("both", "refs/heads/both"),
            ("feature/größe", "feature/größe"),
        ] {
            let known = server.commit(commit);
            assert_eq!(
                resolve(&server, path, name).await,
                Resolution::Known(known),
                "{path} {name}"
            );
        }
    }
}

#[tokio::test]
async fn a_commit_names_itself_without_a_request() {
    let server = Server::start();
    let commit = server.commit("main");
    let known = resolve(&server, "site.git", commit.as_str()).await;
    assert_eq!((known, server.requests().len()), (Resolution::Known(commit), 0));
}

#[tokio::test]
async fn a_version_that_is_not_there_is_named_with_what_to_do() {
    let server = Server::start();
    for name in ["mai", "main2", "heads/main", "refs/heads/main"] {
        let reason = refused(resolve(&server, "site.git", name).await);
        assert!(reason.contains(&format!("no branch and no tag `{name}`: push it")), "{reason}");
    }
}

#[tokio::test]
async fn a_private_repository_without_credentials_says_where_a_token_goes() {
    let server = Server::start();
    for path in ["private/site.git", "nothing.git"] {
        let reason = denied(resolve(&server, path, "main").await);
        let secret = format!("`rowhouse/git/localhost/{}`", server.port);
        assert!(reason.contains(&secret) && reason.contains("Secrets Manager"), "{reason}");
    }
}

#[tokio::test]
async fn credentials_in_the_address_open_it_and_are_never_shown() {
    let server = Server::start();
    let repositories = repositories(&server, &["localhost"]);
    let address = server.address("private/site.git").replace("//", &format!("//me:{PASSWORD}@"));
    let known = repositories.resolve(&repository(&address), &version("main")).await;
    assert_eq!(known, Resolution::Known(server.commit("main")));
    let reason = refused(repositories.resolve(&repository(&address), &version("other")).await);
    assert!(!reason.contains(PASSWORD) && reason.contains("me:***@"), "{reason}");
    let wrong = address.replace(PASSWORD, "guessed");
    let reason = denied(repositories.resolve(&repository(&wrong), &version("main")).await);
    assert!(reason.contains("401") && !reason.contains("guessed"), "{reason}");
}

#[tokio::test]
async fn credentials_do_not_follow_a_redirect_to_another_host() {
    let server = Server::start();
    let repositories = repositories(&server, &["localhost", "127.0.0.1"]);
    let address = server.address("elsewhere/private/site.git");
    let address = address.replace("//", &format!("//me:{PASSWORD}@"));
    denied(repositories.resolve(&repository(&address), &version("main")).await);
    let requests = server.requests();
    let (sent, elsewhere) = (requests.first().unwrap(), requests.last().unwrap());
    assert!(sent.contains("host: localhost") && sent.contains("authorization: "), "{sent}");
    assert!(elsewhere.contains("host: 127.0.0.1"), "{elsewhere}");
    assert!(!elsewhere.contains("authorization: "), "{elsewhere}");
}

#[tokio::test]
async fn a_redirect_to_an_address_that_is_not_public_is_not_followed() {
    let server = Server::start();
    let reason = denied(resolve(&server, "elsewhere/site.git", "main").await);
    assert!(reason.contains("it redirects to where `127.0.0.1`"), "{reason}");
    assert_eq!(server.requests().len(), 1);
    let reason = denied(resolve(&server, "plain/site.git", "main").await);
    assert!(reason.contains("`http` is not `https`"), "{reason}");
    let reason = denied(resolve(&server, "circle/site.git", "main").await);
    assert!(reason.contains("more than 5 times"), "{reason}");
    assert_eq!(server.requests().len(), 8);
}

#[tokio::test]
async fn a_name_with_an_address_that_is_not_public_is_not_asked() {
    let server = Server::start();
    let address = server.address("site.git");
    let reason =
        denied(repositories(&server, &[]).resolve(&repository(&address), &version("main")).await);
    assert!(reason.contains("`AllowedRepositoryHosts`"), "{reason}");
    for address in [
        "https://127.0.0.1/a.git",
        "https://[::1]/a.git",
        "ssh://git@localhost/a.git",
        "https://localhost/a.git?b=c",
        "/srv/a.git",
    ] {
        let repositories = repositories(&server, &["localhost"]);
        let reason = denied(repositories.resolve(&repository(address), &version("main")).await);
        assert!(reason.contains("`Repo` must be the `https://` URL"), "{reason}");
    }
    assert_eq!(server.requests().len(), 0);
}

#[tokio::test]
async fn answers_that_are_none_of_gits_are_not_believed() {
    let server = Server::start();
    for (path, says) in [
        ("huge", "longer than 8 MB"),
        ("page", "none of git's"),
        ("moved/nowhere", "redirects to what is no repository"),
    ] {
        let reason = denied(resolve(&server, path, "main").await);
        assert!(reason.contains(says) && reason.len() < 400, "{path}: {reason}");
    }
    // Time alone may mend that.
    let reason = unreachable(resolve(&server, "broken", "main").await);
    assert!(reason.contains("it answered 500"), "{reason}");
}

const ASKED: &str = "ROWHOUSE_TEST_REPOSITORY";

#[tokio::test]
async fn the_roots_are_those_that_the_environment_names() {
    let server = Server::start();
    let status = |roots: &str| {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "repository::tests::another_process_asks"])
            .env(ASKED, server.address("site.git"))
            .env("SSL_CERT_FILE", roots)
            .output()
            .unwrap()
            .status
    };
    let authority = server.folder.path().join("authority.pem");
    std::fs::write(&authority, &server.authority).unwrap();
    assert!(status(authority.to_str().unwrap()).success());
    let other = Server::start();
    std::fs::write(&authority, &other.authority).unwrap();
    assert!(!status(authority.to_str().unwrap()).success());
}

/// The other process of the test above; by itself it has nothing to ask.
#[tokio::test]
async fn another_process_asks() {
    let Ok(address) = std::env::var(ASKED) else { return };
    let repositories = Repositories::new(&["localhost".to_owned()], None);
    let resolution = repositories.resolve(&repository(&address), &version("main")).await;
    assert!(matches!(resolution, Resolution::Known(_)), "{resolution:?}");
}
