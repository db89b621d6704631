//! What a contributor runs: `cargo xtask` lists it.

mod audit;
mod bench;
mod check;
mod explore;
mod mutants;
mod test;
mod test_aws;
mod tidy;
mod tools;

const COMMANDS: &str = "\
cargo xtask check     format, tidiness, lints, walls between crates, licences, documents
cargo xtask test      every test, with what they need
cargo xtask tidy      the sizes and import circles of each crate, and what is out of order
cargo xtask explore   two reactors at one row in deeper worlds than the tests have time for
cargo xtask audit     templates and policies, by checkov and parliament
cargo xtask test-aws  the whole loop on your own account, which it cleans up
cargo xtask mutants   take each rule of the core away, and see a test fail
cargo xtask bench …   figures side by side: `proxy`, `deploy`, `idle`, `upgrade`; of the functions
                      `lambda`, `sweep`
";

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["check"] => check::run_all(),
        ["tidy"] => tidy::run(),
        ["explore"] => explore::run(),
        ["audit"] => audit::run_all(),
        ["test"] => test::run_all(),
        ["bench", name] => bench::run(name),
        ["mutants"] => mutants::run(),
        ["test-aws", arguments @ ..] => test_aws::run(arguments),
        _ => {
            print!("{COMMANDS}");
            Ok(())
        }
    }
}
