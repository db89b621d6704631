//! A row as DynamoDB's items hold it, and back.

use std::collections::{BTreeSet, HashMap};

use aws_sdk_dynamodb::types::AttributeValue;
use rowhouse_core::{
    Attribute, Commit, Generation, Report, Row, RowKey, Status, Target, UserAttributes, Value,
};

/// An item, as the SDK has it.
pub(crate) type Item = HashMap<String, AttributeValue>;

/// Reads an item; `None`: it has no key that could be a row's, which the table's own schema rules
/// out.
pub(crate) fn row(item: &Item) -> Option<Row> {
    let AttributeValue::S(key) = item.get("Name")? else { return None };
    Some(Row { key: RowKey(key.clone()), user: user(item), report: report(item), seq: seq(item) })
}

/// The user's part of an item.
pub(crate) fn user(item: &Item) -> UserAttributes {
    Attribute::ALL
        .into_iter()
        .filter_map(|attribute| {
            let stored = item.get(attribute.name())?;
            let value = if attribute == Attribute::Domains { list(stored) } else { None };
            Some((attribute, value.or_else(|| self::value(stored))?))
        })
        .collect()
}

/// A list, or a set of texts in order; `None`: it is neither.
#[expect(clippy::wildcard_enum_match_arm, reason = "as for `value`")]
fn list(stored: &AttributeValue) -> Option<Value> {
    Some(Value::List(match stored {
        AttributeValue::L(items) => {
            items.iter().map(|item| value(item).unwrap_or(Value::Other("a null"))).collect()
        }
        AttributeValue::Ss(texts) => {
            let texts: BTreeSet<&String> = texts.iter().collect();
            texts.into_iter().map(|text| Value::Text(text.clone())).collect()
        }
        _ => return None,
    }))
}

fn report(item: &Item) -> Report {
    let text = |name: &str| match item.get(name) {
        Some(AttributeValue::S(text)) => Some(text.clone()),
        Some(_) | None => None,
    };
    Report {
        status: text("status").as_deref().and_then(Status::parse),
        url: text("LoadBalancer"),
        reason: text("Reason"),
        revision: text("Revision").as_deref().and_then(Commit::parse),
        healthy: number(item.get("Healthy"))
            .and_then(|count| u32::try_from(count).ok())
            .unwrap_or(0),
        generation: text("Generation").map(Generation::stored),
        target: text("Target").map(Target::stored),
    }
}

/// `Seq` as it stands; anything but a whole number counts as none.
pub(crate) fn seq(item: &Item) -> u64 {
    number(item.get("Seq")).and_then(|seq| u64::try_from(seq).ok()).unwrap_or(0)
}

/// Since when a row is deploying, in seconds since 1970.
pub(crate) fn deploying_since(item: &Item) -> Option<i64> {
    let AttributeValue::S(at) = item.get("ChangedAt")? else { return None };
    let is_deploying = report(item).status == Some(Status::Deploying);
    let at: jiff::Timestamp = at.parse().ok()?;
    is_deploying.then(|| at.as_second())
}

fn number(value: Option<&AttributeValue>) -> Option<i64> {
    match value {
        Some(AttributeValue::N(text)) => text.parse().ok(),
        Some(_) | None => None,
    }
}

/// A value of whatever type; null counts as absent.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "AWS may add types, and the SDK hides its own for them"
)]
pub(crate) fn value(value: &AttributeValue) -> Option<Value> {
    Some(match value {
        AttributeValue::Null(_) => return None,
        AttributeValue::S(text) => Value::Text(text.clone()),
        AttributeValue::N(text) => numeric(text),
        AttributeValue::Bool(flag) => Value::Boolean(*flag),
        AttributeValue::M(entries) => Value::Map(
            entries
                .iter()
                .map(|(key, entry)| {
                    (key.clone(), self::value(entry).unwrap_or(Value::Other("a null")))
                })
                .collect(),
        ),
        AttributeValue::L(_) => Value::Other("a list"),
        AttributeValue::B(_) => Value::Other("binary"),
        AttributeValue::Ss(_) => Value::Other("a set of texts"),
        AttributeValue::Ns(_) => Value::Other("a set of numbers"),
        AttributeValue::Bs(_) => Value::Other("a set of binaries"),
        _ => Value::Other("of an unknown type"),
    })
}

/// A number of DynamoDB, which has up to 38 digits.
fn numeric(text: &str) -> Value {
    match (text.parse::<i64>(), text.parse::<f64>()) {
        (Ok(whole), _) => Value::Whole(whole),
        (Err(_), Ok(real)) => Value::Real(real),
        (Err(_), Err(_)) => Value::Other("a number that cannot be read"),
    }
}

/// A value as the item would hold it; `None` where the value alone does not say it exactly.
pub(crate) fn attribute(value: &Value) -> Option<AttributeValue> {
    Some(match value {
        Value::Text(text) => AttributeValue::S(text.clone()),
        Value::Whole(number) => AttributeValue::N(number.to_string()),
        Value::Boolean(flag) => AttributeValue::Bool(*flag),
        Value::Map(entries) => AttributeValue::M(
            entries
                .iter()
                .map(|(key, entry)| Some((key.clone(), attribute(entry)?)))
                .collect::<Option<HashMap<_, _>>>()?,
        ),
        Value::List(items) => {
            AttributeValue::L(items.iter().map(attribute).collect::<Option<Vec<_>>>()?)
        }
        Value::Real(_) | Value::Other(_) => return None,
    })
}

/// The set of texts that is read as this list; `None`: there is none.
fn set(value: &Value) -> Option<AttributeValue> {
    let Value::List(items) = value else { return None };
    let texts = items.iter().map(|item| match item {
        Value::Text(text) => Some(text.clone()),
        Value::Whole(_)
        | Value::Real(_)
        | Value::Boolean(_)
        | Value::Map(_)
        | Value::List(_)
        | Value::Other(_) => None,
    });
    let texts = texts.collect::<Option<Vec<String>>>()?;
    let is_set = !texts.is_empty() && texts.is_sorted_by(|one, other| one < other);
    is_set.then_some(AttributeValue::Ss(texts))
}

/// What a claim asks of the item: that it stands as `seen` shows it.
#[derive(Debug, Default)]
pub(crate) struct Condition {
    clauses: Vec<String>,
    pub(crate) names: HashMap<String, String>,
    pub(crate) values: HashMap<String, AttributeValue>,
}

impl Condition {
    /// The row exists, and `Seq` and every user attribute are as they were read.
    pub(crate) fn as_seen(seen: &Row) -> Condition {
        let mut condition = Condition::default();
        condition.names.insert("#Name".to_owned(), "Name".to_owned());
        condition.clauses.push("attribute_exists(#Name)".to_owned());
        condition.seq(seen.seq);
        for attribute in Attribute::ALL {
            condition.user(attribute, seen.user.get(&attribute));
        }
        condition
    }

    /// There is no such row.
    pub(crate) fn none_there() -> Condition {
        let mut condition = Condition::default();
        condition.names.insert("#Name".to_owned(), "Name".to_owned());
        condition.clauses.push("attribute_not_exists(#Name)".to_owned());
        condition
    }

    /// There is a row in which no user has written anything.
    pub(crate) fn nothing_wanted() -> Condition {
        let mut condition = Condition::default();
        for attribute in Attribute::ALL {
            condition.names.insert(format!("#{}", attribute.name()), attribute.name().to_owned());
            condition.user(attribute, None);
        }
        condition
    }

    /// The expression of all of it.
    pub(crate) fn expression(&self) -> String {
        self.clauses.join(" AND ")
    }

    fn seq(&mut self, seq: u64) {
        self.names.insert("#Seq".to_owned(), "Seq".to_owned());
        self.values.insert(":seen".to_owned(), AttributeValue::N(seq.to_string()));
        let same = if seq == 0 {
            // Absent, zero, or something that is no count of ours.
            self.kind(":number", "N");
            "(NOT attribute_type(#Seq, :number) OR #Seq <= :seen)"
        } else {
            "#Seq = :seen"
        };
        self.clauses.push(same.to_owned());
    }

    fn user(&mut self, attribute: Attribute, seen: Option<&Value>) {
        let name = attribute.name();
        self.names.insert(format!("#{name}"), name.to_owned());
        let clause = match seen {
            None => {
                self.kind(":null", "NULL");
                format!("(attribute_not_exists(#{name}) OR attribute_type(#{name}, :null))")
            }
            Some(value) => match self::attribute(value) {
                Some(exact) => {
                    self.values.insert(format!(":{name}"), exact);
                    match set(value) {
                        // It was read from the one or from the other, which mean the same.
                        Some(set) => {
                            self.values.insert(format!(":{name}Set"), set);
                            format!("(#{name} = :{name} OR #{name} = :{name}Set)")
                        }
                        None => format!("#{name} = :{name}"),
                    }
                }
                None => self.alike(name, value),
            },
        };
        self.clauses.push(clause);
    }

    /// As near as a value that no attribute may have can be compared. Such a row is invalid
    /// whatever it says exactly, so that no more than an answer depends on it.
    fn alike(&mut self, name: &str, value: &Value) -> String {
        match value {
            Value::Real(number) => {
                let bound = |number: f64| AttributeValue::N(number.to_string());
                self.values.insert(format!(":{name}From"), bound(number.next_down()));
                self.values.insert(format!(":{name}To"), bound(number.next_up()));
                format!("#{name} BETWEEN :{name}From AND :{name}To")
            }
            Value::Map(entries) => {
                self.kind(":map", "M");
                let size = AttributeValue::N(entries.len().to_string());
                self.values.insert(format!(":{name}Size"), size);
                format!("(attribute_type(#{name}, :map) AND size(#{name}) = :{name}Size)")
            }
            Value::List(items) => {
                self.kind(":list", "L");
                let size = AttributeValue::N(items.len().to_string());
                self.values.insert(format!(":{name}Size"), size);
                format!("(attribute_type(#{name}, :list) AND size(#{name}) = :{name}Size)")
            }
            Value::Text(_) | Value::Whole(_) | Value::Boolean(_) | Value::Other(_) => {
                format!("attribute_exists(#{name})")
            }
        }
    }

    fn kind(&mut self, placeholder: &str, kind: &str) {
        self.values.insert(placeholder.to_owned(), AttributeValue::S(kind.to_owned()));
    }
}

/// What a write says: the reactor's attributes as an update expression, absent ones removed.
#[derive(Debug, Default)]
pub(crate) struct Change {
    sets: Vec<String>,
    removes: Vec<String>,
    pub(crate) names: HashMap<String, String>,
    pub(crate) values: HashMap<String, AttributeValue>,
}

impl Change {
    /// To `report`, with `Seq` raised by one; `changed_at` where the status is news.
    pub(crate) fn to(report: &Report, seq: u64, changed_at: Option<&str>) -> Change {
        let text =
            |text: &str| Some(AttributeValue::S(text.to_owned())).filter(|_| !text.is_empty());
        let mut change = Change::default();
        change.put("status", report.status.and_then(|status| text(status.as_str())));
        change.put("LoadBalancer", report.url.as_deref().and_then(text));
        change.put("Reason", report.reason.as_deref().and_then(text));
        change.put("Revision", report.revision.as_ref().and_then(|commit| text(commit.as_str())));
        change.put("Healthy", Some(AttributeValue::N(report.healthy.to_string())));
        change
            .put("Generation", report.generation.as_ref().and_then(|digest| text(digest.as_str())));
        change.put("Target", report.target.as_ref().and_then(|digest| text(digest.as_str())));
        change.put("Seq", Some(AttributeValue::N((seq + 1).to_string())));
        if let Some(at) = changed_at {
            change.put("ChangedAt", text(at));
        }
        change
    }

    /// The expression of all of it.
    pub(crate) fn expression(&self) -> String {
        let mut parts = vec![format!("SET {}", self.sets.join(", "))];
        if !self.removes.is_empty() {
            parts.push(format!("REMOVE {}", self.removes.join(", ")));
        }
        parts.join(" ")
    }

    fn put(&mut self, name: &str, value: Option<AttributeValue>) {
        self.names.insert(format!("#{name}"), name.to_owned());
        match value {
            Some(value) => {
                self.sets.push(format!("#{name} = :{name}New"));
                self.values.insert(format!(":{name}New"), value);
            }
            None => self.removes.push(format!("#{name}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn values_are_read_as_what_they_are() {
        let map = AttributeValue::M(HashMap::from([(
            "KEY".to_owned(),
            AttributeValue::S("value".to_owned()),
        )]));
        let entries = BTreeMap::from([("KEY".to_owned(), Value::Text("value".to_owned()))]);
        for (attribute, expected) in [
            (AttributeValue::S("main".to_owned()), Some(Value::Text("main".to_owned()))),
            (AttributeValue::N("2".to_owned()), Some(Value::Whole(2))),
            (AttributeValue::N("2.7".to_owned()), Some(Value::Real(2.7))),
            (AttributeValue::N("99999999999999999999".to_owned()), Some(Value::Real(1e20))),
            (AttributeValue::Bool(true), Some(Value::Boolean(true))),
            (AttributeValue::Null(true), None),
            (AttributeValue::L(Vec::new()), Some(Value::Other("a list"))),
            (map, Some(Value::Map(entries))),
        ] {
            assert_eq!(value(&attribute), expected, "{attribute:?}");
        }
    }

    #[test]
    fn domains_are_a_list_or_a_set_and_any_other_list_is_none() {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let list = |texts: &[&str]| {
            AttributeValue::L(
                texts.iter().map(|text| AttributeValue::S((*text).to_owned())).collect(),
            )
        };
        let read = |attribute: Attribute, stored: AttributeValue| {
            user(&Item::from([(attribute.name().to_owned(), stored)])).remove(&attribute)
        };
        let names = |names: &[&str]| {
            Value::List(names.iter().map(|name| Value::Text((*name).to_owned())).collect())
        };
        let ordered = Some(names(&["a.example", "b.example"]));
        let set = AttributeValue::Ss(texts(&["b.example", "a.example"]));
        assert_eq!(read(Attribute::Domains, set.clone()), ordered);
        assert_eq!(read(Attribute::Domains, list(&["a.example", "b.example"])), ordered);
        assert_eq!(read(Attribute::Domains, list(&[])), Some(names(&[])));
        let text = AttributeValue::S("a.example".to_owned());
        assert_eq!(read(Attribute::Domains, text), Some(Value::Text("a.example".to_owned())));
        assert_eq!(read(Attribute::Env, set), Some(Value::Other("a set of texts")));
        assert_eq!(read(Attribute::Env, list(&["a"])), Some(Value::Other("a list")));
    }

    #[test]
    fn a_claim_names_every_attribute_and_fits_into_an_expression() {
        let names = ["a.example", "b.example"].map(|name| Value::Text(name.to_owned()));
        let user = Attribute::ALL.map(|attribute| (attribute, Value::List(names.to_vec())));
        for user in [UserAttributes::from(user), UserAttributes::new()] {
            let key = RowKey("shop".to_owned());
            let row = Row { key, user, report: Report::default(), seq: 3 };
            let condition = Condition::as_seen(&row);
            let expression = condition.expression();
            for attribute in Attribute::ALL {
                assert!(expression.contains(&format!("#{}", attribute.name())), "{attribute:?}");
            }
            // <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html>
            assert!(expression.len() <= 4096, "{}", expression.len());
        }
    }

    #[test]
    fn a_report_is_read_back_as_it_was_written() {
        let report = Report {
            status: Some(Status::DeployFailed),
            url: Some("https://shop.example.com".to_owned()),
            reason: Some("it exits".to_owned()),
            revision: Commit::parse(&"a".repeat(40)),
            healthy: 2,
            generation: Some(Generation::stored("v1-g")),
            target: Some(Target::stored("v1-t")),
        };
        let change = Change::to(&report, 6, Some("2026-01-01T00:00:00Z"));
        let item: Item = change
            .values
            .iter()
            .map(|(name, value)| {
                (name.trim_start_matches(':').trim_end_matches("New").to_owned(), value.clone())
            })
            .collect();
        assert_eq!(self::report(&item), report);
        assert_eq!(seq(&item), 7);
        assert_eq!(item.get("ChangedAt").unwrap().as_s().unwrap(), "2026-01-01T00:00:00Z");
    }
}
