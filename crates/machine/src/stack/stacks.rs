//! The stacks in hand, by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use rowhouse_core::{AppName, Unreachable};

use crate::machine::Machine;
use crate::process::supervised::end_processes;
use crate::room::remove;
use crate::stack::StackRecord;
use crate::stack::live::LiveStack;

/// Every stack of a platform.
#[derive(Debug)]
pub(crate) struct Stacks {
    machine: Arc<Machine>,
    by_name: Mutex<BTreeMap<AppName, Arc<LiveStack>>>,
    /// Those whose records cannot be read, and why: nothing is done to them.
    held: Mutex<BTreeMap<AppName, String>>,
}

impl Stacks {
    /// The stacks that the journal knows, none of which has an instance in hand yet.
    pub(crate) fn new(
        machine: Arc<Machine>,
        records: Vec<StackRecord>,
        held: BTreeMap<AppName, String>,
    ) -> Stacks {
        let stack = |record: StackRecord| {
            let name = record.name.clone();
            let stack = LiveStack::new(Arc::clone(&machine), name.clone(), Some(record));
            (name, Arc::new(stack))
        };
        let by_name = Mutex::new(records.into_iter().map(stack).collect());
        Stacks { machine, by_name, held: Mutex::new(held) }
    }

    /// The stack in hand, or a fresh, empty place for one.
    pub(crate) fn stack(&self, name: &AppName) -> Arc<LiveStack> {
        let mut by_name = self.by_name.lock();
        let fresh = || Arc::new(LiveStack::new(Arc::clone(&self.machine), name.clone(), None));
        Arc::clone(by_name.entry(name.clone()).or_insert_with(fresh))
    }

    /// The stacks whose records cannot be read, and why.
    pub(crate) fn held(&self) -> BTreeMap<AppName, String> {
        self.held.lock().clone()
    }

    /// Ends whatever runs of such a stack, and forgets it.
    pub(crate) async fn end_held(&self, name: &AppName) -> Result<(), Unreachable> {
        let place = self.machine.folder.instances(name);
        end_processes(&self.machine.folder, |folder| folder.starts_with(&place)).await;
        self.machine.journal.remove(name).await?;
        // What is left of it is removed with the next start.
        let _ = remove(place).await;
        self.held.lock().remove(name);
        self.machine.journal.tell(name, "deleted", "its processes are gone".to_owned()).await;
        self.machine.ring(name);
        Ok(())
    }

    /// Every stack in hand.
    pub(crate) fn all(&self) -> Vec<Arc<LiveStack>> {
        self.by_name.lock().values().cloned().collect()
    }
}
