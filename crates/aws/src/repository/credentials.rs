//! What opens a private repository: written in its address, or kept for its host in Secrets
//! Manager. It is sent to that host alone, and never shown.

use percent_encoding::percent_decode_str;
use reqwest::{RequestBuilder, Url};
use rowhouse_core::{Token, token_secret};

use crate::refusal::Failure;
use crate::repository::trouble::Trouble;

/// A user and a password. No `Debug`: it would be shown sooner or later.
pub(crate) struct Credentials {
    user: String,
    password: String,
}

impl Credentials {
    /// Those that stand in an address.
    pub(crate) fn in_url(url: &Url) -> Option<Credentials> {
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let is_written = !url.username().is_empty() || url.password().is_some();
        is_written.then(|| Credentials {
            user: decoded(url.username()),
            password: decoded(url.password().unwrap_or_default()),
        })
    }

    /// Adds them to a request. The client drops them where a redirect leads to another host.
    pub(crate) fn onto(
        request: RequestBuilder,
        credentials: Option<&Credentials>,
    ) -> RequestBuilder {
        match credentials {
            Some(Credentials { user, password }) => request.basic_auth(user, Some(password)),
            None => request,
        }
    }
}

/// The secrets of this account, if there are any.
#[derive(Debug)]
pub(crate) struct Secrets(pub(crate) Option<aws_sdk_secretsmanager::Client>);

impl Secrets {
    /// The secret for the server of an address.
    pub(crate) fn name(address: &Url) -> String {
        token_secret(address.host_str().unwrap_or_default(), address.port())
    }

    /// The credentials for a host; `Ok(None)`: there is no such secret. An error says what is wrong
    /// with it.
    pub(crate) async fn credentials(&self, address: &Url) -> Result<Option<Credentials>, Trouble> {
        let Some(client) = &self.0 else { return Ok(None) };
        let name = Secrets::name(address);
        let answer = client.get_secret_value().secret_id(&name).send().await;
        let text = match answer.map_err(|error| Failure::of(&error)) {
            Ok(secret) => secret.secret_string.unwrap_or_default(),
            Err(failure) if failure.code == "ResourceNotFoundException" => return Ok(None),
            Err(failure) if failure.is_denied() => {
                return Err(Trouble::Denied(format!(
                    "the reactor's role may not read the secret `{name}` ({})",
                    failure.message
                )));
            }
            Err(failure) => {
                let said = format!("the secret `{name}` cannot be read: {}", failure.message);
                return Err(Trouble::Silent(said));
            }
        };
        let token = Token::parse(&text).ok_or_else(|| {
            let allowed = "`user:token` or a token";
            Trouble::Denied(format!("the secret `{name}` must be plain text: {allowed}"))
        })?;
        let (user, password) = (token.user.to_owned(), token.password.to_owned());
        Ok(Some(Credentials { user, password }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(credentials: &Credentials, user: &str, password: &str) {
        assert_eq!((credentials.user.as_str(), credentials.password.as_str()), (user, password));
    }

    #[test]
    fn credentials_in_an_address_are_decoded() {
        let url = Url::parse("https://me:a%40b@example.com/a").unwrap();
        check(&Credentials::in_url(&url).unwrap(), "me", "a@b");
        assert!(Credentials::in_url(&Url::parse("https://example.com/a@b").unwrap()).is_none());
    }

    #[test]
    fn every_server_has_a_secret_of_its_own() {
        let name = |url: &str| Secrets::name(&Url::parse(url).unwrap());
        assert_eq!(name("https://GitHub.com/a/b"), "rowhouse/git/github.com");
        assert_eq!(name("https://github.com:443/a"), "rowhouse/git/github.com");
        assert_eq!(name("https://github.com:8443/a"), "rowhouse/git/github.com/8443");
    }
}
