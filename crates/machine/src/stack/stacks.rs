//! The stacks in hand, by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use rowhouse_core::AppName;

use crate::machine::Machine;
use crate::stack::StackRecord;
use crate::stack::live::LiveStack;

/// Every stack of a platform.
#[derive(Debug)]
pub(crate) struct Stacks {
    machine: Arc<Machine>,
    by_name: Mutex<BTreeMap<AppName, Arc<LiveStack>>>,
}

impl Stacks {
    /// The stacks that the journal knows, none of which has an instance in hand yet.
    pub(crate) fn new(machine: Arc<Machine>, records: Vec<StackRecord>) -> Stacks {
        let stack = |record: StackRecord| {
            let name = record.name.clone();
            let stack = LiveStack::new(Arc::clone(&machine), name.clone(), Some(record));
            (name, Arc::new(stack))
        };
        let by_name = Mutex::new(records.into_iter().map(stack).collect());
        Stacks { machine, by_name }
    }

    /// The stack in hand, or a fresh, empty place for one.
    pub(crate) fn stack(&self, name: &AppName) -> Arc<LiveStack> {
        let mut by_name = self.by_name.lock();
        let fresh = || Arc::new(LiveStack::new(Arc::clone(&self.machine), name.clone(), None));
        Arc::clone(by_name.entry(name.clone()).or_insert_with(fresh))
    }

    /// Every stack in hand.
    pub(crate) fn all(&self) -> Vec<Arc<LiveStack>> {
        self.by_name.lock().values().cloned().collect()
    }
}
