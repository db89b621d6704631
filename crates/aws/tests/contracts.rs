//! The suites that every table and every platform must pass, on DynamoDB and on CloudFormation in
//! an emulator.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod emulator;
mod installation;

use std::collections::HashMap;
use std::process::Command;

use aws_sdk_dynamodb::types::AttributeValue;
use aws_smithy_types::error::metadata::ProvideErrorMetadata as _;
use emulator::{Emulator, until};
use installation::{Difference, Installation, Mischief};
use rowhouse_aws::config::Config;
use rowhouse_aws::{CloudFormationPlatform, DynamoTable, Orphans};
use rowhouse_core::testing::{Kind, PlatformDriver, TableUser, platform_contract, table_contract};
use rowhouse_core::{
    AppName, AppTable, Attribute, Commit, Entry, Found, Generation, Release, Report, Row, RowKey,
    Unreachable, UserAttributes, Value, Written,
};

const ENDPOINT: &str = "ROWHOUSE_TEST_ENDPOINT";

/// The tables, as the platform's template makes them.
const TABLES: &str = "
Resources:
  Rows:
    Type: AWS::DynamoDB::Table
    Properties:
      TableName: apps-db
      BillingMode: PAY_PER_REQUEST
      AttributeDefinitions: [{AttributeName: Name, AttributeType: S}]
      KeySchema: [{AttributeName: Name, KeyType: HASH}]
  History:
    Type: AWS::DynamoDB::Table
    Properties:
      TableName: apps-history
      BillingMode: PAY_PER_REQUEST
      AttributeDefinitions:
        - {AttributeName: Name, AttributeType: S}
        - {AttributeName: At, AttributeType: S}
      KeySchema:
        - {AttributeName: Name, KeyType: HASH}
        - {AttributeName: At, KeyType: RANGE}
";

/// The table, and its user, who has a client of his own.
struct House {
    table: DynamoTable,
    endpoint: String,
}

impl House {
    /// What the user does, on a thread of its own: the suite does not wait for him.
    fn user<T: Send>(&self, act: impl AsyncFnOnce(aws_sdk_dynamodb::Client) -> T + Send) -> T {
        std::thread::scope(|scope| {
            let acting = scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.unwrap().block_on(async {
                    let config = emulator::config(&self.endpoint).await;
                    act(aws_sdk_dynamodb::Client::new(&config)).await
                })
            });
            acting.join().unwrap()
        })
    }
}

fn attribute(value: &Value) -> AttributeValue {
    match value {
        Value::Text(text) => AttributeValue::S(text.clone()),
        Value::Whole(number) => AttributeValue::N(number.to_string()),
        Value::Real(number) => AttributeValue::N(number.to_string()),
        Value::Map(map) => AttributeValue::M(
            map.iter().map(|(name, value)| (name.clone(), attribute(value))).collect(),
        ),
        Value::List(items) => AttributeValue::L(items.iter().map(attribute).collect()),
        other @ (Value::Boolean(_) | Value::Other(_)) => panic!("no suite writes {other:?}"),
    }
}

fn item(key: &str, user: &UserAttributes) -> HashMap<String, AttributeValue> {
    let pairs = user.iter().map(|(name, value)| (name.name().to_owned(), attribute(value)));
    pairs.chain([("Name".to_owned(), AttributeValue::S(key.to_owned()))]).collect()
}

fn table(client: aws_sdk_dynamodb::Client) -> DynamoTable {
    DynamoTable::new(client, "apps-db".to_owned(), Some("apps-history".to_owned()))
}

impl TableUser for House {
    fn replace(&self, key: &str, user: &UserAttributes) {
        let item = item(key, user);
        self.user(async move |client| {
            client.put_item().table_name("apps-db").set_item(Some(item)).send().await.unwrap();
        });
    }

    fn set(&self, key: &str, name: Attribute, value: Option<&Value>) {
        let (key, value) = (AttributeValue::S(key.to_owned()), value.map(attribute));
        self.user(async move |client| {
            let request = client.update_item().table_name("apps-db").key("Name", key);
            let request = request.expression_attribute_names("#it", name.name());
            let request = match value {
                Some(value) => request
                    .update_expression("SET #it = :it")
                    .expression_attribute_values(":it", value),
                None => request.update_expression("REMOVE #it"),
            };
            request.send().await.unwrap();
        });
    }

    fn delete(&self, key: &str) {
        let key = AttributeValue::S(key.to_owned());
        self.user(async move |client| {
            client.delete_item().table_name("apps-db").key("Name", key).send().await.unwrap();
        });
    }

    fn entries(&self, key: &str) -> usize {
        let key = RowKey(key.to_owned());
        self.user(async move |client| table(client).history(&key).await.unwrap().len())
    }

    fn release(&self, key: &str, generation: &Generation) -> Option<Release> {
        let key = RowKey(key.to_owned());
        let releases = self.user(async move |client| table(client).releases(&key).await.unwrap());
        releases.get(generation).cloned()
    }

    /// As DynamoDB itself says.
    fn takes(&self, key: &str) -> bool {
        let item = item(key, &UserAttributes::new());
        let refused = self.user(async move |client| {
            let sent = client.put_item().table_name("apps-db").set_item(Some(item)).send().await;
            sent.err().map(|error| error.code().unwrap_or_default().to_owned())
        });
        if let Some(code) = &refused {
            assert_eq!(code, "ValidationException");
        } else {
            self.delete(key);
        }
        refused.is_none()
    }
}

impl AppTable for House {
    async fn get(&self, key: &RowKey) -> Result<Found, Unreachable> {
        self.table.get(key).await
    }

    async fn write(
        &self,
        seen: &Row,
        report: &Report,
        entry: Option<&Entry>,
    ) -> Result<Written, Unreachable> {
        self.table.write(seen, report, entry).await
    }

    async fn list(&self) -> Result<Vec<Row>, Unreachable> {
        self.table.list().await
    }
}

#[tokio::test]
async fn the_table_on_dynamodb_keeps_the_contract() {
    let emulator = Emulator::start().await;
    emulator.create("tables", TABLES, &[]).await;
    let client = aws_sdk_dynamodb::Client::new(&emulator.config);
    emulator.make_bucket("artifacts").await;
    let config = rowhouse_aws::config::template().replace("\"BUCKET\"", "\"artifacts\"");
    let orphans = Orphans::new(&emulator.config, &Config::parse(&config, "the test").unwrap());
    let table = table(client).knowing(orphans);
    let house = House { table, endpoint: emulator.endpoint().to_owned() };
    assert!(
        !house.takes("") && !house.takes(&"a".repeat(2_049)) && house.takes(&"a".repeat(2_048))
    );
    table_contract(&house).await;
}

/// What the suite asks of CloudFormation, whose stacks are made from `moody_template`.
struct Driver {
    stacks: aws_sdk_cloudformation::Client,
    web: reqwest::Client,
}

impl PlatformDriver for Driver {
    fn version(&self, kind: Kind) -> (String, Commit) {
        let digit = match kind {
            Kind::Good(number) => ["a", "b", "c", "d"][usize::from(number % 4)],
            Kind::Bad => "0",
            Kind::Hanging => "1",
        };
        let repository = "https://git.example.com/apps.git".to_owned();
        (repository, Commit::parse(&digit.repeat(40)).unwrap())
    }

    async fn quiet(&self, name: &AppName) {
        let stack = format!("demo-app-{name}");
        until("nothing is in progress", async || {
            let answer = self.stacks.describe_stacks().stack_name(&stack).send().await;
            let Some(found) = answer.ok().and_then(|answer| answer.stacks().first().cloned())
            else {
                return Some(());
            };
            if !emulator::status(&found).ends_with("_IN_PROGRESS") {
                return Some(());
            }
            // One that hangs; the emulator cancels between two resources.
            let handle = self.stacks.describe_stack_resource().stack_name(&stack);
            let handle = handle.logical_resource_id("Handle").send().await.ok()?;
            let handle = handle.stack_resource_detail()?.physical_resource_id()?.to_owned();
            installation::let_go_by(&self.web, &handle).await;
            None
        })
        .await;
    }

    /// `CancelUpdateStack` is for updates alone,
    /// <https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_CancelUpdateStack.html>.
    fn cancels_creations(&self) -> bool {
        false
    }
}

/// The platform reads an operator's template beside its program, and so this program runs once
/// more, beside one.
#[tokio::test]
async fn the_platform_on_cloudformation_keeps_the_contract() {
    let house = Installation::moody_with(Difference::default()).await;
    // Nobody else acts on the stacks.
    house.be_mischievous(Mischief { dropped: true, ..Mischief::default() });
    let configuration = house.reactor_configuration().await;
    let config = configuration["Environment"]["Variables"]["ROWHOUSE_CONFIG"].as_str().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("contracts");
    let this = std::env::current_exe().unwrap();
    std::fs::hard_link(&this, &program)
        .or_else(|_| std::fs::copy(&this, &program).map(drop))
        .unwrap();
    std::fs::write(folder.path().join("template.yaml"), installation::moody_template()).unwrap();
    let output = Command::new(program)
        .args(["--exact", "another_process_keeps_the_contract", "--nocapture"])
        .env(ENDPOINT, house.emulator.endpoint())
        .env("ROWHOUSE_CONFIG", config)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

/// The other process of the test above; by itself it has nothing to ask.
#[tokio::test]
async fn another_process_keeps_the_contract() {
    let Ok(endpoint) = std::env::var(ENDPOINT) else { return };
    let shared = emulator::config(&endpoint).await;
    let platform = CloudFormationPlatform::new(&shared, Config::load().unwrap());
    let stacks = aws_sdk_cloudformation::Client::new(&shared);
    platform_contract(&platform, &Driver { stacks, web: emulator::web() }).await;
}
