//! Records of the journal that cannot be read: what is done about each, so that nothing of it is
//! lost and nobody else waits for it.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;

use rowhouse_core::{AppName, Unreachable};
use tracing::warn;

use crate::folder::DataFolder;
use crate::machine::Machine;
use crate::stack::journal::Damaged;

/// What is not known any more, by app, with the cure: its copy is damaged, too.
pub(crate) fn held(damaged: &[Damaged]) -> BTreeMap<AppName, String> {
    let lost = damaged.iter().filter(|damaged| damaged.copy.is_none());
    let named = lost.filter_map(|damaged| AppName::parse(&damaged.name).ok());
    named.map(|name| (name.clone(), words(&name))).collect()
}

/// Why nothing is done to an app, and how it comes back.
pub fn words(name: &AppName) -> String {
    format!(
        "the journal's record of `{name}` is damaged, and so is its copy: what runs of it is left \
         alone, and gets no requests; `rowhouse rm {name}` ends it, and a row that is put again \
         begins anew"
    )
}

/// Writes the copies of damaged records in their place, and tells of all that were damaged. What
/// stood there is kept beside the journal.
pub(crate) async fn mend(machine: &Machine, damaged: &[Damaged]) -> Result<(), Unreachable> {
    for damaged in damaged {
        let Ok(name) = AppName::parse(&damaged.name) else {
            warn!(name = damaged.name, "the journal has a record of no app's name");
            continue;
        };
        if let Err(error) = keep(&machine.folder, &name, &damaged.bytes) {
            warn!(app = %name, reason = %error, "cannot keep what stood in place of a record");
            // The copy is in hand; what it would take the place of waits for the next start.
            continue;
        }
        let text = match &damaged.copy {
            Some(copy) => {
                machine.journal.write(copy).await?;
                "its record was damaged, and was taken from its copy".to_owned()
            }
            None => words(&name),
        };
        warn!(app = %name, "{text}");
        machine.journal.tell(&name, "damaged", text).await;
    }
    Ok(())
}

fn keep(folder: &DataFolder, name: &AppName, bytes: &[u8]) -> io::Result<()> {
    let path = folder.root().join(format!("state/damaged-{name}.json"));
    let file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(path);
    file?.write_all(bytes)
}
