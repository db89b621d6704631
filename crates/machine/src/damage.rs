//! Records of the journal that cannot be read: what is done about each, so that nothing of it is
//! lost and nobody else waits for it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;

use rowhouse_core::{AppName, Unreachable, counted};
use tracing::warn;

use crate::folder::DataFolder;
use crate::machine::Machine;
use crate::process::supervised::running_apps;
use crate::stack::records::{Damaged, Known};
use crate::stack::salvage::Salvaged;

/// Under which name what was of no app is kept: no app has it.
const OF_NO_APP: &str = "of_no_app";

/// What is not known any more, by app, with the cure. Where it may be that there was more than is
/// known, that is whatever runs and has no record.
pub(crate) fn held(known: &Known, folder: &DataFolder) -> BTreeMap<AppName, String> {
    let mut names: BTreeSet<AppName> = known.held.iter().chain(known.lost()).cloned().collect();
    if !known.damaged.is_empty() {
        let is_unknown = |name: &AppName| known.record(name).is_none();
        names.extend(running_apps(folder).into_iter().filter(is_unknown));
    }
    names.into_iter().map(|name| (name.clone(), words(&name))).collect()
}

/// Why nothing is done to an app, and how it comes back.
pub fn words(name: &AppName) -> String {
    format!(
        "the journal's record of `{name}` is damaged or lost, and so is its copy: what runs of it \
         is left alone, and gets no requests; `rowhouse rm {name}` ends it, and a row that is put \
         again begins anew"
    )
}

/// Has the journal stand as it is known, and tells of all that was damaged, once. What stood there
/// is kept beside the journal.
pub(crate) async fn mend(
    machine: &Machine,
    known: Known,
    held: &BTreeMap<AppName, String>,
) -> Result<(), Unreachable> {
    for damaged in &known.damaged {
        let name = damaged.app.as_ref().map_or(OF_NO_APP, AppName::as_str);
        if let Err(error) = keep(&machine.folder, name, &damaged.bytes) {
            // What is known is in hand; what it would take the place of waits for the next start.
            warn!(app = name, reason = %error, "cannot keep what stood in place of a record");
            return Ok(());
        }
    }
    let news: BTreeSet<AppName> =
        held.keys().filter(|name| !known.held.contains(*name)).cloned().collect();
    machine.journal.mend(known.clone(), news.clone()).await?;
    for (name, text) in taken_from_copies(&known) {
        warn!(app = %name, "{text}");
        machine.journal.tell(name, "damaged", text.to_owned()).await;
    }
    for name in &news {
        warn!(app = %name, "{}", words(name));
        machine.journal.tell(name, "damaged", words(name)).await;
    }
    let of_no_app = |damaged: &&Damaged| damaged.app.is_none() && !damaged.bytes.is_empty();
    if known.damaged.iter().any(|damaged| of_no_app(&damaged)) {
        let text = format!(
            "the journal had a record of which nobody can tell whose it was; it is kept as \
             `state/damaged-{OF_NO_APP}.json`"
        );
        warn!("{text}");
        machine.journal.tell_of_platform("damaged", text).await;
    }
    Ok(())
}

/// Those of whom one of the two records was damaged, and not the other one.
fn taken_from_copies(known: &Known) -> BTreeMap<&AppName, &'static str> {
    let mut told = BTreeMap::new();
    for damaged in &known.damaged {
        let Some(name) = damaged.app.as_ref().filter(|name| known.record(name).is_some()) else {
            continue;
        };
        if damaged.is_copy() {
            told.entry(name).or_insert("the copy of its record was damaged, and was made anew");
        } else {
            told.insert(name, "its record was damaged, and was taken from its copy");
        }
    }
    told
}

/// Tells of a journal that was damaged as a whole.
pub(crate) async fn tell(machine: &Machine, salvaged: &Salvaged, known: &Known) {
    let text = format!(
        "the journal's file was damaged ({}), and is kept as `{}`; in its place is a new one, with \
         {} that could be read",
        salvaged.fault,
        salvaged.kept.display(),
        counted(known.records.len(), "record")
    );
    warn!("{text}");
    machine.journal.tell_of_platform("journal_damaged", text).await;
}

/// Keeps what stood there, beside what was kept before.
fn keep(folder: &DataFolder, name: &str, bytes: &[u8]) -> io::Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    for number in 1_u32.. {
        // No app's name has a dot.
        let end = if number == 1 { String::new() } else { format!(".{number}") };
        let path = folder.root().join(format!("state/damaged-{name}{end}.json"));
        match OpenOptions::new().create_new(true).write(true).mode(0o600).open(&path) {
            Ok(mut file) => return file.write_all(bytes),
            // A platform that ended before the journal was mended has kept it already.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if fs::read(&path)? == bytes {
                    return Ok(());
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
