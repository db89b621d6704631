//! What people do to the table: they write their part of a row, delete it, and read what the
//! reactor has answered.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use rowhouse_core::{
    Attribute, Commit, Releases, Row, RowKey, StoredEntry, StoredRow, Value, Written,
};

use crate::history::{self, ENTRIES_FROM, RELEASES};
use crate::item::{self, Condition, Item};
use crate::refusal::Failure;
use crate::table::{DynamoTable, can_be_a_key, is_condition, key, merged};

impl DynamoTable {
    /// Reads one row, consistently.
    ///
    /// # Errors
    /// The table does not answer.
    pub async fn stored(&self, key: &RowKey) -> Result<Option<StoredRow>, Failure> {
        Ok(self.item(key).await?.as_ref().and_then(stored))
    }

    /// Reads every row, in order of the key.
    ///
    /// # Errors
    /// The table does not answer.
    pub async fn all_stored(&self) -> Result<Vec<StoredRow>, Failure> {
        let mut rows = Vec::new();
        self.scan(|item| rows.extend(stored(item))).await?;
        rows.sort_by(|one: &StoredRow, other| one.row.key.cmp(&other.row.key));
        Ok(rows)
    }

    /// Writes user attributes of a row that is as it was seen, or of a new one; `None` clears an
    /// attribute, and the others stay.
    ///
    /// # Errors
    /// The table does not answer, or a value is none that an item can hold.
    pub async fn edit(
        &self,
        key: &RowKey,
        seen: Option<&Row>,
        changes: &BTreeMap<Attribute, Option<Value>>,
    ) -> Result<Written, Failure> {
        let condition = seen.map_or_else(Condition::none_there, Condition::as_seen);
        let given = Given::of(changes)
            .ok_or_else(|| self.own_failure("cannot write: a value is none of DynamoDB's"))?;
        let values = merged(&condition.values, &given.values);
        let sent = self
            .client
            .update_item()
            .table_name(&self.name)
            .set_key(Some(self::key(key)))
            .condition_expression(condition.expression())
            .set_update_expression(given.expression())
            .set_expression_attribute_names(Some(merged(&condition.names, &given.names)))
            .set_expression_attribute_values(Some(values).filter(|values| !values.is_empty()))
            .return_values(ReturnValue::AllNew)
            .send()
            .await;
        self.written(sent)
    }

    /// Deletes a row; what it was, or `None`: there was none.
    ///
    /// # Errors
    /// The table does not answer.
    pub async fn remove(&self, key: &RowKey) -> Result<Option<Row>, Failure> {
        if !can_be_a_key(key) {
            return Ok(None);
        }
        let sent = self
            .client
            .delete_item()
            .table_name(&self.name)
            .set_key(Some(self::key(key)))
            .return_values(ReturnValue::AllOld)
            .send()
            .await;
        let output = sent.map_err(|error| self.failure("cannot delete", &error))?;
        Ok(output.attributes.as_ref().and_then(item::row))
    }

    /// Puts a row with nothing in it but its name, which the reactor answers; false: there is a row
    /// already.
    ///
    /// # Errors
    /// The table does not answer.
    pub async fn put_name(&self, key: &RowKey) -> Result<bool, Failure> {
        Ok(self.edit(key, None, &BTreeMap::new()).await? != Written::Lost)
    }

    /// Deletes a row in which nobody wants anything.
    ///
    /// # Errors
    /// The table does not answer.
    pub async fn remove_name(&self, key: &RowKey) -> Result<(), Failure> {
        let empty = Condition::nothing_wanted();
        let sent = self
            .client
            .delete_item()
            .table_name(&self.name)
            .set_key(Some(self::key(key)))
            .condition_expression(empty.expression())
            .set_expression_attribute_names(Some(empty.names))
            .set_expression_attribute_values(Some(empty.values))
            .send()
            .await;
        match sent {
            Ok(_) => Ok(()),
            // An app has come into it, and stays.
            Err(error) if is_condition(&error) => Ok(()),
            Err(error) => Err(self.failure("cannot delete", &error)),
        }
    }

    /// Reads an app's history, newest first. An installation without one has none to tell of.
    ///
    /// # Errors
    /// The table of the history does not answer.
    pub async fn history(&self, app: &RowKey) -> Result<Vec<StoredEntry>, Failure> {
        let entries = self.told(app, "#At >= :bound", ENTRIES_FROM).await?;
        Ok(entries.iter().map(entry).collect())
    }

    /// Reads the releases that an app's history speaks of, which has the values of its `Env`.
    ///
    /// # Errors
    /// The table of the history does not answer.
    pub async fn releases(&self, app: &RowKey) -> Result<Releases, Failure> {
        let stored = self.told(app, "begins_with(#At, :bound)", RELEASES).await?;
        Ok(stored.iter().filter_map(history::read_release).collect())
    }

    /// What the history has of an app, newest first, under keys that keep this condition.
    async fn told(&self, app: &RowKey, condition: &str, bound: &str) -> Result<Vec<Item>, Failure> {
        let Some(history) = &self.history else { return Ok(Vec::new()) };
        if !can_be_a_key(app) {
            return Ok(Vec::new());
        }
        let mut pages = self
            .client
            .query()
            .table_name(history)
            .key_condition_expression(format!("#Name = :Name AND {condition}"))
            .expression_attribute_names("#Name", "Name")
            .expression_attribute_names("#At", "At")
            .expression_attribute_values(":Name", AttributeValue::S(app.0.clone()))
            .expression_attribute_values(":bound", AttributeValue::S(bound.to_owned()))
            .consistent_read(true)
            .scan_index_forward(false)
            .into_paginator()
            .send();
        let mut items = Vec::new();
        while let Some(page) = pages.next().await {
            match page {
                Ok(page) => items.extend(page.items.unwrap_or_default()),
                Err(error) if Failure::of(&error).code == "ResourceNotFoundException" => break,
                Err(error) => return Err(self.failure("cannot read the history", &error)),
            }
        }
        Ok(items)
    }
}

fn text(item: &Item, name: &str) -> Option<String> {
    item.get(name)?.as_s().ok().cloned()
}

fn stored(item: &Item) -> Option<StoredRow> {
    Some(StoredRow { row: item::row(item)?, changed_at: text(item, "ChangedAt") })
}

fn entry(item: &Item) -> StoredEntry {
    let text = |name: &str| text(item, name);
    let scale = item.get("Scale").and_then(|scale| scale.as_n().ok());
    StoredEntry {
        at: text("At").unwrap_or_default(),
        number: history::number(item),
        generation: text("Generation"),
        target: text("Target"),
        version: text("Version"),
        repository: text("Repo"),
        path: text("Path"),
        revision: text("Revision").as_deref().and_then(Commit::parse),
        scale: scale.and_then(|scale| scale.parse().ok()),
        status: text("status"),
        reason: text("Reason"),
        env: text("Env"),
    }
}

/// What somebody gives of a row, as an update expression.
#[derive(Default)]
struct Given {
    sets: Vec<String>,
    removes: Vec<String>,
    names: HashMap<String, String>,
    values: HashMap<String, AttributeValue>,
}

impl Given {
    /// `None`: one of the values has no form in an item.
    fn of(changes: &BTreeMap<Attribute, Option<Value>>) -> Option<Given> {
        let mut given = Given::default();
        for (attribute, value) in changes {
            let name = attribute.name();
            given.names.insert(format!("#{name}"), name.to_owned());
            match value {
                Some(value) => {
                    let value = match (attribute, value) {
                        // A flag is a whole number in SQLite, and a boolean here.
                        (Attribute::Follow, Value::Whole(flag @ (0 | 1))) => {
                            AttributeValue::Bool(*flag == 1)
                        }
                        (_, value) => item::attribute(value)?,
                    };
                    given.values.insert(format!(":{name}Given"), value);
                    given.sets.push(format!("#{name} = :{name}Given"));
                }
                None => given.removes.push(format!("#{name}")),
            }
        }
        Some(given)
    }

    /// `None`: nothing is given.
    fn expression(&self) -> Option<String> {
        let part = |word: &str, parts: &[String]| {
            (!parts.is_empty()).then(|| format!("{word} {}", parts.join(", ")))
        };
        let parts: Vec<String> = [part("SET", &self.sets), part("REMOVE", &self.removes)]
            .into_iter()
            .flatten()
            .collect();
        (!parts.is_empty()).then(|| parts.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_is_set_or_removed_and_nothing_else_is_named() {
        let changes = BTreeMap::from([
            (Attribute::Version, Some(Value::Text("main".to_owned()))),
            (Attribute::Path, None),
        ]);
        let given = Given::of(&changes).unwrap();
        assert_eq!(given.expression().unwrap(), "SET #Version = :VersionGiven REMOVE #Path");
        assert_eq!(given.names.len(), 2);
        assert_eq!(Given::default().expression(), None);
        let other = BTreeMap::from([(Attribute::Scale, Some(Value::Other("a list")))]);
        assert!(Given::of(&other).is_none());
    }
}
