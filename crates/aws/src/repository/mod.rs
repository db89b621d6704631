//! Which commit a version names, asked of the repository itself: git's smart protocol over https, of which only
//! the list of references is needed.
//!
//! <https://git-scm.com/docs/http-protocol>, <https://git-scm.com/docs/protocol-v2>

mod credentials;
mod reference;
#[cfg(test)]
mod tests;

use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Method, StatusCode, Url};
use rowhouse_core::{Commit, Resolution, Unreachable, Version, shortened};

use crate::outbound::Outbound;
use crate::repository::credentials::{Credentials, Secrets};
use crate::repository::reference::{Advertised, NotUnderstood, References};

/// Repositories that are reached by https.
#[derive(Debug)]
pub struct Repositories {
    outbound: Outbound,
    secrets: Secrets,
}

/// Why there is no list of references.
enum Failure {
    /// Only somebody else may see it, or nobody: hosts answer 404 for what is private.
    Denied(StatusCode),
    Unreachable(String),
}

impl From<Unreachable> for Failure {
    fn from(Unreachable { reason }: Unreachable) -> Failure {
        Failure::Unreachable(reason)
    }
}

impl From<NotUnderstood> for Failure {
    fn from(error: NotUnderstood) -> Failure {
        Failure::Unreachable(error.to_string())
    }
}

impl Repositories {
    /// `allowed_hosts`: may have any address. `secrets`: where tokens of private repositories are kept.
    pub fn new(
        allowed_hosts: &[String],
        secrets: Option<aws_sdk_secretsmanager::Client>,
    ) -> Repositories {
        Repositories::over(Outbound::new(allowed_hosts), secrets)
    }

    fn over(outbound: Outbound, secrets: Option<aws_sdk_secretsmanager::Client>) -> Repositories {
        Repositories { outbound, secrets: Secrets(secrets) }
    }

    /// Says which commit a version names; 40 hex digits name themselves, else a branch goes before a tag.
    pub async fn resolve(&self, repository: &str, version: &Version) -> Resolution {
        if let Some(commit) = Commit::parse(version.as_str()) {
            return Resolution::Known(commit);
        }
        let (address, written) = match self.address(repository) {
            Ok(address) => address,
            Err(reason) => return Resolution::NoSuchVersion { reason },
        };
        match self.references(&address, written, version).await {
            Ok(references) => match references.commit() {
                Some(commit) => Resolution::Known(commit),
                None => Resolution::NoSuchVersion { reason: missing(&address, version) },
            },
            Err(reason) => Resolution::Unreachable {
                reason: format!(
                    "cannot ask the repository {}: {reason}",
                    shortened(address.as_str())
                ),
            },
        }
    }

    /// The address without credentials, and the credentials that stood in it.
    fn address(&self, repository: &str) -> Result<(Url, Option<Credentials>), String> {
        const ALLOWED: &str = "`Repo` must be the `https://` URL that `git clone` takes";
        // What cannot be read may have a password anywhere, so it is not repeated.
        let mut url = Url::parse(repository)
            .map_err(|error| format!("`Repo` is no URL ({error}): {ALLOWED}"))?;
        let written = Credentials::in_url(&url);
        // Neither fails for a URL with a host, and the next check refuses one without.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        url.set_fragment(None);
        let shown = shortened(url.as_str());
        if let Some(objection) = self.outbound.objection(&url) {
            return Err(format!("the repository {shown} may not be asked: {objection}; {ALLOWED}"));
        }
        if url.query().is_some() {
            return Err(format!("`Repo` is {shown}, which has a query: {ALLOWED}"));
        }
        Ok((url, written))
    }

    /// First with what the address itself brings, then, if that was nothing, with the token of the host.
    async fn references(
        &self,
        address: &Url,
        written: Option<Credentials>,
        version: &Version,
    ) -> Result<References, String> {
        let first = self.listed(address, written.as_ref(), version).await;
        let status = match first {
            Ok(references) => return Ok(references),
            Err(Failure::Unreachable(reason)) => return Err(reason),
            Err(Failure::Denied(status)) => status,
        };
        if written.is_some() {
            return Err(format!(
                "it answered {status} to the credentials in `Repo`: correct them, or leave them out \
                 and put a token into the secret `{}`",
                Secrets::name(address)
            ));
        }
        let stored = self.secrets.credentials(address).await.map_err(|reason| {
            format!("it answered {status}, which may mean that it is private, and {reason}")
        })?;
        let Some(stored) = stored else {
            return Err(format!(
                "it answered {status}: correct `Repo`, or, if it is private, put a token (`user:token` \
                 or the token alone) into a secret named `{}` in Secrets Manager",
                Secrets::name(address)
            ));
        };
        match self.listed(address, Some(&stored), version).await {
            Ok(references) => Ok(references),
            Err(Failure::Unreachable(reason)) => Err(reason),
            Err(Failure::Denied(status)) => Err(format!(
                "it answered {status} to the token in the secret `{}`: correct `Repo`, or put a token \
                 there that may read the repository",
                Secrets::name(address)
            )),
        }
    }

    /// What the server says of the two references that a version may name.
    async fn listed(
        &self,
        address: &Url,
        credentials: Option<&Credentials>,
        version: &Version,
    ) -> Result<References, Failure> {
        let discovery = below(address, "info/refs?service=git-upload-pack")?;
        let advertisement = self
            .outbound
            .ask(Method::GET, discovery, |request| {
                let request = request.header("Git-Protocol", "version=2").header(ACCEPT, "*/*");
                Credentials::onto(request, credentials)
            })
            .await?;
        granted(advertisement.status)?;
        let found = match reference::advertised(&advertisement.body, version)? {
            Advertised::References(found) => return Ok(found),
            Advertised::Version2 => moved(&advertisement.url)?,
        };
        let is_same_host = found.origin() == address.origin();
        let answer = self
            .outbound
            .ask(Method::POST, below(&found, "git-upload-pack")?, |request| {
                let request = request
                    .header("Git-Protocol", "version=2")
                    .header(CONTENT_TYPE, "application/x-git-upload-pack-request")
                    .header(ACCEPT, "application/x-git-upload-pack-result")
                    .body(reference::question(version));
                Credentials::onto(request, credentials.filter(|_| is_same_host))
            })
            .await?;
        granted(answer.status)?;
        Ok(reference::listed(&answer.body, version)?)
    }
}

fn granted(status: StatusCode) -> Result<(), Failure> {
    match status.as_u16() {
        200 => Ok(()),
        401 | 403 | 404 => Err(Failure::Denied(status)),
        _ => Err(Failure::Unreachable(format!("it answered {status}"))),
    }
}

fn below(address: &Url, path: &str) -> Result<Url, Failure> {
    let text = format!("{}/{path}", address.as_str().trim_end_matches('/'));
    Url::parse(&text).map_err(|error| Failure::Unreachable(error.to_string()))
}

/// Where the repository is after redirects, as git itself reads it off the address that answered.
fn moved(answered: &Url) -> Result<Url, Failure> {
    let mut address = answered.clone();
    address.set_query(None);
    let Some(path) = answered.path().strip_suffix("/info/refs") else {
        return Err(Failure::Unreachable("it redirects to what is no repository".to_owned()));
    };
    address.set_path(path);
    Ok(address)
}

fn missing(address: &Url, version: &Version) -> String {
    format!(
        "the repository {} has no branch and no tag {}: push it, or correct `Version` (a commit is \
         named by all its 40 hex digits)",
        shortened(address.as_str()),
        shortened(version.as_str())
    )
}
