//! The build that instances share: made by the first one, kept in the bucket, verified by whoever
//! fetches it. Whatever is wrong with it, an instance can make its own.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use data_encoding::HEXLOWER;
use rowhouse_command::output;
use rowhouse_core::{Manifest, ObjectDigest};
use rowhouse_machine::build::archive::PACKED_LIMIT;
use rowhouse_machine::build::request::BuildKey;
use rowhouse_machine::build::toolchain::Toolchains;
use rowhouse_machine::folder::DataFolder;
use rowhouse_machine::supply::Supply;
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use crate::account::{Account, Precondition};
use crate::notes::Notes;
use crate::refused::Refused;

/// How often the platform's offer is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long the end of a rollout waits for a build to be stored, so that the next instance finds
/// it.
const STORING: Duration = Duration::from_mins(5);
/// The note beside an object that says what its content must be.
const DIGEST: &str = "sha256";

/// A build, by what decides it.
pub(crate) struct SharedBuild<'a> {
    account: &'a Account,
    notes: &'a Notes,
    supply: &'a Supply,
    /// The platform's folder.
    data: &'a Path,
    build: BuildKey,
    /// Where it lies in the bucket.
    key: String,
    stage: watch::Sender<Stage>,
}

/// How far a build that was made here has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Awaited,
    Taken,
    Over,
}

impl<'a> SharedBuild<'a> {
    /// The build of a manifest on machines such as this one.
    pub(crate) async fn of(
        manifest: &Manifest,
        data: &'a Path,
        account: &'a Account,
        notes: &'a Notes,
        supply: &'a Supply,
    ) -> Result<SharedBuild<'a>, Refused> {
        let build_env = manifest.build_env.revealed();
        let build = BuildKey::of(&manifest.repo, &manifest.path, &manifest.commit, build_env)
            .with_line(manifest.procfile.line("build"));
        let key = format!("builds/{}/{}", manifest.name, alike(&build, data).await);
        let stage = watch::Sender::new(Stage::Awaited);
        Ok(SharedBuild { account, notes, supply, data, build, key, stage })
    }

    /// Lays the build out for the platform, if there is one and it is what its digest says.
    pub(crate) async fn fetch(&self) -> bool {
        match self.fetched().await {
            Ok(found) => {
                if found {
                    output::note("another instance has built this commit");
                }
                found
            }
            Err(error) => {
                let error = output::clean(&error);
                output::warning(&format!("the build `{}` cannot be used: {error}", self.key));
                false
            }
        }
    }

    async fn fetched(&self) -> Result<bool, String> {
        let Some(object) = self.account.look(&self.key).await? else { return Ok(false) };
        if object.content_length > PACKED_LIMIT {
            return Err(format!("it has {} bytes, which is too many", object.content_length));
        }
        let ours = |error: io::Error| error.to_string();
        let file = self.notes.fresh("fetched.build").map_err(ours)?;
        let object = self.account.get(&self.account.bucket, &self.key, &file).await;
        let laid_out = async {
            let object = object?;
            let wanted = object.metadata.get(DIGEST).map_or("", String::as_str).to_owned();
            let path = file.clone();
            let found = spawn_blocking(move || digest_of(&path)).await;
            let found = found.map_err(io::Error::other).flatten().map_err(ours)?;
            if found != wanted {
                return Err("it is not what its digest says".to_owned());
            }
            // Who may enter the supply may read it.
            fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).map_err(ours)?;
            fs::rename(&file, self.supply.build(&self.build)).map_err(ours)
        };
        let laid_out = laid_out.await;
        let _ = fs::remove_file(&file);
        laid_out.map(|()| true)
    }

    /// Takes the build that the platform offers, and stores it unless another instance was first.
    /// Waits for the offer for as long as this is waited for. There is one, before anything of the
    /// app runs; nothing is taken after it.
    pub(crate) async fn collect(&self) {
        if self.supply.is_taken() {
            return;
        }
        let offer = DataFolder::offer_in(self.data);
        while fs::symlink_metadata(&offer).is_err() {
            sleep(LOOK_EVERY).await;
        }
        self.stage.send_replace(Stage::Taken);
        if let Err(error) = self.stored(offer).await {
            let error = output::clean(&error);
            output::warning(&format!("the build could not be stored for other instances: {error}"));
        }
        self.stage.send_replace(Stage::Over);
    }

    async fn stored(&self, offer: PathBuf) -> Result<(), String> {
        let copied = self.copied(offer).await;
        // The platform goes on, and with it the app, which must not get at it any more: also where
        // nothing was copied.
        self.supply.take().map_err(|error| error.to_string())?;
        let (file, digest, size) = copied?;
        if size == 0 {
            return Err("the platform could not pack it: see its log".to_owned());
        }
        let note = format!("{DIGEST}={digest}");
        let put = self.account.put(&self.key, &file, Precondition::Absent, &note).await;
        let _ = fs::remove_file(&file);
        output::note(match put? {
            Some(_) => "the build is stored for other instances",
            None => "another instance has stored its build already",
        });
        Ok(())
    }

    /// A copy of the offer, with its digest and its bytes.
    async fn copied(&self, offer: PathBuf) -> Result<(PathBuf, String, u64), String> {
        let ours = |error: io::Error| error.to_string();
        let file = self.notes.fresh("offered.build").map_err(ours)?;
        let (owner, to) = (fs::metadata(self.data).map_err(ours)?.uid(), file.clone());
        let copied = spawn_blocking(move || copy(&offer, owner, &to)).await;
        let (digest, size) = copied.map_err(io::Error::other).flatten().map_err(ours)?;
        Ok((file, digest, size))
    }

    /// Waits until a build that was taken is stored, within bounds.
    pub(crate) async fn settled(&self) {
        let mut stage = self.stage.subscribe();
        let over = stage.wait_for(|stage| *stage != Stage::Taken);
        let _ = timeout(STORING, over).await;
    }
}

/// What builds have in common that may take each other's place: what is built, with which tools, on
/// what system, and where, since what is installed into a folder often knows the folder's name.
async fn alike(build: &BuildKey, data: &Path) -> ObjectDigest {
    let environment = std::env::vars().collect();
    let tools = Toolchains::probe(&environment).await.versions().await;
    let system = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let data = fs::canonicalize(data).unwrap_or_else(|_| data.to_owned());
    let parts = (1, build, std::env::consts::ARCH, system, tools, data);
    ObjectDigest::of(&serde_json::to_vec(&parts).expect("texts have a JSON form"))
}

/// Copies what the platform offers, and returns its digest and its bytes. The platform's user may
/// have put anything there, so it is a plain file of that user, or it is not taken.
fn copy(offer: &Path, owner: u32, to: &Path) -> io::Result<(String, u64)> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).map_err(io::Error::other)?;
    let from = OpenOptions::new().read(true).custom_flags(flags).open(offer)?;
    let about = from.metadata()?;
    if !about.is_file() || about.uid() != owner {
        return Err(io::Error::other("what is offered is no file of the platform's user"));
    }
    let mut to = OpenOptions::new().write(true).truncate(true).open(to)?;
    let mut digest = Sha256::new();
    let mut from = from.take(PACKED_LIMIT + 1);
    let mut buffer = vec![0; 64 << 10];
    let mut size = 0;
    loop {
        let count = from.read(&mut buffer)?;
        if count == 0 {
            return Ok((HEXLOWER.encode(&digest.finalize()), size));
        }
        size += count as u64;
        if size > PACKED_LIMIT {
            return Err(io::Error::other("what is offered is too large"));
        }
        digest.update(&buffer[..count]);
        to.write_all(&buffer[..count])?;
    }
}

fn digest_of(file: &Path) -> io::Result<String> {
    let mut file = File::open(file)?;
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(HEXLOWER.encode(&digest.finalize())),
            count => digest.update(&buffer[..count]),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn nothing_is_taken_but_a_plain_file_of_the_platforms_user() {
        let room = tempfile::tempdir().unwrap();
        let at = |name: &str| room.path().join(name);
        fs::write(at("plain"), "a build").unwrap();
        fs::write(at("to"), "something longer than a build").unwrap();
        let owner = fs::metadata(at("plain")).unwrap().uid();
        let (digest, size) = copy(&at("plain"), owner, &at("to")).unwrap();
        assert_eq!(size, 7);
        assert_eq!(fs::read_to_string(at("to")).unwrap(), "a build");
        assert_eq!(digest, ObjectDigest::of(b"a build").as_str());
        assert_eq!(digest, digest_of(&at("to")).unwrap());

        symlink("plain", at("link")).unwrap();
        fs::create_dir(at("folder")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            at("pipe"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
        for bad in ["link", "folder", "pipe", "missing"] {
            assert!(copy(&at(bad), owner, &at("to")).is_err(), "{bad}");
        }
        assert!(copy(&at("plain"), owner + 1, &at("to")).is_err());
    }
}
