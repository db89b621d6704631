//! Finds out which layers this machine has, by processes of this program that enter a sandbox and
//! do nothing else.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::room::remove_now;
use crate::sandbox::layers::{Layers, Namespace};
use crate::sandbox::user::{User, may_be_given};
use crate::sandbox::{SYSTEM, Sandbox, rules};

/// Tries what there is, as `user`, too, if there is one that an app could be.
/// `folder` is for them alone, and gone afterwards. Blocks for some milliseconds.
pub fn layers(program: &Path, folder: &Path, user: Option<u32>) -> Layers {
    let landlock = rules::newest();
    let works = |layers: &Layers| is_entered(program, folder, layers, user);
    let bare = |filter| Layers { view: None, overlay: false, landlock, filter };
    let filter = works(&bare(true));
    let user_first = user.filter(|_| may_be_given()).map(|_| Namespace::OwnUser);
    let kinds = user_first.into_iter().chain([Namespace::Mount, Namespace::User]);
    let candidates = kinds.flat_map(|namespace| {
        [true, false].map(|overlay| Layers { view: Some(namespace), overlay, ..bare(filter) })
    });
    let found = candidates.into_iter().find(works);
    found.unwrap_or_else(|| bare(filter))
}

const DESCRIPTION: &str = "sandbox.json";
/// What `rowhouse sandbox-try FOLDER` does when it is in: the smallest thing that a program may.
const TRIED: &str = "/bin/sh";

/// Whether a process of this program gets into a sandbox of these layers.
fn is_entered(program: &Path, folder: &Path, layers: &Layers, user: Option<u32>) -> bool {
    let attempt = || -> io::Result<bool> {
        let (place, release) = (folder.join("process"), folder.join("release"));
        for path in [&place.join("tmp"), &release] {
            fs::create_dir_all(path)?;
        }
        let sandbox = Sandbox {
            layers: layers.clone(),
            readable: SYSTEM.map(PathBuf::from).to_vec(),
            writable: Vec::new(),
            release: Some(release),
            port: None,
            user: user.map(|id| User { id, home: "/".into() }),
        };
        fs::write(place.join(DESCRIPTION), serde_json::to_vec(&sandbox)?)?;
        let mut command = Command::new(program);
        command.arg("sandbox-try").arg(&place).env_clear().current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(command.status()?.success())
    };
    let entered = attempt().unwrap_or(false);
    let _ = remove_now(folder);
    entered
}

/// `rowhouse sandbox-try FOLDER`: enters the sandbox that the folder describes. Returns only where
/// that fails.
pub fn try_to_enter(folder: &Path) -> io::Error {
    let enter = || -> io::Result<()> {
        let sandbox: Sandbox = serde_json::from_slice(&fs::read(folder.join(DESCRIPTION))?)?;
        sandbox.enter(folder)
    };
    match enter() {
        Ok(()) => Command::new(TRIED).args(["-c", ":"]).env_clear().exec(),
        Err(error) => error,
    }
}
