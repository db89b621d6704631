//! The table of rows on DynamoDB: consistent reads, conditional writes, a paged scan.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{BuildError, SdkError};
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::operation::update_item::{UpdateItemError, UpdateItemOutput};
use aws_sdk_dynamodb::types::{
    AttributeValue, Delete, Put, ReturnValue, Select, TransactWriteItem, Update,
};
use jiff::Timestamp;
use rowhouse_core::{AppTable, Entry, Found, Report, Row, RowKey, Unreachable, Written};

use crate::history::{self, Before, ENTRIES_FROM, EXPIRES_AT};
use crate::identity::{Identity, identity};
use crate::item::{self, Change, Condition, Item};
use crate::orphans::Orphans;
use crate::refusal::Failure;

/// The table `apps-db`, and the history beside it where there is one.
#[derive(Clone, Debug)]
pub struct DynamoTable {
    pub(crate) client: Client,
    pub(crate) name: String,
    pub(crate) history: Option<String>,
    orphans: Option<Orphans>,
    /// How old the oldest wish is, in seconds, that was not deployed when the rows were last
    /// listed.
    oldest_undeployed: Arc<AtomicI64>,
}

impl DynamoTable {
    /// The table of that name; `history`: the name of the history's. By itself it cannot tell what
    /// was removed from it.
    pub fn new(client: Client, name: String, history: Option<String>) -> DynamoTable {
        DynamoTable { client, name, history, orphans: None, oldest_undeployed: Arc::default() }
    }

    /// The same table for a reactor, which knows what was absent from the beginning.
    #[must_use]
    pub fn knowing(self, orphans: Orphans) -> DynamoTable {
        DynamoTable { orphans: Some(orphans), ..self }
    }

    /// By what this table is known to whoever asks.
    ///
    /// # Errors
    /// DynamoDB does not answer, or the table is being made or deleted.
    pub async fn identity(&self) -> Result<Identity, Failure> {
        identity(&self.client, &self.name).await
    }

    /// By what it is known, if it can be: asked before its rows are read.
    async fn met(&self) -> Result<Option<(&Orphans, Identity)>, Unreachable> {
        let Some(orphans) = &self.orphans else { return Ok(None) };
        Ok(Box::pin(orphans.meet()).await?.map(|identity| (orphans, identity)))
    }

    /// How old the oldest wish is, in seconds, that was not deployed when the rows were last
    /// listed.
    pub(crate) fn oldest_undeployed(&self) -> i64 {
        self.oldest_undeployed.load(Ordering::Relaxed)
    }

    /// A row, and by what the table was known before it was read.
    async fn read(
        &self,
        key: &RowKey,
    ) -> Result<(Option<(&Orphans, Identity)>, Option<Row>), Unreachable> {
        let met = self.met().await?;
        let item = self.item(key).await.map_err(Failure::into_unreachable)?;
        Ok((met, item.as_ref().and_then(item::row)))
    }

    /// One item, read consistently.
    pub(crate) async fn item(&self, key: &RowKey) -> Result<Option<Item>, Failure> {
        if !can_be_a_key(key) {
            return Ok(None);
        }
        let sent = self
            .client
            .get_item()
            .table_name(&self.name)
            .set_key(Some(self::key(key)))
            .consistent_read(true)
            .send()
            .await;
        Ok(sent.map_err(|error| self.failure("cannot read", &error))?.item)
    }

    /// Shows every item to `each`, in no order and a page at a time: no more of them is held than
    /// one page.
    pub(crate) async fn scan(&self, mut each: impl FnMut(&Item)) -> Result<(), Failure> {
        let mut start = None;
        loop {
            let sent = self
                .client
                .scan()
                .table_name(&self.name)
                .select(Select::AllAttributes)
                .consistent_read(true)
                .set_exclusive_start_key(start)
                .send()
                .await;
            let output = sent.map_err(|error| self.failure("cannot list", &error))?;
            output.items().iter().for_each(&mut each);
            start = output.last_evaluated_key;
            if start.is_none() {
                return Ok(());
            }
        }
    }

    /// The answer to a write: the row with the report, or that the condition did not hold.
    async fn update(
        &self,
        seen: &Row,
        condition: &Condition,
        change: &Change,
    ) -> Result<Written, Unreachable> {
        let sent = self
            .client
            .update_item()
            .table_name(&self.name)
            .set_key(Some(key(&seen.key)))
            .condition_expression(condition.expression())
            .update_expression(change.expression())
            .set_expression_attribute_names(Some(merged(&condition.names, &change.names)))
            .set_expression_attribute_values(Some(merged(&condition.values, &change.values)))
            .return_values(ReturnValue::AllNew)
            .send()
            .await;
        self.written(sent).map_err(Failure::into_unreachable)
    }

    /// The answer to a conditional write that asked for the row as it is then.
    pub(crate) fn written(
        &self,
        sent: Result<UpdateItemOutput, SdkError<UpdateItemError>>,
    ) -> Result<Written, Failure> {
        match sent {
            Ok(output) => {
                let row = output.attributes.as_ref().and_then(item::row);
                row.map(Written::Done)
                    .ok_or_else(|| self.own_failure("the answer to a write had no row"))
            }
            Err(error) if is_condition(&error) => Ok(Written::Lost),
            Err(error) => Err(self.failure("cannot write", &error)),
        }
    }

    /// Row, history and release in one transaction, as the contract asks.
    async fn update_with(
        &self,
        seen: &Row,
        report: &Report,
        (condition, change): (&Condition, &Change),
        (history, entry): (&str, &Entry),
    ) -> Result<Written, Unreachable> {
        let before = history::before(&self.entries(history, &seen.key).await?, entry);
        if before.is_told {
            return self.update(seen, condition, change).await;
        }
        let incomplete = |error| self.unreachable(&format!("cannot write: {error}"));
        let update = Update::builder()
            .table_name(&self.name)
            .set_key(Some(key(&seen.key)))
            .condition_expression(condition.expression())
            .update_expression(change.expression())
            .set_expression_attribute_names(Some(merged(&condition.names, &change.names)))
            .set_expression_attribute_values(Some(merged(&condition.values, &change.values)))
            .build()
            .map_err(incomplete)?;
        let mut steps = vec![TransactWriteItem::builder().update(update).build()];
        steps.extend(told(history, &seen.key, entry, &before).map_err(incomplete)?);
        let sent = self.client.transact_write_items().set_transact_items(Some(steps)).send().await;
        match sent {
            Ok(_) => Ok(Written::Done(seen.reported(report.clone()))),
            Err(error) => match error.as_service_error() {
                Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
                    // Which of the steps it was: the row's condition, or somebody else at work on
                    // the same items.
                    let first = cancelled.cancellation_reasons().first();
                    if first.and_then(|reason| reason.code()) == Some("ConditionalCheckFailed") {
                        Ok(Written::Lost)
                    } else {
                        Err(self.unreachable("cannot write: somebody else writes the same row"))
                    }
                }
                Some(_) | None => Err(self.failed("cannot write", &error)),
            },
        }
    }

    /// An app's entries, newest first: those that are kept and a page more.
    async fn entries(&self, history: &str, app: &RowKey) -> Result<Vec<Item>, Unreachable> {
        let sent = self
            .client
            .query()
            .table_name(history)
            .key_condition_expression("#Name = :Name AND #At >= :from")
            .projection_expression("#At, #Number, #Generation, #Target, #status")
            .expression_attribute_names("#Name", "Name")
            .expression_attribute_names("#At", "At")
            .expression_attribute_names("#Number", "Number")
            .expression_attribute_names("#Generation", "Generation")
            .expression_attribute_names("#Target", "Target")
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":Name", AttributeValue::S(app.0.clone()))
            .expression_attribute_values(":from", AttributeValue::S(ENTRIES_FROM.to_owned()))
            .consistent_read(true)
            .scan_index_forward(false)
            .send()
            .await;
        let output = sent.map_err(|error| self.failed("cannot read the history", &error))?;
        Ok(output.items.unwrap_or_default())
    }

    /// Lets the entries and releases of apps without a row expire; those of apps that have one
    /// again are kept.
    pub async fn expire_history(&self, rows: &BTreeSet<RowKey>) -> Result<(), Unreachable> {
        let Some(history) = &self.history else { return Ok(()) };
        let mut start = None;
        loop {
            let sent = self
                .client
                .scan()
                .table_name(history)
                .projection_expression("#Name, #At, #Expires")
                .expression_attribute_names("#Name", "Name")
                .expression_attribute_names("#At", "At")
                .expression_attribute_names("#Expires", EXPIRES_AT)
                .set_exclusive_start_key(start)
                .send()
                .await;
            let output = sent.map_err(|error| self.failed("cannot read the history", &error))?;
            for entry in output.items() {
                self.keep_or_expire(history, entry, rows).await?;
            }
            start = output.last_evaluated_key;
            if start.is_none() {
                return Ok(());
            }
        }
    }

    async fn keep_or_expire(
        &self,
        history: &str,
        entry: &Item,
        rows: &BTreeSet<RowKey>,
    ) -> Result<(), Unreachable> {
        let Some(AttributeValue::S(name)) = entry.get("Name") else { return Ok(()) };
        let is_wanted = rows.contains(&RowKey(name.clone()));
        let expires = entry.contains_key(EXPIRES_AT);
        if is_wanted != expires {
            return Ok(());
        }
        let key: Item = ["Name", "At"]
            .into_iter()
            .filter_map(|name| Some((name.to_owned(), entry.get(name)?.clone())))
            .collect();
        let request = self
            .client
            .update_item()
            .table_name(history)
            .set_key(Some(key))
            .condition_expression("attribute_exists(#At)")
            .expression_attribute_names("#At", "At")
            .expression_attribute_names("#Expires", EXPIRES_AT);
        let request = if is_wanted {
            request.update_expression("REMOVE #Expires")
        } else {
            let at = AttributeValue::N(history::expiry(Timestamp::now()).to_string());
            request.update_expression("SET #Expires = :at").expression_attribute_values(":at", at)
        };
        match request.send().await {
            Ok(_) => Ok(()),
            Err(error) if is_condition(&error) => Ok(()),
            Err(error) => Err(self.failed("cannot write the history", &error)),
        }
    }

    fn failed<E, R>(&self, doing: &str, error: &SdkError<E, R>) -> Unreachable
    where
        E: aws_smithy_types::error::metadata::ProvideErrorMetadata + std::error::Error + 'static,
        R: std::fmt::Debug + 'static,
    {
        self.failure(doing, error).into_unreachable()
    }

    /// What an operation on this table failed with, and on which one that was.
    pub(crate) fn failure<E, R>(&self, doing: &str, error: &SdkError<E, R>) -> Failure
    where
        E: aws_smithy_types::error::metadata::ProvideErrorMetadata + std::error::Error + 'static,
        R: std::fmt::Debug + 'static,
    {
        let failure = Failure::of(error);
        let code = failure.code.clone();
        let Unreachable { reason } =
            failure.unreachable(&format!("{doing}: table `{}`", self.name));
        Failure { code, message: reason }
    }

    /// A failure that AWS has no code for.
    pub(crate) fn own_failure(&self, what: &str) -> Failure {
        Failure { code: String::new(), message: format!("{what}: table `{}`", self.name) }
    }

    fn unreachable(&self, what: &str) -> Unreachable {
        self.own_failure(what).into_unreachable()
    }
}

impl AppTable for DynamoTable {
    /// Within one table a row vanishes only by a deletion: what is absent was removed, but for the
    /// orphans. A row that is seen is none.
    async fn get(&self, key: &RowKey) -> Result<Found, Unreachable> {
        let (mut met, mut row) = self.read(key).await?;
        if let Some(orphans) = &self.orphans
            && row.as_ref().is_some_and(|row| row.user.is_empty() && !row.is_answered())
        {
            // By such a row an orphan is removed, who waits for its answer: that is given for
            // nothing but the table that is there now.
            orphans.look_anew().await;
            (met, row) = self.read(key).await?;
        }
        let Some(row) = row else {
            return match &self.orphans {
                Some(orphans) => Box::pin(orphans.find(key)).await,
                None => Ok(Found::Absent),
            };
        };
        if let Some((orphans, identity)) = met {
            orphans.take_off(&identity, std::iter::once(&row.key)).await?;
        }
        Ok(Found::Row(row))
    }

    async fn write(
        &self,
        seen: &Row,
        report: &Report,
        entry: Option<&Entry>,
    ) -> Result<Written, Unreachable> {
        let condition = Condition::as_seen(seen);
        let now = format!("{:.3}", Timestamp::now());
        let changed_at = (seen.report.status != report.status).then_some(now.as_str());
        let change = Change::to(report, seen.seq, changed_at);
        match (&self.history, entry) {
            (Some(history), Some(entry)) => {
                self.update_with(seen, report, (&condition, &change), (history, entry)).await
            }
            (_, _) => self.update(seen, &condition, &change).await,
        }
    }

    async fn list(&self) -> Result<Vec<Row>, Unreachable> {
        let met = self.met().await?;
        let (mut rows, mut oldest) = (Vec::new(), 0);
        let now = Timestamp::now().as_second();
        self.scan(|item| {
            oldest = item::deploying_since(item).map_or(oldest, |since| oldest.max(now - since));
            rows.extend(item::row(item));
        })
        .await
        .map_err(Failure::into_unreachable)?;
        self.oldest_undeployed.store(oldest, Ordering::Relaxed);
        if let Some((orphans, identity)) = met {
            orphans.take_off(&identity, rows.iter().map(|row: &Row| &row.key)).await?;
        }
        rows.sort_by(|one, other| one.key.cmp(&other.key));
        Ok(rows)
    }
}

/// The steps by which the history tells of an end: the entry and its release are put, those that
/// are too many are deleted.
fn told(
    table: &str,
    app: &RowKey,
    entry: &Entry,
    before: &Before,
) -> Result<Vec<TransactWriteItem>, BuildError> {
    let put = |item: Item| -> Result<TransactWriteItem, BuildError> {
        let put = Put::builder().table_name(table).set_item(Some(item)).build()?;
        Ok(TransactWriteItem::builder().put(put).build())
    };
    let delete = |key: Item| -> Result<TransactWriteItem, BuildError> {
        let delete = Delete::builder().table_name(table).set_key(Some(key)).build()?;
        Ok(TransactWriteItem::builder().delete(delete).build())
    };
    let mut steps = vec![put(history::item(app, Timestamp::now(), before.number, entry))?];
    if let Some(release) = history::release(app, entry) {
        steps.push(put(release)?);
    }
    for at in &before.surplus {
        steps.push(delete(history::key(app, at))?);
    }
    for generation in &before.unspoken {
        steps.push(delete(history::release_key(app, generation))?);
    }
    Ok(steps)
}

pub(crate) fn key(key: &RowKey) -> Item {
    Item::from([("Name".to_owned(), AttributeValue::S(key.0.clone()))])
}

/// DynamoDB takes keys of 1 to 2,048 bytes; anything else names no row.
pub(crate) fn can_be_a_key(key: &RowKey) -> bool {
    (1..=2048).contains(&key.as_str().len())
}

pub(crate) fn merged<V: Clone>(
    one: &HashMap<String, V>,
    other: &HashMap<String, V>,
) -> HashMap<String, V> {
    one.iter().chain(other).map(|(name, value)| (name.clone(), value.clone())).collect()
}

pub(crate) fn is_condition<E, R>(error: &SdkError<E, R>) -> bool
where
    E: aws_smithy_types::error::metadata::ProvideErrorMetadata,
{
    aws_smithy_types::error::metadata::ProvideErrorMetadata::code(error)
        == Some("ConditionalCheckFailedException")
}
