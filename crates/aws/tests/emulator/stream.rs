//! The stream of a table, read and handed to a function by AWS's rules: batches in order; what
//! failed comes again from its first record on, a batch whose invocation failed in two halves; and
//! what fails too often goes to the dead letters, so that the others move on. The emulator's own
//! mapping takes a named failure for success and retries for ever.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html>,
//! <https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-params.html>

use std::collections::VecDeque;

use serde_json::{Value, json};

use crate::emulator::function::{Answer, Function};

/// An event source mapping, as the template has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mapping {
    pub(crate) batch_size: usize,
    pub(crate) maximum_retry_attempts: u32,
    pub(crate) reports_failures: bool,
    pub(crate) bisects: bool,
}

/// The one shard of a table's stream, from its oldest record on.
pub(crate) struct Shard {
    web: reqwest::Client,
    endpoint: String,
    stream: String,
    iterator: String,
    /// How many times the function was invoked, and with how many records each time.
    pub(crate) batches: Vec<usize>,
    /// The keys of the rows whose records were given up.
    pub(crate) dead_letters: Vec<Vec<String>>,
}

impl Shard {
    /// That of a stream by its ARN.
    pub(crate) async fn open(endpoint: &str, stream: &str) -> Shard {
        let web = super::web();
        let mut shard = Shard {
            web,
            endpoint: endpoint.to_owned(),
            stream: stream.to_owned(),
            iterator: String::new(),
            batches: Vec::new(),
            dead_letters: Vec::new(),
        };
        let described = shard.call("DescribeStream", &json!({ "StreamArn": stream })).await;
        let id = &described["StreamDescription"]["Shards"][0]["ShardId"];
        let from =
            json!({ "StreamArn": stream, "ShardId": id, "ShardIteratorType": "TRIM_HORIZON" });
        let answer = shard.call("GetShardIterator", &from).await;
        answer["ShardIterator"].as_str().unwrap().clone_into(&mut shard.iterator);
        shard
    }

    /// Hands what the stream has now to the function, batch by batch, until nothing is left of it.
    pub(crate) async fn drain(&mut self, mapping: Mapping, function: &Function) {
        loop {
            let wanted = json!({ "ShardIterator": self.iterator, "Limit": mapping.batch_size });
            let answer = self.call("GetRecords", &wanted).await;
            answer["NextShardIterator"].as_str().unwrap().clone_into(&mut self.iterator);
            let mut records = answer["Records"].as_array().unwrap().clone();
            if records.is_empty() {
                return;
            }
            for record in &mut records {
                record["eventSourceARN"] = json!(self.stream);
            }
            self.hand_over(records, mapping, function).await;
        }
    }

    async fn hand_over(&mut self, records: Vec<Value>, mapping: Mapping, function: &Function) {
        let mut parts = VecDeque::from([(records, 0)]);
        while let Some((mut records, tries)) = parts.pop_front() {
            self.batches.push(records.len());
            let answer = function.invoke(&json!({ "Records": records })).await;
            match kept(&records, &answer, mapping.reports_failures) {
                None => {}
                // What came before the first failure is done.
                Some(first) if first > 0 => parts.push_front((records.split_off(first), 0)),
                Some(_) if answer.is_err() && mapping.bisects && records.len() > 1 => {
                    // A split does not count as a try.
                    let later = records.split_off(records.len() / 2);
                    parts.push_front((later, tries));
                    parts.push_front((records, tries));
                }
                Some(_) if tries >= mapping.maximum_retry_attempts => {
                    self.dead_letters.push(records.iter().map(key).collect());
                }
                Some(_) => parts.push_front((records, tries + 1)),
            }
        }
    }

    async fn call(&self, operation: &str, input: &Value) -> Value {
        let target = format!("DynamoDBStreams_20120810.{operation}");
        super::call(&self.web, &self.endpoint, "dynamodb", &target, input).await
    }
}

/// The place of the first record that must come again; `None`: the batch is done.
fn kept(records: &[Value], answer: &Answer, reports_failures: bool) -> Option<usize> {
    let Ok(answer) = answer else { return Some(0) };
    let failures = answer["batchItemFailures"].as_array().filter(|_| reports_failures)?;
    let place = |failure: &Value| {
        let wanted = failure["itemIdentifier"].as_str()?;
        records.iter().position(|record| record["dynamodb"]["SequenceNumber"] == wanted)
    };
    // An identifier that is none of the batch's means all of it.
    failures.iter().map(|failure| place(failure).unwrap_or(0)).min()
}

fn key(record: &Value) -> String {
    record["dynamodb"]["Keys"]["Name"]["S"].as_str().unwrap_or_default().to_owned()
}
