//! The reactor in words and as JSON: whether anybody keeps true what the rows say.

use rowhouse_core::Repository;
use serde_json::{Value, json};

use crate::client::{Client, Function, Hearing, Process, Reactor};
use crate::output;

/// Says first, where it is so, that what follows may be out of date.
pub(crate) fn warn_if_absent(client: &impl Client) {
    let Some(warning) = warning(&client.reactor()) else { return };
    output::warning(&warning);
    output::hint(&client.location().cure);
}

fn warning(reactor: &Reactor) -> Option<String> {
    match reactor {
        Reactor::Absent(seen) => {
            let seen = match seen {
                Some(seen) => format!("last seen at {seen:.0}"),
                None => "there has never been one here".to_owned(),
            };
            Some(format!("no reactor is at work ({seen}): nothing changes until one is"))
        }
        Reactor::Function(Function { hearing: Hearing::Schedules, .. }) => Some(
            "the stream of the table is off: the reactor sees a change within a minute, and a \
             deletion within 15"
                .to_owned(),
        ),
        Reactor::Function(Function { hearing: Hearing::Stream | Hearing::Unknown, .. })
        | Reactor::Process(_) => None,
    }
}

/// Since when nobody keeps the rows true, for a table of them; `None`: somebody does.
pub(crate) fn absent_since(reactor: &Reactor) -> Option<String> {
    match reactor {
        Reactor::Absent(seen) => {
            Some(seen.map_or_else(|| "ever".to_owned(), |seen| format!("{seen:.0}")))
        }
        Reactor::Process(_) | Reactor::Function(_) => None,
    }
}

/// Who is at work, for `--json`.
pub(crate) fn to_json(reactor: &Reactor) -> Value {
    match reactor {
        Reactor::Process(process) => {
            json!({ "AtWork": true, "Holder": process.as_ref().map(holder) })
        }
        Reactor::Absent(since) => json!({ "AtWork": false, "Since": since }),
        Reactor::Function(function) => json!({
            "AtWork": true,
            "Stream": match function.hearing {
                Hearing::Stream => Some(true),
                Hearing::Schedules => Some(false),
                Hearing::Unknown => None,
            },
            "Function": function.name,
            "Account": function.account,
            "Region": function.region,
        }),
    }
}

fn holder(process: &Process) -> Value {
    json!({
        "Pid": process.pid,
        "Listen": process.listen,
        "Domain": process.domain,
        "Since": process.since,
        "Repository": process.repository.as_ref().map(Repository::to_string),
        "Path": process.path,
        "MaxScale": process.max_scale,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(hearing: Hearing) -> Reactor {
        Reactor::Function(Function {
            name: "reactor".to_owned(),
            account: "123456789012".to_owned(),
            region: "eu-west-1".to_owned(),
            hearing,
        })
    }

    #[test]
    fn a_function_is_told_as_json_as_it_always_was_to_the_byte() {
        let text = |hearing| serde_json::to_string(&to_json(&function(hearing))).unwrap();
        let expected = |stream: &str| {
            let known = r#""Account":"123456789012","AtWork":true,"Function":"reactor""#;
            format!(r#"{{{known},"Region":"eu-west-1","Stream":{stream}}}"#)
        };
        assert_eq!(text(Hearing::Stream), expected("true"));
        assert_eq!(text(Hearing::Schedules), expected("false"));
        assert_eq!(text(Hearing::Unknown), expected("null"));
    }

    #[test]
    fn who_hears_late_or_not_at_all_is_warned_of() {
        let warned = |reactor| warning(&reactor).is_some();
        assert!(warned(Reactor::Absent(None)));
        assert!(warned(function(Hearing::Schedules)));
        assert!(!warned(function(Hearing::Stream)));
        assert!(!warned(function(Hearing::Unknown)));
        assert!(!warned(Reactor::Process(None)));
    }
}
