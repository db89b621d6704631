//! The domain of all apps: read as people write it, looked up in its zone, and what a change of it
//! moves.

use aws_sdk_route53::types::{ResourceRecordSet, RrType};
use rowhouse_aws::Failure;
use rowhouse_core::{HostName, counted};

use crate::account::{Account, told_of};
use crate::failure::bad_input;
use crate::zone::Zone;
use crate::{output, question};

/// A certificate's first name may have 64 characters, `*.` among them:
/// <https://docs.aws.amazon.com/acm/latest/APIReference/API_RequestCertificate.html>.
const LONGEST: usize = 64 - "*.".len();

/// Reads a domain; what is kept in other letters is told.
pub(crate) fn parse(typed: &str) -> anyhow::Result<String> {
    let refused = |why: String| {
        bad_input(
            format!("`{}` is no domain that apps can have names in: {why}", output::clean(typed)),
            "write it such as `apps.example.com`, in letters, digits and dashes; an app is then \
             at https://NAME.apps.example.com",
        )
    };
    let name = HostName::parse(typed).map_err(|objection| refused(format!("it {objection}")))?;
    let domain = name.as_str();
    if name.is_wildcard() {
        return Err(refused("it has a `*`, which stands for the apps' names anyway".to_owned()));
    }
    if !domain.contains('.') {
        return Err(refused("it has no dot".to_owned()));
    }
    if domain.len() > LONGEST {
        return Err(refused(format!(
            "it has {} characters, and a certificate of AWS takes {LONGEST}",
            domain.len()
        )));
    }
    if domain != typed {
        output::note(&format!("`{}` is written `{domain}`", output::clean(typed)));
    }
    Ok(domain.to_owned())
}

/// Refuses a domain whose apps' names lead elsewhere already: the stack could not make its record,
/// and would find that out only after minutes.
pub(crate) async fn is_free(account: &Account, zone: &Zone, domain: &str) -> anyhow::Result<()> {
    let name = format!("*.{domain}");
    let client = aws_sdk_route53::Client::new(&account.config);
    let request = client.list_resource_record_sets().hosted_zone_id(&zone.id);
    let asked = request.start_record_name(&name).max_items(20).send().await;
    let listed = match asked.map_err(|error| Failure::of(&error)) {
        Ok(listed) => listed,
        // Whoever may not look will be told by the stack.
        Err(failure) if failure.is_denied() => return Ok(()),
        Err(failure) => {
            let doing = format!("cannot look into the hosted zone `{}`", zone.id);
            return Err(told_of(&doing, &failure));
        }
    };
    let Some(taken) = listed.resource_record_sets().iter().find(|set| is_in_the_way(set, &name))
    else {
        return Ok(());
    };
    Err(bad_input(
        format!(
            "the hosted zone {} of {} has a record `{name}` of type {} already, which leads \
             elsewhere",
            zone.id,
            zone.name,
            taken.r#type().as_str()
        ),
        format!(
            "choose another domain with `--domain`, such as `rowhouse.{domain}`; or delete that \
             record, if nobody needs it: `aws route53 list-resource-record-sets --hosted-zone-id \
             {} --start-record-name '{name}' --max-items 1` shows it",
            zone.id
        ),
    ))
}

/// Whether a record stands where that of all apps is made: one of that name and an address, or one
/// beside which no other can be.
fn is_in_the_way(set: &ResourceRecordSet, name: &str) -> bool {
    // AWS writes `*` as `\052`.
    let found = set.name().trim_end_matches('.').replace("\\052", "*").to_lowercase();
    found == name && matches!(set.r#type(), RrType::A | RrType::Cname)
}

/// Whether a running platform is to get another domain, and so every app another address.
/// `is_meant`: nobody has to be asked.
pub(crate) async fn is_move_wanted(
    account: &Account,
    (from, to): (&str, &str),
    apps: &[String],
    is_meant: bool,
) -> anyhow::Result<bool> {
    if apps.is_empty() {
        return Ok(true);
    }
    for app in apps {
        let app = output::clean(app);
        output::note(&format!("  {app}: https://{app}.{from} becomes https://{app}.{to}"));
    }
    output::note(&format!(
        "`{to}` in the place of `{from}` moves what is listed: the old addresses stop to answer. \
         For further apps at another domain, which leaves these alone, make a second platform in \
         another region (`--region`) or account (`--profile`)"
    ));
    if is_meant {
        return Ok(true);
    }
    let count = counted(apps.len(), "app");
    question::is_wanted(
        &format!("Move {count} of account {} in {} to {to}?", account.id, account.region),
        &format!(
            "`rowhouse aws{} install --domain {to} --yes` says that it is meant",
            account.options
        ),
    )
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_read_in_any_case_and_refused_where_no_certificate_could_have_it() {
        for (typed, expected) in [
            ("apps.example.com", "apps.example.com"),
            ("Apps.Example.COM.", "apps.example.com"),
            ("bücher.example", "xn--bcher-kva.example"),
        ] {
            assert_eq!(parse(typed).unwrap(), expected);
        }
        let long = format!("{}.example.com", "a".repeat(51));
        for (typed, why) in [
            ("my_apps.example.com", "is no host name"),
            ("*.example.com", "a `*`"),
            ("apps", "it has no dot"),
            ("https://apps.example.com", "is a URL"),
            ("-a.example.com", "is no host name"),
            ("", "is empty"),
            (&long, "it has 63 characters, and a certificate of AWS takes 62"),
        ] {
            let said = format!("{:#}", parse(typed).unwrap_err());
            assert!(said.contains(why), "{typed}: {said}");
        }
    }

    #[test]
    fn only_what_stands_where_the_record_of_all_apps_is_made_is_in_the_way() {
        let set = |name: &str, kind| {
            ResourceRecordSet::builder().name(name).r#type(kind).build().unwrap()
        };
        let name = "*.apps.example.com";
        assert!(is_in_the_way(&set("\\052.apps.example.com.", RrType::A), name));
        assert!(is_in_the_way(&set("*.apps.example.com.", RrType::Cname), name));
        assert!(!is_in_the_way(&set("\\052.apps.example.com.", RrType::Txt), name));
        assert!(!is_in_the_way(&set("\\052.example.com.", RrType::A), name));
        assert!(!is_in_the_way(&set("www.apps.example.com.", RrType::A), name));
    }
}
