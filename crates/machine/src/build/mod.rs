//! Builds: one immutable folder per repository, path, commit and build environment, made once and
//! kept at its place. Running the steps' processes and choosing what to keep are left to others.

pub mod archive;
pub mod convention;
pub mod error;
pub mod procfile;
mod put;
pub mod recipe;
pub mod request;
mod source;
mod start;
pub mod step;
pub mod toolchain;
pub mod version;
mod wanted;
pub mod web;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::{Mutex, MutexGuard};
use rowhouse_core::AppName;
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

use crate::build::error::BuildError;
use crate::build::recipe::{Recipe, recipe};
use crate::build::request::{BuildId, BuildKey, BuildRequest, inside};
use crate::build::step::Runner;
use crate::build::toolchain::Toolchains;
use crate::git::mirror::Mirrors;
use crate::process::end::End;
use crate::room::{is_full, remove_now};
use crate::supply::Supply;
use crate::whole::Whole;

const RECORD: &str = "built.json";
const CHECKOUT: &str = "checkout";
const TEMPORARY: &str = "tmp";
/// In a home.
const CARGO_HOME: &str = ".cargo";
const GONE: &str = ".gone-";

/// A finished build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    pub id: BuildId,
    /// The app's folder, in which its commands run. Nothing in it is changed any more.
    pub folder: PathBuf,
    /// All that was checked out, of which `folder` is a part.
    pub checkout: PathBuf,
    pub recipe: Recipe,
}

impl Built {
    /// The `PATH` that its commands run with, before that of the platform.
    pub fn path(&self, platform: &str) -> String {
        search_path(&self.recipe, &self.folder, platform)
    }
}

/// What lies beside a checkout once it is built: the mark of being finished.
#[derive(Serialize, Deserialize)]
struct Mark {
    /// Relative to the checkout.
    folder: PathBuf,
    recipe: Recipe,
}

type Lock = Arc<tokio::sync::Mutex<()>>;

/// A build that lies there, finished or not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    OfApp(BuildId),
    /// One of those that apps shared.
    ForAll(BuildKey),
}

/// All builds of a machine, in one folder.
#[derive(Debug)]
pub struct Builds {
    folder: PathBuf,
    mirrors: Arc<Mirrors>,
    platform: BTreeMap<String, String>,
    supply: Option<Supply>,
    /// Who holds a key builds it, or removes it.
    busy: Mutex<HashMap<BuildId, Lock>>,
}

impl Builds {
    /// Builds in `folder`. `platform` is the platform's own environment: its `PATH` and `HOME` lead
    /// to the toolchains and their settings, nothing else of it reaches a build.
    pub fn new(
        folder: PathBuf,
        mirrors: Arc<Mirrors>,
        platform: BTreeMap<String, String>,
    ) -> Builds {
        let folder = std::path::absolute(&folder).unwrap_or(folder);
        Builds { folder, mirrors, platform, supply: None, busy: Mutex::default() }
    }

    /// Takes builds that were made elsewhere from there, if they are good.
    #[must_use]
    pub fn with_supply(mut self, supply: Option<Supply>) -> Builds {
        self.supply = supply;
        self
    }

    /// The build, if it is finished. Fast, and counts as a use of it.
    pub fn finished(&self, id: &BuildId) -> Option<Built> {
        // Pruning holds this while it looks and moves, so that it sees this use or comes first.
        let _held = self.busy();
        [self.place(id), self.place_for_all(&id.key)].iter().find_map(|place| found(id, place))
    }

    /// Where a build of an app lies.
    pub fn place(&self, id: &BuildId) -> PathBuf {
        self.folder.join(id.app.as_str()).join(id.key.as_str())
    }

    /// What the steps of a build may write: not the mark beside it, which is the platform's.
    pub(crate) fn writable(&self, request: &BuildRequest) -> Vec<PathBuf> {
        let place = self.place(&request.id());
        vec![place.join(CHECKOUT), place.join(TEMPORARY), request.home.clone()]
    }

    /// Whether a build was made when apps shared them.
    pub(crate) fn is_for_all(&self, built: &Built) -> bool {
        built.checkout.parent() == Some(&self.place_for_all(&built.id.key))
    }

    /// Where builds lay that were made when apps shared them. They are used as long as they are
    /// wanted, and no new ones come.
    fn place_for_all(&self, key: &BuildKey) -> PathBuf {
        self.folder.join(key.as_str())
    }

    /// Builds what is not built yet. Requests for one build at the same time build it once; an
    /// unfinished one, of an earlier life of the platform, is begun again.
    ///
    /// # Errors
    /// See [`BuildError`]. What a failed build leaves is removed.
    pub async fn build(
        &self,
        request: &BuildRequest,
        runner: &impl Runner,
    ) -> Result<Built, BuildError> {
        let id = request.id();
        if let Some(built) = self.finished(&id) {
            return Ok(built);
        }
        let lock = Arc::clone(self.busy().entry(id.clone()).or_default());
        let _held = lock.lock().await;
        if let Some(built) = self.finished(&id) {
            return Ok(built);
        }
        let place = self.place(&id);
        remove(place.clone()).await?;
        if self.unpacked(&id.key, &place).await?
            && let Some(built) = self.finished(&id)
        {
            return Ok(built);
        }
        let result = self.build_at(&place, request, runner).await;
        if let Err(error) = result {
            let error = if matches!(error, BuildError::Failed { .. }) && is_full(&place) {
                BuildError::DiskFull { folder: place.clone() }
            } else {
                error
            };
            remove(place).await?;
            return Err(error);
        }
        self.finished(&id).ok_or_else(|| {
            let source = io::Error::from(io::ErrorKind::NotFound);
            BuildError::Io { what: format!("read `{}`", place.join(RECORD).display()), source }
        })
    }

    /// Removes builds, and what unfinished ones left. Kept are those in `keep`, those being built,
    /// and of the others the `also_recent` that were used last. Blocks while it removes.
    ///
    /// # Errors
    /// The first thing that could not be removed; the rest is removed all the same.
    pub fn prune(&self, keep: &BTreeSet<BuildId>, also_recent: usize) -> io::Result<()> {
        let keys: BTreeSet<&BuildKey> = keep.iter().map(|id| &id.key).collect();
        let mut finished = Vec::new();
        let mut doomed = Vec::new();
        for place in self.places()? {
            let is_kept = match &place {
                Place::OfApp(id) => keep.contains(id),
                Place::ForAll(key) => keys.contains(key),
            };
            if is_kept {
                continue;
            }
            match self.used(&place) {
                Some(used) => finished.push((used, place)),
                None => doomed.push((None, place)),
            }
        }
        finished.sort();
        finished.reverse();
        let old = finished.into_iter().skip(also_recent);
        doomed.extend(old.map(|(used, place)| (Some(used), place)));
        let mut result = Ok(());
        for (used, place) in doomed {
            result = result.and(self.take_away(&place, used));
        }
        for folder in entries(&self.folder)? {
            if folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with(GONE)) {
                result = result.and(remove_now(&folder));
            }
        }
        self.busy().retain(|_, lock| Arc::strong_count(lock) > 1);
        result
    }

    /// Every build that there is, finished or not.
    fn places(&self) -> io::Result<Vec<Place>> {
        let mut places = Vec::new();
        for folder in entries(&self.folder)? {
            let Some(name) = folder.file_name().and_then(|name| name.to_str()) else { continue };
            let key = BuildKey::parse(name).filter(|_| is_a_build(&folder));
            if let Some(key) = key {
                places.push(Place::ForAll(key));
            } else if let Ok(app) = AppName::parse(name) {
                let keys = entries(&folder)?;
                let keys = keys.iter().filter_map(|path| path.file_name()?.to_str());
                let ids = keys.filter_map(BuildKey::parse);
                places.extend(ids.map(|key| Place::OfApp(BuildId { app: app.clone(), key })));
            }
        }
        Ok(places)
    }

    /// Moves a build out of the way, where it can no longer be found, unless somebody is at it or
    /// it was used or finished since it was looked at.
    fn take_away(&self, place: &Place, seen: Option<SystemTime>) -> io::Result<()> {
        let gone = match place {
            Place::OfApp(id) => format!("{GONE}{}-{}", id.app, id.key.as_str()),
            Place::ForAll(key) => format!("{GONE}{}", key.as_str()),
        };
        let gone = self.folder.join(gone);
        remove_now(&gone)?;
        let mut busy = self.busy();
        let lock = match place {
            Place::OfApp(id) => Arc::clone(busy.entry(id.clone()).or_default()),
            // Nobody makes those any more.
            Place::ForAll(_) => Lock::default(),
        };
        let Ok(_held) = lock.try_lock() else { return Ok(()) };
        if self.used(place) != seen {
            return Ok(());
        }
        match fs::rename(self.folder_of(place), gone) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// When a finished build was last asked for.
    fn used(&self, place: &Place) -> Option<SystemTime> {
        fs::metadata(self.folder_of(place).join(RECORD)).ok()?.modified().ok()
    }

    fn folder_of(&self, place: &Place) -> PathBuf {
        match place {
            Place::OfApp(id) => self.place(id),
            Place::ForAll(key) => self.place_for_all(key),
        }
    }

    fn busy(&self) -> MutexGuard<'_, HashMap<BuildId, Lock>> {
        self.busy.lock()
    }

    /// Takes the build from the supply, whole or not at all. Whatever is wrong with it, it can
    /// still be made here.
    async fn unpacked(&self, key: &BuildKey, place: &Path) -> Result<bool, BuildError> {
        let Some(file) = self.supply.as_ref().map(|supply| supply.build(key)) else {
            return Ok(false);
        };
        if !file.is_file() {
            return Ok(false);
        }
        let to = place.to_owned();
        let unpacked = spawn_blocking(move || unpack(&file, &to)).await;
        match unpacked.map_err(io::Error::other).flatten() {
            Ok(()) => {
                tracing::info!(build = key.as_str(), "taken from another machine");
                Ok(true)
            }
            Err(error) => {
                let build = key.as_str();
                tracing::warn!(build, reason = %error, "a supplied build is no good");
                remove(place.to_owned()).await?;
                Ok(false)
            }
        }
    }

    /// Packs a finished build for other machines, into a file that is there whole or not at all.
    /// Blocks.
    ///
    /// # Errors
    /// See [`archive::pack`].
    pub fn pack(&self, id: &BuildId, into: &Path) -> io::Result<()> {
        let place = self.place(id);
        Whole::new(into).make(|new| archive::pack(&place, RECORD, CHECKOUT, new))
    }

    async fn build_at(
        &self,
        place: &Path,
        request: &BuildRequest,
        runner: &impl Runner,
    ) -> Result<(), BuildError> {
        let inner = inside(&request.path)
            .map_err(|objection| BuildError::bad_path(&request.path, objection))?;
        let (checkout, temporary) = (place.join(CHECKOUT), place.join(TEMPORARY));
        for folder in [place, &temporary, &request.home] {
            make(folder)?;
        }
        self.mirrors.check_out(&request.repository, &request.commit, &checkout).await?;
        let folder = app_folder(&checkout, &inner, &request.path)?;
        let toolchains = Toolchains::probe(&self.platform).await;
        let root = fs::canonicalize(&checkout)
            .map_err(|error| BuildError::io("find the checkout", place, error))?;
        let lines = &request.procfile;
        let mut recipe =
            recipe(&request.app, &root, &folder, &toolchains, lines.line("build")).await?;
        runner.tell(&recipe.looked_at);
        // Nothing is built that cannot be started.
        recipe.web(lines)?;
        self.lend_cargo_settings(&request.home)?;
        let folders = vec![checkout.clone(), temporary.clone(), request.home.join(CARGO_HOME)];
        let lend = |error| BuildError::io("lend a build its folders", place, error);
        runner.lend(folders).await.map_err(lend)?;
        let environment = environment(request, &recipe, &toolchains, &folder, &temporary);
        for step in &recipe.build {
            tracing::info!(build = request.key().as_str(), step = step.title, "building");
            let end = runner.run(step, &folder, &environment).await.map_err(|error| {
                BuildError::io(format!("run build step `{}`", step.title), place, error)
            })?;
            if end != End::Exited(0) {
                let (title, command) = (step.title.clone(), step.command.clone());
                return Err(BuildError::Failed { title, command, folder, end });
            }
        }
        remove(temporary).await?;
        let keep = |error| BuildError::io("keep a build", place, error);
        runner.take_back(checkout).await.map_err(keep)?;
        recipe.once_built(&folder);
        recipe.web(lines)?;
        let folder = folder.strip_prefix(&root).unwrap_or(&folder).to_owned();
        let record = Mark { folder, recipe };
        let place = place.to_owned();
        let end = spawn_blocking(move || {
            mark(&place, &record).map_err(|error| BuildError::io("keep a build", &place, error))
        });
        end.await.map_err(|error| BuildError::Io {
            what: "keep a build".to_owned(),
            source: io::Error::other(error),
        })?
    }

    /// Cargo finds its settings only in its home, and the operator's own home is not lent to apps:
    /// it holds programs and credentials.
    fn lend_cargo_settings(&self, home: &Path) -> Result<(), BuildError> {
        let named = self.platform.get("CARGO_HOME").map(PathBuf::from);
        let usual = self.platform.get("HOME").map(|home| Path::new(home).join(".cargo"));
        let Some(operator) = named.or(usual) else { return Ok(()) };
        let settings = operator.join("config.toml");
        if !settings.is_file() {
            return Ok(());
        }
        let folder = home.join(CARGO_HOME);
        // An earlier build could write here. What it made of these two names is not followed.
        let copy = || -> io::Result<()> {
            if fs::symlink_metadata(&folder).is_ok_and(|about| !about.is_dir()) {
                remove_now(&folder)?;
            }
            fs::create_dir_all(&folder)?;
            let own = folder.join("config.toml");
            remove_now(&own)?;
            let text = fs::read(&settings)?;
            fs::OpenOptions::new().write(true).create_new(true).open(own)?.write_all(&text)
        };
        copy().map_err(|error| BuildError::io("copy the settings of cargo", home, error))
    }
}

/// The finished build at a place.
fn found(id: &BuildId, place: &Path) -> Option<Built> {
    let record = place.join(RECORD);
    let Mark { folder, recipe } = serde_json::from_slice(&fs::read(&record).ok()?).ok()?;
    // The order of use is all that is lost if this fails.
    let _ = fs::File::open(&record).and_then(|file| file.set_modified(SystemTime::now()));
    let checkout = place.join(CHECKOUT);
    let folder =
        if folder.as_os_str().is_empty() { checkout.clone() } else { checkout.join(folder) };
    Some(Built { id: id.clone(), folder, checkout, recipe })
}

fn environment(
    request: &BuildRequest,
    recipe: &Recipe,
    toolchains: &Toolchains,
    folder: &Path,
    temporary: &Path,
) -> BTreeMap<String, String> {
    let path = search_path(recipe, folder, toolchains.path());
    let mut environment = toolchains.settings().clone();
    environment.extend([
        ("PATH".to_owned(), path),
        ("HOME".to_owned(), request.home.display().to_string()),
        ("TMPDIR".to_owned(), temporary.display().to_string()),
        ("LANG".to_owned(), "C.UTF-8".to_owned()),
    ]);
    environment.extend(request.build_env.clone());
    environment
}

fn search_path(recipe: &Recipe, folder: &Path, platform: &str) -> String {
    let own = recipe.path.iter().map(|inner| folder.join(inner).display().to_string());
    own.chain([platform.to_owned()]).collect::<Vec<String>>().join(":")
}

/// The app's folder, which no symbolic link may lead out of the checkout.
fn app_folder(checkout: &Path, inner: &Path, path: &str) -> Result<PathBuf, BuildError> {
    let bad = |objection| BuildError::bad_path(path, objection);
    let root = fs::canonicalize(checkout)
        .map_err(|error| BuildError::io("find the checkout", checkout, error))?;
    let real = fs::canonicalize(root.join(inner)).map_err(|_| bad("is not in this commit"))?;
    if !real.starts_with(&root) {
        return Err(bad("leads out of the repository"));
    }
    if real.is_dir() { Ok(real) } else { Err(bad("is not a folder")) }
}

/// Unpacks an archive where a build goes, and marks it as finished if it is one.
fn unpack(file: &Path, place: &Path) -> io::Result<()> {
    fs::create_dir_all(place)?;
    let record = archive::unpack(file, place, RECORD, CHECKOUT)?;
    let record: Mark = serde_json::from_slice(&record)?;
    let path = record.folder.display().to_string();
    inside(&path)
        .map_err(|objection| BuildError::bad_path(&path, objection))
        .and_then(|inner| app_folder(&place.join(CHECKOUT), &inner, &path))
        .map_err(io::Error::other)?;
    mark(place, &record)
}

/// Marks a build as finished, once all of it is on the disk.
fn mark(place: &Path, record: &Mark) -> io::Result<()> {
    rustix::fs::syncfs(fs::File::open(place)?)?;
    let text = serde_json::to_vec_pretty(record)?;
    Whole::new(&place.join(RECORD)).durable().write(&text)
}

fn make(folder: &Path) -> Result<(), BuildError> {
    fs::create_dir_all(folder).map_err(|error| {
        BuildError::io(format!("make the folder `{}`", folder.display()), folder, error)
    })
}

/// What is in a folder; nothing, where there is none.
fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        entries => entries?.map(|entry| Ok(entry?.path())).collect(),
    }
}

/// Whether a build lies in this very folder: an app's name may look like a build's.
fn is_a_build(folder: &Path) -> bool {
    [RECORD, CHECKOUT, TEMPORARY].iter().any(|part| folder.join(part).exists())
}

async fn remove(folder: PathBuf) -> Result<(), BuildError> {
    let what = format!("remove `{}`", folder.display());
    let error = |error| BuildError::io(what.clone(), &folder, error);
    let path = folder.clone();
    let end = spawn_blocking(move || remove_now(&path)).await;
    end.map_err(|join| error(io::Error::other(join)))?.map_err(error)
}
