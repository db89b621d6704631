//! The command `rowhouse`.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    // The small parents of processes come first: they have no runtime, and must start in no time.
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [_, "shim", folder] => rowhouse_machine::shim::run(Path::new(folder)),
        [_, "shim-exec", folder, parent] => {
            rowhouse_machine::shim::exec(Path::new(folder), parent.parse().unwrap_or(0))
        }
        _ => ExitCode::FAILURE,
    }
}
