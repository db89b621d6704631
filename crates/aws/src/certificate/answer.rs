//! The answer to CloudFormation: a document that is put where the request says.
//!
//! <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref-responses.html>

use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode};
use serde::Serialize;
use thiserror::Error;
use tracing::{info, warn};

use crate::certificate::address::Address;
use crate::certificate::pair::PublicKey;
use crate::certificate::request::Request;
use crate::client::choose_cryptography;

/// More is not read, and the stack waits for an hour.
const SIZE_LIMIT: usize = 4096;
const REASON_LIMIT: usize = 1000;
const ATTEMPTS: u32 = 6;
const ATTEMPT_LIMIT: Duration = Duration::from_millis(2500);
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// Nobody took the answer.
#[derive(Debug, Error)]
#[error("{0}")]
pub(crate) struct Undelivered(pub(crate) String);

/// What CloudFormation is told.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Answer<'a> {
    status: Status,
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
    physical_resource_id: &'a str,
    stack_id: &'a str,
    request_id: &'a str,
    logical_resource_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Data<'a>>,
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "UPPERCASE")]
enum Status {
    Success,
    Failed,
}

/// What `Fn::GetAtt` reads.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Data<'a> {
    public_key: &'a str,
    bucket: &'a str,
    key: &'a str,
}

impl<'a> Answer<'a> {
    pub(crate) fn success(
        request: &'a Request,
        physical_id: &'a str,
        kept: Option<&'a (Address, PublicKey)>,
    ) -> Answer<'a> {
        let data = kept.map(|(Address { bucket, key }, PublicKey(public_key))| Data {
            public_key,
            bucket,
            key,
        });
        Answer { data, ..Answer::new(request, Status::Success, physical_id) }
    }

    pub(crate) fn failure(request: &'a Request, physical_id: &'a str, reason: &str) -> Answer<'a> {
        let reason =
            reason.chars().filter(|letter| !letter.is_control()).take(REASON_LIMIT).collect();
        Answer { reason, ..Answer::new(request, Status::Failed, physical_id) }
    }

    fn new(request: &'a Request, status: Status, physical_id: &'a str) -> Answer<'a> {
        Answer {
            status,
            reason: String::new(),
            physical_resource_id: physical_id,
            stack_id: &request.stack_id,
            request_id: &request.id,
            logical_resource_id: &request.logical_resource_id,
            data: None,
        }
    }

    /// Puts the answer where CloudFormation reads it, again and again while time is left.
    pub(crate) async fn deliver(self, url: &str, left: Duration) -> Result<(), Undelivered> {
        let status = self.status;
        let body = self.document()?;
        let client = client()?;
        let delivery = async {
            let mut pause = FIRST_PAUSE;
            for attempt in 1..=ATTEMPTS {
                match put(&client, url, body.clone()).await {
                    Ok(()) => break,
                    Err(Refusal { reason, is_final }) if is_final || attempt == ATTEMPTS => {
                        return Err(Undelivered(reason));
                    }
                    Err(Refusal { reason, .. }) => {
                        warn!(because = reason, attempt, "the answer was not taken");
                        tokio::time::sleep(pause).await;
                        pause *= 2;
                    }
                }
            }
            info!(?status, "answered");
            Ok(())
        };
        tokio::time::timeout(left, delivery)
            .await
            .unwrap_or_else(|_| Err(Undelivered("the function's time was up".to_owned())))
    }

    fn document(mut self) -> Result<Vec<u8>, Undelivered> {
        loop {
            let body = serde_json::to_vec(&self).map_err(|error| Undelivered(error.to_string()))?;
            if body.len() <= SIZE_LIMIT || self.reason.is_empty() {
                return Ok(body);
            }
            let half = self.reason.chars().count() / 2;
            self.reason = self.reason.chars().take(half).collect();
        }
    }
}

struct Refusal {
    reason: String,
    is_final: bool,
}

async fn put(client: &Client, url: &str, body: Vec<u8>) -> Result<(), Refusal> {
    // The URL is signed for no content type: any other than an empty one is refused.
    let sent = client.put(url).header(CONTENT_TYPE, "").body(body).send().await;
    match sent.map(|response| response.status()) {
        Ok(status) if status.is_success() => Ok(()),
        Ok(status) => Err(Refusal { reason: format!("{status}"), is_final: is_final(status) }),
        Err(error) => Err(Refusal { is_final: error.is_builder(), reason: cause(error) }),
    }
}

fn is_final(status: StatusCode) -> bool {
    let is_passing = matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS);
    !status.is_server_error() && !is_passing
}

/// The innermost cause. Outer ones repeat the URL, and whoever knows it can answer in our place.
fn cause(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

fn client() -> Result<Client, Undelivered> {
    choose_cryptography();
    Client::builder()
        .no_proxy()
        .redirect(Policy::none())
        .timeout(ATTEMPT_LIMIT)
        .build()
        .map_err(|error| Undelivered(cause(error)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn request() -> Request {
        Request::parse(json!({
            "RequestType": "Create",
            "RequestId": "7",
            "ResponseURL": "https://example.com/secret",
            "StackId": format!("arn:aws:cloudformation:eu-west-1:1:stack/{}/0f2c", "s".repeat(128)),
            "LogicalResourceId": "C".repeat(255),
        }))
        .unwrap()
    }

    #[test]
    fn an_answer_fits_whatever_the_reason() {
        let request = request();
        let id = format!("s3://{}/backend-certificates/{}.json", "b".repeat(63), "k".repeat(400));
        for reason in ["x", &"\"".repeat(9000), &"語".repeat(9000), &"\0\n".repeat(9000)] {
            let body = Answer::failure(&request, &id, reason).document().unwrap();
            assert!(body.len() <= SIZE_LIMIT, "{}", body.len());
            let read: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!((&read["Status"], &read["RequestId"]), (&json!("FAILED"), &json!("7")));
            assert_eq!(read["PhysicalResourceId"], json!(id));
        }
    }

    #[test]
    fn a_success_says_what_the_template_may_read_and_nothing_else() {
        let request = request();
        let address = Address { bucket: "keys".to_owned(), key: "a/b".to_owned() };
        let kept = (address, PublicKey("MII".to_owned()));
        let body = Answer::success(&request, "s3://keys/a/b", Some(&kept)).document().unwrap();
        let read: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(read["Data"], json!({"PublicKey": "MII", "Bucket": "keys", "Key": "a/b"}));
        assert_eq!((&read["Status"], read.get("Reason")), (&json!("SUCCESS"), None));
    }

    /// A server that gives these statuses, one a connection, and the requests that it got.
    fn server(statuses: &'static [&'static str]) -> (String, std::thread::JoinHandle<Vec<String>>) {
        use std::io::{BufRead, BufReader, Read, Write};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/secret?signature=hunter2", listener.local_addr().unwrap());
        let answered = move |status: &&str| {
            let (stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream);
            let (mut head, mut length) = (String::new(), 0);
            while !head.ends_with("\r\n\r\n") {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                if let Some(text) = line.to_lowercase().strip_prefix("content-length: ") {
                    length = text.trim().parse().unwrap();
                }
                head.push_str(&line);
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let answer =
                format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            reader.get_mut().write_all(answer.as_bytes()).unwrap();
            head + &String::from_utf8(body).unwrap()
        };
        (url, std::thread::spawn(move || statuses.iter().map(answered).collect()))
    }

    async fn delivered(
        statuses: &'static [&'static str],
    ) -> (Result<(), Undelivered>, Vec<String>) {
        let (url, requests) = server(statuses);
        let request = request();
        let answer = Answer::failure(&request, "s3://keys/a/b", "because");
        let outcome = answer.deliver(&url, Duration::from_secs(30)).await;
        (outcome, requests.join().unwrap())
    }

    #[tokio::test]
    async fn an_answer_is_put_again_until_it_is_taken() {
        let (outcome, requests) =
            delivered(&["503 Slow Down", "429 Too Many Requests", "200 OK"]).await;
        outcome.unwrap();
        assert_eq!((requests.len(), &requests[0]), (3, &requests[2]));
        let request = requests[0].to_lowercase();
        assert!(request.starts_with("put /secret"), "{request}");
        assert!(request.contains("\r\ncontent-type: \r\n"), "{request}");
        assert!(!request.contains("transfer-encoding"), "{request}");
        assert!(request.contains("\"reason\":\"because\""), "{request}");
    }

    #[tokio::test]
    async fn an_answer_that_will_never_be_taken_is_not_put_again_and_its_url_not_told() {
        let (outcome, requests) = delivered(&["403 Forbidden"]).await;
        assert_eq!(
            (outcome.unwrap_err().to_string().as_str(), requests.len()),
            ("403 Forbidden", 1)
        );
        let request = request();
        let answer = Answer::failure(&request, "s3://keys/a/b", "because");
        let left = Duration::from_millis(500);
        let nobody = "http://127.0.0.1:1/secret?signature=hunter2";
        let told = answer.deliver(nobody, left).await.unwrap_err();
        assert!(!format!("{told:?} {told}").contains("hunter2"), "{told}");
    }
}
