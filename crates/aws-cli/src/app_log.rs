//! What an app prints on AWS: its log group, with a stream for each instance and source.
//!
//! The end of it is read stream by stream, since only so it can be read backward; what comes then
//! is asked of the group as a whole.
//! <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_GetLogEvents.html>,
//! <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_FilterLogEvents.html>

use std::cmp::Reverse;
use std::collections::HashSet;

use aws_sdk_cloudwatchlogs::types::LogStream;
use jiff::Timestamp;
use rowhouse_aws::Failure;
use rowhouse_command::client::{News, PrintedLine};
use rowhouse_core::AppName;

use crate::account::{Account, told_of};

/// How many streams are read to begin with: those that were written to last, as far as is known.
const STREAMS: usize = 20;
/// How many pages of a stream are read for its end: pages may be empty.
const PAGES: usize = 10;
/// How many lines one answer may have.
const PAGE: usize = 10_000;
/// How many looks in a row may fail in passing.
const PATIENCE: u32 = 20;
/// How far back new lines are looked for: their times are the instances' own, and they come late.
/// In milliseconds.
const LATE: i64 = 60_000;

/// The log group of an app.
pub(crate) struct AppLog {
    client: aws_sdk_cloudwatchlogs::Client,
    group: String,
    /// How many lines to begin with.
    last: Option<usize>,
    /// When following began, in milliseconds since 1970.
    began: i64,
    /// The newest line's time.
    newest: i64,
    /// What was told of the time that is looked at again.
    told: HashSet<PrintedLine>,
    failures: u32,
}

impl AppLog {
    /// The log of an app; `None`: there is no such group.
    pub(crate) async fn open(
        account: &Account,
        name: &AppName,
        last: usize,
    ) -> anyhow::Result<Option<AppLog>> {
        let began = Timestamp::now().as_millisecond();
        let log = AppLog {
            client: aws_sdk_cloudwatchlogs::Client::new(&account.config),
            // As in templates/app.yaml.
            group: format!("/rowhouse/{name}"),
            last: Some(last),
            began,
            newest: began,
            told: HashSet::new(),
            failures: 0,
        };
        let one = log.client.describe_log_streams().log_group_name(&log.group).limit(1);
        match one.send().await.map_err(|error| Failure::of(&error)) {
            Ok(_) => Ok(Some(log)),
            Err(failure) if failure.code == "ResourceNotFoundException" => Ok(None),
            Err(failure) => Err(told_of("cannot read the log", &failure)),
        }
    }

    /// The streams that were written to last. AWS's own order may be an hour old, so all are
    /// listed; a new one counts by its creation.
    async fn streams(&self) -> Result<Vec<String>, Failure> {
        let asked = self.client.describe_log_streams().log_group_name(&self.group);
        let mut pages = asked.into_paginator().send();
        let mut streams = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| Failure::of(&error))?;
            streams.extend(page.log_streams().iter().filter_map(|stream| {
                Some((written(stream), stream.log_stream_name()?.to_owned()))
            }));
        }
        streams.sort_by_key(|(at, _)| Reverse(*at));
        Ok(streams.into_iter().take(STREAMS).map(|(_, name)| name).collect())
    }

    /// The last lines of a stream.
    async fn end(&self, stream: &str, most: usize) -> Result<Vec<PrintedLine>, Failure> {
        let (mut lines, mut token): (Vec<PrintedLine>, Option<String>) = (Vec::new(), None);
        for _ in 0..PAGES {
            let wanted = i32::try_from(most.min(PAGE)).unwrap_or(i32::MAX).max(1);
            let asked = self
                .client
                .get_log_events()
                .log_group_name(&self.group)
                .log_stream_name(stream)
                .start_from_head(false)
                .limit(wanted)
                .set_next_token(token.clone());
            let answer = asked.send().await.map_err(|error| Failure::of(&error))?;
            let events = answer.events().iter();
            let page = events.map(|event| line(stream, event.timestamp(), event.message()));
            lines.splice(0..0, page);
            let next = answer.next_backward_token().map(str::to_owned);
            // The same token again is the beginning of the stream.
            if lines.len() >= most || next.is_none() || next == token {
                break;
            }
            token = next;
        }
        Ok(lines)
    }

    async fn last_lines(&self, most: usize) -> Result<Vec<PrintedLine>, Failure> {
        let mut lines = Vec::new();
        for stream in self.streams().await? {
            lines.extend(self.end(&stream, most).await?);
        }
        in_order(&mut lines);
        lines.drain(..lines.len().saturating_sub(most));
        Ok(lines)
    }

    /// What has come since, of any stream.
    async fn new_lines(&self) -> Result<Vec<PrintedLine>, Failure> {
        let since = self.began.max(self.newest - LATE);
        let asked = self.client.filter_log_events().log_group_name(&self.group).start_time(since);
        let mut pages = asked.into_paginator().send();
        let mut lines = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| Failure::of(&error))?;
            lines.extend(page.events().iter().map(|event| {
                let stream = event.log_stream_name().unwrap_or_default();
                line(stream, event.timestamp(), event.message())
            }));
        }
        in_order(&mut lines);
        Ok(lines)
    }
}

impl News for AppLog {
    type Item = PrintedLine;

    async fn news(&mut self) -> anyhow::Result<Vec<PrintedLine>> {
        let read = match self.last {
            Some(last) => self.last_lines(last).await,
            None => self.new_lines().await,
        };
        match read {
            Ok(mut lines) => {
                self.last = None;
                self.failures = 0;
                lines.retain(|line| !self.told.contains(line));
                let at = |line: &PrintedLine| {
                    line.at.parse::<Timestamp>().map(Timestamp::as_millisecond)
                };
                let newest = lines.iter().filter_map(|line| at(line).ok()).max();
                self.newest = newest.unwrap_or(self.newest).max(self.newest);
                self.told.extend(lines.iter().cloned());
                let since = self.began.max(self.newest - LATE);
                self.told.retain(|line| at(line).is_ok_and(|at| at >= since));
                Ok(lines)
            }
            // It comes with the next look.
            Err(failure) if failure.is_passing() && self.failures < PATIENCE => {
                self.failures += 1;
                Ok(Vec::new())
            }
            Err(failure) => Err(told_of("cannot read the log", &failure)),
        }
    }
}

/// By time; what has the same time stays in the order in which it was printed.
fn in_order(lines: &mut [PrintedLine]) {
    lines.sort_by(|one, other| one.at.cmp(&other.at));
}

fn written(stream: &LogStream) -> i64 {
    stream.last_event_timestamp().max(stream.creation_time()).unwrap_or_default()
}

fn line(stream: &str, at: Option<i64>, message: Option<&str>) -> PrintedLine {
    let at = at.and_then(|at| Timestamp::from_millisecond(at).ok());
    PrintedLine {
        at: at.map(|at| format!("{at:.3}")).unwrap_or_default(),
        source: stream.to_owned(),
        text: message.unwrap_or_default().trim_end().to_owned(),
    }
}
