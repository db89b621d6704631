//! `package.sh`, the original's way to a package.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../aws/tests/emulator/mod.rs"]
mod emulator;
mod room;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use room::{Room, texts};

/// In the place of cargo, which would build for minutes: it insists on what it is asked for, and
/// runs what cargo would.
const CARGO: &str = "#!/bin/sh\n\
    [ \"$1 $2 $3 $4 $5\" = 'run --release --package rowhouse-aws-cli --' ] || exit 64\n\
    [ -f Cargo.toml ] || exit 65\n\
    shift 5\n\
    exec rowhouse-aws \"$@\"\n";

#[tokio::test]
async fn the_script_lays_a_package_down_from_any_folder() {
    let room = Room::new().await;
    let cargo = room.path("bin/cargo");
    std::fs::write(&cargo, CARGO).unwrap();
    std::fs::set_permissions(&cargo, std::fs::Permissions::from_mode(0o755)).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../package.sh");
    let out = room.path("a package");
    let output = room.run(Command::new("sh").arg(script).arg(&out));
    let (printed, said) = texts(&output);
    assert!(output.status.success(), "{printed}\n{said}");
    for name in [
        "AppDemoReactorLambda.zip",
        "CreateElbBackendCertificates.zip",
        "lambda_policy.json",
        "config.json",
    ] {
        assert!(out.join(name).is_file(), "{name}: {printed}");
    }
    assert_eq!(std::fs::read_dir(out.join("programs")).unwrap().count(), 1);
}
