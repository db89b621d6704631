//! What an app prints on AWS: the streams of its log group, one for each instance and source.

use std::collections::BTreeMap;

use aws_sdk_cloudwatchlogs::types::{LogStream, OrderBy, OutputLogEvent};
use jiff::Timestamp;
use rowhouse_aws::Failure;
use rowhouse_cli::client::{LogLine, News};
use rowhouse_core::AppName;

use crate::account::{Account, told};

/// How many streams are read: those that were written to last.
const STREAMS: i32 = 20;
/// How many lines one answer may have.
/// <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_GetLogEvents.html>
const PAGE: i32 = 10_000;

/// The log group of an app.
pub(crate) struct AppLog {
    client: aws_sdk_cloudwatchlogs::Client,
    group: String,
    /// How far each stream was read: its token.
    read: BTreeMap<String, String>,
    /// How many lines to begin with.
    last: Option<usize>,
}

impl AppLog {
    /// The log of an app; `None`: there is no such group.
    pub(crate) async fn open(
        account: &Account,
        name: &AppName,
        last: usize,
    ) -> anyhow::Result<Option<AppLog>> {
        let client = aws_sdk_cloudwatchlogs::Client::new(&account.config);
        let log = AppLog {
            client,
            // As in templates/app.yaml.
            group: format!("/rowhouse/{name}"),
            read: BTreeMap::new(),
            last: Some(last),
        };
        Ok(log.streams().await?.map(|_| log))
    }

    async fn streams(&self) -> anyhow::Result<Option<Vec<LogStream>>> {
        let asked = self
            .client
            .describe_log_streams()
            .log_group_name(&self.group)
            .order_by(OrderBy::LastEventTime)
            .descending(true)
            .limit(STREAMS);
        match asked.send().await {
            Ok(answer) => Ok(Some(answer.log_streams.unwrap_or_default())),
            Err(error) if Failure::of(&error).code == "ResourceNotFoundException" => Ok(None),
            Err(error) => Err(told("cannot list the logs", &error)),
        }
    }

    /// The end of a stream, or what has come since it was read.
    async fn lines(&mut self, stream: &str, last: Option<usize>) -> anyhow::Result<Vec<LogLine>> {
        let token = self.read.get(stream).cloned();
        let most = last.map_or(PAGE, |last| i32::try_from(last).unwrap_or(PAGE).clamp(1, PAGE));
        let asked = self
            .client
            .get_log_events()
            .log_group_name(&self.group)
            .log_stream_name(stream)
            // A stream that was not there before is new as a whole.
            .start_from_head(last.is_none())
            .limit(if token.is_some() { PAGE } else { most })
            .set_next_token(token);
        let answer = asked.send().await.map_err(|error| told("cannot read the log", &error))?;
        if let Some(token) = answer.next_forward_token() {
            self.read.insert(stream.to_owned(), token.to_owned());
        }
        Ok(answer.events().iter().map(|event| line(stream, event)).collect())
    }
}

impl News for AppLog {
    type Item = LogLine;

    async fn news(&mut self) -> anyhow::Result<Vec<LogLine>> {
        let last = self.last.take();
        let mut lines = Vec::new();
        for stream in self.streams().await?.unwrap_or_default() {
            if let Some(name) = stream.log_stream_name() {
                lines.extend(self.lines(name, last).await?);
            }
        }
        lines.sort_by(|one, other| one.at.cmp(&other.at));
        if let Some(last) = last {
            lines.drain(..lines.len().saturating_sub(last));
        }
        Ok(lines)
    }
}

fn line(stream: &str, event: &OutputLogEvent) -> LogLine {
    let at = event.timestamp().and_then(|at| Timestamp::from_millisecond(at).ok());
    LogLine {
        at: at.map(|at| format!("{at:.3}")).unwrap_or_default(),
        source: stream.to_owned(),
        text: event.message().unwrap_or_default().trim_end().to_owned(),
    }
}
