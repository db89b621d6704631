//! What the attributes about an app's processes mean: `Procfile`, `Workers`, `Cron` and `Memory`.

use std::collections::BTreeMap;

use crate::attribute::{Attribute, UserAttributes, Value};
use crate::meaning::{Objection, entries, has, instances, whole};
use crate::process_type::{ProcessType, ProcfileLines};
use crate::quoted::shortened;
use crate::schedule::{Schedule, ScheduleName};
use crate::settings::Limits;

/// What a process of any language needs to begin with; and more than one machine has (MiB).
const MEMORY: std::ops::RangeInclusive<i64> = 16..=1 << 24;

pub(crate) fn procfile(user: &UserAttributes) -> Result<ProcfileLines, Objection> {
    let attribute = Attribute::Procfile;
    let allowed = "an object of commands by process type, such as {\"web\": \"./serve\"}";
    let mut lines = BTreeMap::new();
    for (name, value) in entries(user, attribute, allowed)? {
        let process_type = process_type(attribute, name)?;
        let line = line(attribute, name, value)?.trim();
        if line.contains(['\n', '\r', '\0']) {
            let what =
                format!("a line break or a NUL in `{name}`: it must be one line, as in a Procfile");
            return Err(has(attribute, &what));
        }
        lines.insert(process_type, line.to_owned());
    }
    Ok(lines.into())
}

/// How many of each run; those of which none does are left out.
pub(crate) fn workers(
    user: &UserAttributes,
    limits: &Limits,
) -> Result<BTreeMap<ProcessType, u32>, Objection> {
    let attribute = Attribute::Workers;
    let allowed = "an object of whole numbers by process type, such as {\"worker\": 1}";
    let mut workers = BTreeMap::new();
    for (name, value) in entries(user, attribute, allowed)? {
        let process_type = process_type(attribute, name)?;
        if !process_type.is_worker() {
            let what = match name.as_str() {
                "web" => {
                    "`web`, of which `Scale` says how many run: it must be left out".to_owned()
                }
                _ => format!("`{name}`, which is no worker: it must be left out"),
            };
            return Err(has(attribute, &what));
        }
        let Some(count) = instances(value, limits) else {
            let allowed = limits.scale_allowed();
            let what = format!("{} for `{name}`: it must be {allowed}", value.shown());
            return Err(has(attribute, &what));
        };
        if count > 0 {
            workers.insert(process_type, count);
        }
    }
    Ok(workers)
}

pub(crate) fn cron(user: &UserAttributes) -> Result<BTreeMap<ScheduleName, Schedule>, Objection> {
    let attribute = Attribute::Cron;
    let allowed = "an object of schedules by name, such as {\"tidy\": \"30 4 * * * ./tidy\"}";
    let mut schedules = BTreeMap::new();
    for (name, value) in entries(user, attribute, allowed)? {
        let key = ScheduleName::parse(name).ok_or_else(|| bad_name(attribute, name))?;
        let schedule = Schedule::parse(line(attribute, name, value)?).map_err(|objection| {
            let what =
                format!("a schedule `{name}` that {objection}: it must be {}", Schedule::ALLOWED);
            has(attribute, &what)
        })?;
        schedules.insert(key, schedule);
    }
    Ok(schedules)
}

/// MiB for each instance; `None`: the platform's own.
pub(crate) fn memory(user: &UserAttributes) -> Result<Option<u32>, Objection> {
    let attribute = Attribute::Memory;
    if !user.contains_key(&attribute) {
        return Ok(None);
    }
    whole(user, attribute, *MEMORY.start(), MEMORY).map(Some)
}

fn process_type(attribute: Attribute, name: &str) -> Result<ProcessType, Objection> {
    ProcessType::parse(name).ok_or_else(|| bad_name(attribute, name))
}

fn bad_name(attribute: Attribute, name: &str) -> Objection {
    let what = format!("{}: a name must be {}", shortened(name), ProcessType::ALLOWED);
    has(attribute, &what)
}

fn line<'a>(attribute: Attribute, name: &str, value: &'a Value) -> Result<&'a str, Objection> {
    match value {
        Value::Text(text) => Ok(text),
        Value::Whole(_)
        | Value::Real(_)
        | Value::Boolean(_)
        | Value::Map(_)
        | Value::List(_)
        | Value::Other(_) => {
            let what = format!("{} for `{name}`: it must be a text", value.shown());
            Err(has(attribute, &what))
        }
    }
}
