//! The certificate of all apps: whether AWS has issued it, and the record that it waits for.

use aws_sdk_acm::types::{CertificateDetail, CertificateStatus, ResourceRecord};

use crate::account::{Account, told};
use crate::finding::{Finding, State};

const WHAT: &str = "certificate";

/// Looks at it, and into the zone where it is not issued.
pub(crate) async fn finding(account: &Account, arn: &str, zone: &str) -> Finding {
    let client = aws_sdk_acm::Client::new(&account.config);
    let detail = match client.describe_certificate().certificate_arn(arn).send().await {
        Ok(answer) => match answer.certificate {
            Some(detail) => detail,
            None => return broken(format!("AWS says nothing of `{arn}`"), "ask again in a while"),
        },
        Err(error) => {
            let error = told(&format!("cannot look at the certificate `{arn}`"), &error);
            return Finding::unknown(WHAT, &error);
        }
    };
    if account.is_emulator() && detail.status() == Some(&CertificateStatus::Issued) {
        let name = detail.domain_name().unwrap_or_default();
        return Finding::fine(
            WHAT,
            format!("of {name} is issued, by an emulator without any record"),
        );
    }
    let mut missing = Vec::new();
    for record in records(&detail) {
        match has_record(account, zone, record).await {
            Ok(true) => {}
            Ok(false) => missing.push(record.clone()),
            Err(error) => return Finding::unknown(WHAT, &error),
        }
    }
    of(&detail, &missing, zone)
}

/// The names of the records by which it was validated, as far as they can be read.
pub(crate) async fn record_names(account: &Account, arn: &str) -> Vec<String> {
    let client = aws_sdk_acm::Client::new(&account.config);
    let asked = client.describe_certificate().certificate_arn(arn).send().await;
    let detail = asked.ok().and_then(|answer| answer.certificate);
    let mut names: Vec<String> = detail
        .iter()
        .flat_map(records)
        .map(|record| record.name().trim_end_matches('.').to_owned())
        .collect();
    names.sort();
    names.dedup();
    names
}

/// The records by which it is validated, once AWS has named them.
fn records(detail: &CertificateDetail) -> Vec<&ResourceRecord> {
    let options = detail.domain_validation_options().iter();
    options.filter_map(|option| option.resource_record()).collect()
}

async fn has_record(
    account: &Account,
    zone: &str,
    record: &ResourceRecord,
) -> anyhow::Result<bool> {
    let client = aws_sdk_route53::Client::new(&account.config);
    let listed = client
        .list_resource_record_sets()
        .hosted_zone_id(zone)
        .start_record_name(record.name())
        .start_record_type(aws_sdk_route53::types::RrType::Cname)
        .max_items(1)
        .send()
        .await
        .map_err(|error| told(&format!("cannot look into the hosted zone `{zone}`"), &error))?;
    let plain = |name: &str| name.trim_end_matches('.').to_lowercase();
    Ok(listed.resource_record_sets().iter().any(|set| {
        let values = set.resource_records().iter();
        plain(set.name()) == plain(record.name())
            && values.map(|one| plain(one.value())).any(|value| value == plain(record.value()))
    }))
}

/// What its state means. `missing`: the records of it that its zone does not have.
///
/// The states: <https://docs.aws.amazon.com/acm/latest/APIReference/API_CertificateDetail.html>
fn of(detail: &CertificateDetail, missing: &[ResourceRecord], zone: &str) -> Finding {
    let name = detail.domain_name().unwrap_or("the domain");
    let status = detail.status().unwrap_or(&CertificateStatus::PendingValidation).as_str();
    let commands = || -> Vec<String> { missing.iter().map(|one| record(zone, one)).collect() };
    match status {
        "ISSUED" if missing.is_empty() => Finding::fine(WHAT, format!("of {name} is issued")),
        "ISSUED" => Finding::bad(
            WHAT,
            State::Warning,
            format!("of {name} is issued, but AWS cannot renew it: {}", absent(missing)),
            commands().join("; "),
        ),
        "PENDING_VALIDATION" if !missing.is_empty() => {
            broken(format!("of {name} is not issued: {}", absent(missing)), commands().join("; "))
        }
        "PENDING_VALIDATION" if records(detail).is_empty() => broken(
            format!("of {name} is not issued, and AWS has not named its record yet"),
            "ask again in a minute",
        ),
        "PENDING_VALIDATION" => broken(
            format!("of {name} is not issued, though its record is in the zone"),
            "AWS must find it in public DNS: the check `zone` says whether that leads there",
        ),
        other => broken(
            format!(
                "of {name} is {other}{}",
                detail
                    .failure_reason()
                    .map_or_else(String::new, |why| format!(": {}", why.as_str()))
            ),
            "`rowhouse aws uninstall` and `install` again make a new one; by hand, \
             docs/aws-by-hand.md, step 3",
        ),
    }
}

fn broken(said: String, cure: impl Into<String>) -> Finding {
    Finding::bad(WHAT, State::Broken, said, cure)
}

fn absent(missing: &[ResourceRecord]) -> String {
    let lines: Vec<String> = missing
        .iter()
        .map(|one| format!("its zone has no CNAME {} with {}", one.name(), one.value()))
        .collect();
    lines.join("; ")
}

/// The command that makes the record.
fn record(zone: &str, record: &ResourceRecord) -> String {
    format!(
        "`aws route53 change-resource-record-sets --hosted-zone-id {zone} --change-batch \
         '{{\"Changes\":[{{\"Action\":\"UPSERT\",\"ResourceRecordSet\":{{\"Name\":\"{}\",\
         \"Type\":\"CNAME\",\"TTL\":300,\"ResourceRecords\":[{{\"Value\":\"{}\"}}]}}}}]}}'`",
        record.name(),
        record.value()
    )
}

#[cfg(test)]
mod tests {
    use aws_sdk_acm::types::{DomainValidation, FailureReason, RecordType};

    use super::*;

    fn validation() -> ResourceRecord {
        let record = ResourceRecord::builder().name("_1.apps.example.com.").value("_2.acm.");
        record.r#type(RecordType::Cname).build().unwrap()
    }

    fn said(status: CertificateStatus, is_named: bool, missing: &[ResourceRecord]) -> String {
        let mut option = DomainValidation::builder().domain_name("*.apps.example.com");
        if is_named {
            option = option.resource_record(validation());
        }
        let detail = CertificateDetail::builder()
            .domain_name("*.apps.example.com")
            .status(status)
            .failure_reason(FailureReason::CaaError)
            .domain_validation_options(option.build().unwrap())
            .build();
        of(&detail, missing, "Z1").to_json().to_string()
    }

    #[test]
    fn a_certificate_that_waits_names_the_record_that_it_waits_for() {
        let missing = [validation()];
        let waits = said(CertificateStatus::PendingValidation, true, &missing);
        assert!(waits.contains("no CNAME _1.apps.example.com. with _2.acm."), "{waits}");
        assert!(waits.contains("--hosted-zone-id Z1") && waits.contains("broken"), "{waits}");
        let unnamed = said(CertificateStatus::PendingValidation, false, &[]);
        assert!(unnamed.contains("has not named its record yet"), "{unnamed}");
        let undelegated = said(CertificateStatus::PendingValidation, true, &[]);
        assert!(undelegated.contains("though its record is in the zone"), "{undelegated}");
    }

    #[test]
    fn an_issued_one_is_fine_unless_it_cannot_be_renewed_and_any_other_is_broken() {
        assert!(said(CertificateStatus::Issued, true, &[]).contains("\"ok\""));
        let renewal = said(CertificateStatus::Issued, true, &[validation()]);
        assert!(renewal.contains("warning") && renewal.contains("cannot renew"), "{renewal}");
        let failed = said(CertificateStatus::Failed, true, &[]);
        assert!(failed.contains("broken") && failed.contains("FAILED: CAA_ERROR"), "{failed}");
    }
}
