//! The quotas of an account that apps meet first, and how near they are: stacks, apps behind one
//! load balancer, processors of instances.

use aws_sdk_servicequotas::types::ServiceQuota;
use rowhouse_aws::{DynamoTable, Failure, MOST_APPS};
use rowhouse_core::{AppTable as _, Attribute, Row, Value};

use crate::account::Account;
use crate::finding::{Finding, State};
use crate::stack::{self, APPS};

const WHAT: &str = "quotas";

/// A quota as Service Quotas names it.
struct Quota {
    service: &'static str,
    code: &'static str,
    name: &'static str,
}

/// By default 2,000:
/// <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html>
const STACKS: Quota =
    Quota { service: "cloudformation", code: "L-0485CB21", name: "stacks of CloudFormation" };
const USUAL_STACKS: f64 = 2000.0;
/// New accounts begin with few:
/// <https://docs.aws.amazon.com/ec2/latest/instancetypes/ec2-instance-quotas.html>
const PROCESSORS: Quota =
    Quota { service: "ec2", code: "L-1216C47A", name: "vCPUs of instances on demand" };

/// From this part of a quota on it is told.
const NEAR: f64 = 0.8;

/// What is used, and what may be.
struct Used {
    quota: Option<&'static Quota>,
    name: &'static str,
    count: f64,
    most: f64,
    cure: String,
}

/// Counts what is used, and asks what may be. `instance_type`: of apps that run behind a load
/// balancer that they share.
pub(crate) async fn findings(
    account: &Account,
    table: &str,
    instance_type: Option<&str>,
) -> Vec<Finding> {
    let stacks = match stack::all(account).await {
        Ok(stacks) => stacks,
        Err(error) => return vec![Finding::unknown(WHAT, &error)],
    };
    let table = DynamoTable::new(account.dynamodb.clone(), table.to_owned(), None);
    // Of a table that cannot be read another check tells.
    let rows = table.list().await.unwrap_or_default();
    let mut all = Vec::new();
    let mut unasked = Vec::new();
    let most = match allowed(account, &STACKS).await {
        Ok(most) => most,
        Err(_) => USUAL_STACKS,
    };
    all.push(Used::of(&STACKS, count(stacks.len()), most));
    if let Some(kind) = instance_type {
        let apps = stacks.iter().filter(|(name, _)| name.starts_with(APPS)).count();
        all.push(Used::of_balancer(apps));
        let wanted = f64::from(scale(&rows)) * f64::from(processors(kind));
        match allowed(account, &PROCESSORS).await {
            Ok(most) => all.push(Used::of(&PROCESSORS, wanted, most)),
            Err(why) => unasked.push(Finding::fine(
                WHAT,
                format!(
                    "the rows want {wanted:.0} {}; cannot ask for the quota: {why}",
                    PROCESSORS.name
                ),
            )),
        }
    }
    let mut findings: Vec<Finding> = all.iter().filter_map(Used::problem).collect();
    if findings.is_empty() {
        let parts: Vec<String> = all.iter().map(Used::said).collect();
        findings.push(Finding::fine(WHAT, parts.join(", ")));
    }
    findings.extend(unasked);
    findings
}

impl Used {
    fn of(quota: &'static Quota, count: f64, most: f64) -> Used {
        let cure = format!(
            "`aws service-quotas request-service-quota-increase --service-code {} --quota-code \
             {} --desired-value {:.0}`",
            quota.service,
            quota.code,
            most * 2.0
        );
        Used { quota: Some(quota), name: quota.name, count, most, cure }
    }

    fn of_balancer(apps: usize) -> Used {
        Used {
            quota: None,
            name: "apps behind the load balancer",
            count: count(apps),
            most: count(MOST_APPS),
            cure: "it cannot be raised: put further apps on a second platform, in another region \
                   (`rowhouse aws --region OTHER install --domain …`) or account (`--profile`)"
                .to_owned(),
        }
    }

    fn said(&self) -> String {
        format!("{:.0} of {:.0} {}", self.count, self.most, self.name)
    }

    fn problem(&self) -> Option<Finding> {
        if self.count < self.most * NEAR {
            return None;
        }
        // What does not fit is not made; what runs is not touched.
        let is_over = self.count > self.most || self.quota.is_none() && self.count >= self.most;
        let state = if is_over { State::Broken } else { State::Warning };
        Some(Finding::bad(WHAT, state, self.said(), self.cure.clone()))
    }
}

/// The account's own value.
async fn allowed(account: &Account, quota: &Quota) -> Result<f64, String> {
    let client = aws_sdk_servicequotas::Client::new(&account.config);
    let request = client.get_service_quota().service_code(quota.service).quota_code(quota.code);
    let why = |failure: Failure| {
        if failure.code.is_empty() { "no service answers".to_owned() } else { failure.code }
    };
    let answer = request.send().await.map_err(|error| why(Failure::of(&error)))?;
    answer.quota().and_then(ServiceQuota::value).ok_or_else(|| "AWS named no value".to_owned())
}

/// How many instances the rows want together.
fn scale(rows: &[Row]) -> u32 {
    let of = |row: &Row| match row.user.get(&Attribute::Scale) {
        Some(Value::Whole(scale)) => u32::try_from(*scale).unwrap_or(0),
        Some(_) | None => 0,
    };
    rows.iter().map(of).sum()
}

/// The vCPUs of an instance's type, at the most:
/// <https://docs.aws.amazon.com/ec2/latest/instancetypes/gp.html>
fn processors(kind: &str) -> u32 {
    let size = kind.split_once('.').map_or("", |(_, size)| size);
    match size.strip_suffix("xlarge") {
        Some("") => 4,
        Some(times) => times.parse::<u32>().map_or(4, |times| times * 4),
        None => 2,
    }
}

fn count(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_told_when_it_is_near_and_breaks_when_it_is_used_up() {
        let problem =
            |used, most| Used::of(&PROCESSORS, used, most).problem().map(|one| one.to_json());
        assert!(problem(3.0, 5.0).is_none());
        let near = problem(4.0, 5.0).unwrap();
        assert_eq!(near["State"], "warning");
        assert_eq!(near["Said"], "4 of 5 vCPUs of instances on demand");
        assert!(
            near["Cure"].as_str().unwrap().contains("--quota-code L-1216C47A --desired-value 10")
        );
        assert_eq!(problem(6.0, 5.0).unwrap()["State"], "broken");
        let balancer = |apps| Used::of_balancer(apps).problem().map(|one| one.to_json());
        assert!(balancer(79).is_none());
        assert_eq!(balancer(99).unwrap()["State"], "warning");
        assert_eq!(balancer(100).unwrap()["State"], "broken");
    }

    #[test]
    fn processors_follow_from_the_size_of_a_type() {
        for (kind, expected) in
            [("t3.micro", 2), ("m7g.large", 2), ("m7i.xlarge", 4), ("c7i.12xlarge", 48)]
        {
            assert_eq!(processors(kind), expected, "{kind}");
        }
    }
}
