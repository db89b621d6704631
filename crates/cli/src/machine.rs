//! The machine platform, as the commands on rows see it: its files.

use rowhouse_command::client::{
    Changes, Client, Event, EventId, InstanceState, Left, ListedInstance, Location, News,
    PrintedLine, Process, Reactor, Removed, Rows, Sight, WithoutRow,
};
use rowhouse_core::{
    App, AppName, Commit, Found, Releases, Row, RowKey, Settings, SettingsDigest, StoredEntry,
    StoredRow,
};
use rowhouse_machine::folder::{Holder, Presence};
use rowhouse_machine::git::mirror::{Mirrors, Resolved};
use rowhouse_machine::process::log::{Follow, LogLine, logs, tail};
use rowhouse_machine::process::supervised::snapshot;
use rowhouse_machine::stack::Ongoing;
use rowhouse_machine::stack::journal::JournalFile;
use rowhouse_machine::table::mark::Marks;

use crate::context::Context;
use crate::default_branch::default_branch;

/// How many events are read at once.
const PAGE: u32 = 10_000;

/// The events of the journal.
pub(crate) struct JournalEvents {
    journal: JournalFile,
    name: Option<String>,
    told: i64,
    /// How many to begin with.
    last: Option<u32>,
}

impl News for JournalEvents {
    type Item = Event;

    async fn news(&mut self) -> anyhow::Result<Vec<Event>> {
        let most = self.last.take().unwrap_or(PAGE);
        let found = self.journal.events(self.name.as_deref(), self.told, most)?;
        self.told = found.last().map_or(self.told, |event| event.id);
        Ok(found
            .into_iter()
            .map(|event| Event {
                id: EventId::Number(event.id),
                at: event.at,
                name: event.name,
                kind: event.kind,
                text: event.text,
            })
            .collect())
    }
}

/// The logs of an app's folder.
pub(crate) struct LogFiles {
    follow: Follow,
    /// What there was to begin with.
    first: Vec<LogLine>,
    has_begun: bool,
}

impl News for LogFiles {
    type Item = PrintedLine;

    async fn news(&mut self) -> anyhow::Result<Vec<PrintedLine>> {
        if !self.has_begun {
            self.has_begun = true;
            return Ok(self.first.iter().cloned().map(printed).collect());
        }
        // What came while the end was read has been told already.
        let first = std::mem::take(&mut self.first);
        let news = self.follow.news().into_iter().filter(|line| !first.contains(line));
        Ok(news.map(printed).collect())
    }
}

fn printed(LogLine { at, source, text }: LogLine) -> PrintedLine {
    PrintedLine { at, source, text }
}

impl Client for Context {
    const IS_HERE: bool = true;

    fn location(&self) -> &Location {
        &self.location
    }
}

impl Rows for Context {
    async fn get(&self, key: &RowKey) -> anyhow::Result<Option<StoredRow>> {
        Ok(self.table()?.get(key)?)
    }

    async fn list(&self) -> anyhow::Result<Vec<StoredRow>> {
        Ok(self.table()?.list()?)
    }

    async fn write(
        &self,
        key: &RowKey,
        seen: Option<&Row>,
        changes: &Changes,
    ) -> anyhow::Result<Option<Row>> {
        let edit =
            |before: Option<&Row>| if before == seen { Ok(changes.clone()) } else { Err(()) };
        Ok(self.table()?.edit(key, edit)?.ok())
    }

    async fn remove(&self, key: &RowKey) -> anyhow::Result<Option<Removed>> {
        self.adopt()?;
        let removed = self.table()?.remove(key)?;
        Ok(removed.map(|removed| Removed { row: removed.row, mark: removed.change }))
    }

    async fn remove_orphan(&self, key: &RowKey) -> anyhow::Result<()> {
        self.adopt()?;
        Ok(self.table()?.remove_orphan(key)?)
    }

    async fn is_heard(&self, removed: &Removed) -> anyhow::Result<bool> {
        Ok(self.table()?.was_rung(removed.mark)?)
    }

    async fn history(&self, key: &RowKey) -> anyhow::Result<Vec<StoredEntry>> {
        Ok(self.table()?.history(key)?)
    }

    async fn releases(&self, key: &RowKey) -> anyhow::Result<Releases> {
        Ok(self.table()?.releases(key)?)
    }

    /// Those of the platform at work.
    fn settings(&self) -> Option<Settings> {
        self.holder().map(|holder| Settings {
            digest: SettingsDigest::of("for validation alone"),
            repository: holder.repository,
            path: holder.path,
            max_scale: holder.max_scale,
            local_repositories: true,
            domain: Some(holder.domain),
        })
    }
}

impl Sight for Context {
    type Events = JournalEvents;
    type Lines = LogFiles;

    fn reactor(&self) -> Reactor {
        match self.folder.presence() {
            Presence::AtWork(holder) => Reactor::Process(holder.map(process)),
            Presence::Absent(seen) => Reactor::Absent(seen),
        }
    }

    async fn left(&self, key: &RowKey) -> anyhow::Result<Left> {
        let known = self.journal()?.known()?;
        let is_there = known.names(key.as_str());
        Ok(if is_there { Left::Something } else { Left::Nothing })
    }

    async fn without_row(&self) -> anyhow::Result<WithoutRow> {
        self.found_without_row()
    }

    async fn aim(&self, name: &AppName) -> anyhow::Result<Option<Commit>> {
        let stack = self.journal()?.stack(name)?;
        Ok(match stack.and_then(|stack| stack.ongoing) {
            Some(Ongoing::Create { plan, .. } | Ongoing::Update { plan, .. }) => {
                Some(plan.deployment.commit)
            }
            Some(Ongoing::RollBack { .. } | Ongoing::Delete) | None => None,
        })
    }

    /// By journal and processes: what is true also while no platform is at work.
    async fn instances(&self, name: &AppName) -> anyhow::Result<Vec<ListedInstance>> {
        let Some(stack) = self.journal()?.stack(name)? else { return Ok(Vec::new()) };
        let listed = stack.instances.iter().map(|instance| {
            let now = snapshot(&self.folder.instances(name).join(&instance.id.0));
            let state = match (&now.running, &now.end) {
                (Some(_), _) if stack.is_draining(instance) => InstanceState::Draining,
                (Some(_), _) => InstanceState::Running,
                (None, Some(end)) => InstanceState::Other(end.to_string()),
                (None, None) => InstanceState::NotRunning,
            };
            let pid = now.running.as_ref().map(|record| record.app.pid);
            ListedInstance {
                id: instance.id.0.clone(),
                pid: pid.and_then(|pid| u32::try_from(pid).ok()),
                port: Some(instance.port),
                state,
                revision: Some(instance.commit.clone()),
                started_at: now.running.as_ref().map(|record| record.at),
            }
        });
        Ok(listed.collect())
    }

    async fn events(&self, name: Option<&str>, last: usize) -> anyhow::Result<JournalEvents> {
        let journal = JournalFile::open(&self.folder.journal())?;
        let name = name.map(str::to_owned);
        if last == 0 {
            // Whatever comes is a later one than the last of all.
            let told = journal.events(None, 0, 1)?.last().map_or(0, |event| event.id);
            return Ok(JournalEvents { journal, name, told, last: None });
        }
        let last = Some(u32::try_from(last).unwrap_or(u32::MAX));
        Ok(JournalEvents { journal, name, told: 0, last })
    }

    async fn lines(&self, name: &AppName, last: usize) -> anyhow::Result<Option<LogFiles>> {
        let folder = self.folder.logs(name);
        if !folder.exists() {
            return Ok(None);
        }
        let follow = Follow::from_end(&folder);
        let first = tail(&logs(&folder), last);
        Ok(Some(LogFiles { follow, first, has_begun: false }))
    }

    async fn default_branch(&self, repository: &str) -> anyhow::Result<String> {
        default_branch(&Mirrors::new(self.folder.mirrors()), repository).await
    }

    async fn resolve(&self, app: &App) -> Option<Commit> {
        let mirrors = Mirrors::new(self.folder.mirrors());
        match mirrors.resolve(&app.repository, &app.version).await {
            Ok(Resolved::Commit(commit)) => Some(commit),
            Ok(Resolved::NoSuchVersion { .. }) | Err(_) => None,
        }
    }
}

impl Context {
    /// The apps that run on without a row, as of the files.
    pub(crate) fn found_without_row(&self) -> anyhow::Result<WithoutRow> {
        let Some(marks) = self.marks()? else { return Ok(WithoutRow::default()) };
        let stacks = self.journal()?.stacks()?;
        let table = self.table()?;
        let mut without = WithoutRow::default();
        for stack in stacks {
            let is_going = matches!(stack.ongoing, Some(Ongoing::Delete));
            match table.find(&stack.name.key(), &marks)? {
                Found::Absent => without.orphans.push(stack.name),
                Found::Removed if !is_going => without.removed.push(stack.name),
                Found::Removed | Found::Row(_) => {}
            }
        }
        Ok(without)
    }

    /// What is removed from now on is a user's word, also in a table that took the place of another
    /// one while no platform was at work.
    fn adopt(&self) -> anyhow::Result<()> {
        if let Some(marks) = self.marks()? {
            self.table()?.adopt(&marks)?;
        }
        Ok(())
    }

    /// By what the journal knows its table; `None`: there was no platform yet.
    fn marks(&self) -> anyhow::Result<Option<Marks>> {
        let journal = self.folder.journal();
        Ok(journal.exists().then(|| Marks::open(&journal)).transpose()?)
    }
}

fn process(holder: Holder) -> Process {
    let Holder { pid, listen, domain, since, repository, path, max_scale } = holder;
    Process { pid, listen, domain, since, repository, path, max_scale }
}
