//! `cargo xtask bench sweep`: what the two sweeps cost where everything rests. The calls must grow
//! with the pages of the lists and not with the apps, and all of it must fit into one invocation of
//! a function of 128 MB.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::bench::account::{Account, identify};
use crate::bench::runtime_api::Function;
use crate::bench::wire::{self, Wire};
use crate::bench::{event, lambda};
use crate::tools::root;

/// So many apps are measured.
const APPS: [usize; 2] = [200, 2000];
/// As many as the stream's mapping gives the function at once.
const BATCH: usize = 100;
const TABLE: &str = "apps-db";
const BUCKET: &str = "objects-of-the-bench";
/// How often is swept until all rows have come to rest, which one sweep after the stacks does.
const SWEEPS: usize = 60;

/// Puts rows, has the reactor itself make a stack of each, and sweeps when all of them rest.
pub fn run_all() -> anyhow::Result<()> {
    let account = Account::start()?;
    let package = lambda::package(account.folder())?;
    let reactor = lambda::unpacked(&package, lambda::REACTOR)?;
    std::fs::write(reactor.join("template.yaml"), template()?)?;
    let config = prepare(&account)?;
    let wire = Wire::before(account.port())?;
    let start = |endpoint: &str| -> anyhow::Result<Function> {
        let mut command = Command::new(reactor.join("bootstrap"));
        identify(&mut command, endpoint).env("ROWHOUSE_CONFIG", &config);
        let function = Function::start(&mut command)?;
        function.ready()?;
        Ok(function)
    };
    println!(
        "\nministack lists 100 stacks a page, DynamoDB 1 MB of rows; AWS lists up to 1 MB of stacks"
    );
    println!("{:24} {:>8} {:>8} {:>8}  calls", "", "ms", "CPU ms", "peak MB");
    let mut there = 0;
    for apps in APPS {
        settle(&account, &start(&account.endpoint())?, there..apps)?;
        there = apps;
        for word in ["short-sweep", "full-sweep"] {
            let function = start(&wire.endpoint())?;
            wire.taken();
            let before = function.cpu();
            let took = function.invoke(&json!({ "rowhouse": word }).to_string())?;
            println!(
                "{:24} {:>8.0} {:>8.0} {:>8.1}  {}",
                format!("{word}, {apps} apps"),
                took.as_secs_f64() * 1000.0,
                (function.cpu() - before).as_secs_f64() * 1000.0,
                function.memory().0,
                wire::line(&wire.taken())
            );
        }
    }
    Ok(())
}

/// Parameters and outputs of an app's stack, and a resource that any emulator makes at once.
fn template() -> anyhow::Result<String> {
    let dedicated = std::fs::read_to_string(root().join("templates/app-dedicated.yaml"))?;
    let parameters = dedicated.split("\nConditions:\n").next().unwrap_or_default();
    let outputs = dedicated.split("\nOutputs:\n").nth(1).unwrap_or_default();
    Ok(format!(
        "{parameters}\n\nResources:\n  Running:\n    Type: AWS::SSM::Parameter\n    Properties: \
         {{Name: !Sub \
         '/running/${{AppName}}', Type: String, Value: !Ref Target}}\n\nOutputs:\n{outputs}"
    ))
}

/// The table and the bucket; the configuration of a function that works on them.
fn prepare(account: &Account) -> anyhow::Result<String> {
    account.aws(&[
        "dynamodb",
        "create-table",
        "--table-name",
        TABLE,
        "--billing-mode",
        "PAY_PER_REQUEST",
        "--attribute-definitions",
        "AttributeName=Name,AttributeType=S",
        "--key-schema",
        "AttributeName=Name,KeyType=HASH",
    ])?;
    account.aws(&["s3", "mb", &format!("s3://{BUCKET}")])?;
    let arn = |rest: &str| format!("arn:aws:{rest}");
    let config = json!({
        "app_database": TABLE,
        "AppsDomain": "apps.example.com",
        "AppsDomainSSLCertificate": arn("acm:eu-west-1:000000000000:certificate/1"),
        "KeyName": "",
        "CertificateBucket": BUCKET,
        "CreateElbBackendCertificatesArn":
            arn("lambda:eu-west-1:000000000000:function:CreateElbBackendCertificates"),
        "Route53HostedZoneId": "Z0123456789ABC",
        "CloudFormationNotificationArn": arn("sns:eu-west-1:000000000000:AppDemoCloudFormationSns"),
        "PartialBatch": true,
    });
    Ok(config.to_string())
}

/// Makes these apps, and waits until each is deployed and its row says so.
fn settle(
    account: &Account,
    function: &Function,
    numbers: std::ops::Range<usize>,
) -> anyhow::Result<()> {
    let all = numbers.end;
    let rows: Vec<Value> = numbers.map(row).collect();
    let file = account.folder().join("rows.json");
    std::fs::write(&file, serde_json::to_string(&rows)?)?;
    account.script(&put(&file))?;
    for rows in rows.chunks(BATCH) {
        function.invoke(&event::batch(rows).to_string())?;
    }
    for _ in 0..SWEEPS {
        function.invoke(&json!({ "rowhouse": "short-sweep" }).to_string())?;
        if account.script(COUNT)? == all.to_string() {
            return Ok(());
        }
    }
    anyhow::bail!("after {SWEEPS} sweeps not all of {all} rows are deployed")
}

fn row(number: usize) -> Value {
    json!({
        "Name": { "S": format!("app-{number:04}") },
        "Version": { "S": "a".repeat(40) },
        "Scale": { "N": "2" },
        "Repo": { "S": "https://git.example.com/apps.git" },
        "Env": { "M": { "GREETING": { "S": "hello" } } },
    })
}

fn put(file: &Path) -> String {
    format!(
        "import boto3, json\nclient = boto3.client('dynamodb')\nrows = json.load(open({:?}))\n\
         for at in range(0, len(rows), 25):\n    \
         client.batch_write_item(RequestItems={{'{TABLE}': [{{'PutRequest': {{'Item': row}}}} for \
         row in rows[at:at + 25]]}})\n",
        file.display().to_string()
    )
}

const COUNT: &str = "import boto3\n\
    pages = boto3.client('dynamodb').get_paginator('scan').paginate(TableName='apps-db')\n\
    print(sum(1 for page in pages for row in page['Items'] if row.get('status', {}).get('S') == \
    'deployed'))\n";
