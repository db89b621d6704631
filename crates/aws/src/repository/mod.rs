//! Which commit a version names, asked of the repository itself: git's smart protocol over https,
//! of which only the list of references is needed.
//!
//! <https://git-scm.com/docs/http-protocol>, <https://git-scm.com/docs/protocol-v2>

mod credentials;
mod reference;
#[cfg(test)]
mod tests;
mod trouble;

use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Method, StatusCode, Url};
use rowhouse_core::{Denied, Repository, Resolution, Silent, Version, shortened};

use crate::outbound::Outbound;
use crate::repository::credentials::{Credentials, Secrets};
use crate::repository::reference::{Advertised, References};
use crate::repository::trouble::Trouble;

/// Repositories that are reached by https.
#[derive(Debug)]
pub struct Repositories {
    outbound: Outbound,
    secrets: Secrets,
}

/// What a server answered to a request for references, or that it would answer to somebody else.
enum Answer<T> {
    Given(T),
    /// Only somebody else may see it, or nobody: hosts answer 404 for what is private.
    Closed(StatusCode),
}

impl Repositories {
    /// `allowed_hosts`: may have any address. `secrets`: where tokens of private repositories are
    /// kept.
    pub fn new(
        allowed_hosts: &[String],
        secrets: Option<aws_sdk_secretsmanager::Client>,
    ) -> Repositories {
        Repositories::over(Outbound::new(allowed_hosts), secrets)
    }

    fn over(outbound: Outbound, secrets: Option<aws_sdk_secretsmanager::Client>) -> Repositories {
        Repositories { outbound, secrets: Secrets(secrets) }
    }

    /// Says which commit a version names; 40 hex digits name themselves, else a branch goes before
    /// a tag.
    pub async fn resolve(&self, repository: &Repository, version: &Version) -> Resolution {
        if let Some(commit) = version.commit() {
            return Resolution::Known(commit);
        }
        let found = match self.address(repository) {
            Ok((address, written)) => self.references(&address, written, version).await,
            Err(trouble) => Err(trouble),
        };
        match found {
            Ok(references) => match references.commit() {
                Some(commit) => Resolution::Known(commit),
                None => Resolution::NoSuchVersion { reason: missing(repository, version) },
            },
            Err(Trouble::Denied(said)) => {
                Resolution::Denied { reason: Denied { repository, said: &said }.to_string() }
            }
            Err(Trouble::Silent(said)) => {
                Resolution::Unreachable { reason: Silent { repository, said: &said }.to_string() }
            }
        }
    }

    /// The address without credentials, and the credentials that stood in it.
    fn address(&self, repository: &Repository) -> Result<(Url, Option<Credentials>), Trouble> {
        const ALLOWED: &str = "`Repo` must be the `https://` URL that `git clone` takes";
        let denied = |objection: String| Trouble::Denied(format!("{objection}; {ALLOWED}"));
        let mut url = Url::parse(repository.as_str())
            .map_err(|error| denied(format!("it is no URL ({error})")))?;
        let written = Credentials::in_url(&url);
        // Neither fails for a URL with a host, and the next check refuses one without.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        url.set_fragment(None);
        if let Some(objection) = self.outbound.objection(&url) {
            return Err(denied(format!("it may not be asked: {objection}")));
        }
        if url.query().is_some() {
            return Err(denied("it has a query".to_owned()));
        }
        Ok((url, written))
    }

    /// First with what the address itself brings, then, if that was nothing, with the token of the
    /// host.
    async fn references(
        &self,
        address: &Url,
        written: Option<Credentials>,
        version: &Version,
    ) -> Result<References, Trouble> {
        let status = match self.listed(address, written.as_ref(), version).await? {
            Answer::Given(references) => return Ok(references),
            Answer::Closed(status) => status,
        };
        let secret = Secrets::name(address);
        if written.is_some() {
            return Err(Trouble::Denied(format!(
                "it answered {status} to the credentials in `Repo`: correct them, or leave them \
                 out \
                 and put a token into the secret `{secret}`"
            )));
        }
        let stored = self.secrets.credentials(address).await.map_err(|trouble| {
            trouble.after(&format!("it answered {status}, which may mean that it is private, and "))
        })?;
        let Some(stored) = stored else {
            return Err(Trouble::Denied(format!(
                "it answered {status}: correct `Repo`, or, if it is private, put a token \
                 (`user:token` \
                 or the token alone) into a secret named `{secret}` in Secrets Manager"
            )));
        };
        match self.listed(address, Some(&stored), version).await? {
            Answer::Given(references) => Ok(references),
            Answer::Closed(status) => Err(Trouble::Denied(format!(
                "it answered {status} to the token in the secret `{secret}`: correct `Repo`, or \
                 put a \
                 token there that may read the repository"
            ))),
        }
    }

    /// What the server says of the two references that a version may name.
    async fn listed(
        &self,
        address: &Url,
        credentials: Option<&Credentials>,
        version: &Version,
    ) -> Result<Answer<References>, Trouble> {
        let discovery = below(address, "info/refs?service=git-upload-pack")?;
        let advertisement = self
            .outbound
            .ask(Method::GET, discovery, |request| {
                let request = request.header("Git-Protocol", "version=2").header(ACCEPT, "*/*");
                Credentials::onto(request, credentials)
            })
            .await?;
        if let Answer::Closed(status) = granted(advertisement.status)? {
            return Ok(Answer::Closed(status));
        }
        let found = match reference::advertised(&advertisement.body, version)? {
            Advertised::References(found) => return Ok(Answer::Given(found)),
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
        if let Answer::Closed(status) = granted(answer.status)? {
            return Ok(Answer::Closed(status));
        }
        Ok(Answer::Given(reference::listed(&answer.body, version)?))
    }
}

fn granted(status: StatusCode) -> Result<Answer<()>, Trouble> {
    let said = || format!("it answered {status}");
    match status {
        StatusCode::OK => Ok(Answer::Given(())),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => {
            Ok(Answer::Closed(status))
        }
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Err(Trouble::Silent(said())),
        _ if status.is_server_error() => Err(Trouble::Silent(said())),
        _ => Err(Trouble::Denied(said())),
    }
}

fn below(address: &Url, path: &str) -> Result<Url, Trouble> {
    let text = format!("{}/{path}", address.as_str().trim_end_matches('/'));
    Url::parse(&text).map_err(|error| Trouble::Denied(error.to_string()))
}

/// Where the repository is after redirects, as git itself reads it off the address that answered.
fn moved(answered: &Url) -> Result<Url, Trouble> {
    let mut address = answered.clone();
    address.set_query(None);
    let Some(path) = answered.path().strip_suffix("/info/refs") else {
        return Err(Trouble::Denied("it redirects to what is no repository".to_owned()));
    };
    address.set_path(path);
    Ok(address)
}

fn missing(repository: &Repository, version: &Version) -> String {
    format!(
        "the repository {} has no branch and no tag {}: push it, or correct `Version` (a commit is \
         named by all its 40 hex digits)",
        shortened(&repository.to_string()),
        shortened(version.as_str())
    )
}
