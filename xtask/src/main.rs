//! What a contributor runs: `cargo xtask` lists it.

mod audit;
mod bench;
mod check;
mod mutants;
mod test;
mod test_aws;
mod tools;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["check"] => check::run_all(),
        ["audit"] => audit::run_all(),
        ["test"] => test::run_all(),
        ["bench", name] => bench::run(name),
        ["mutants"] => mutants::run(),
        ["test-aws", arguments @ ..] => test_aws::run(arguments),
        _ => {
            println!(
                "cargo xtask check     format, lints, walls between crates, licences, documents"
            );
            println!("cargo xtask test      every test, with what they need");
            println!("cargo xtask audit     templates and policies, by checkov and parliament");
            println!(
                "cargo xtask test-aws  the whole loop on your own account, which it cleans up"
            );
            println!("cargo xtask mutants   take each rule of the core away, and see a test fail");
            println!(
                "cargo xtask bench …   figures side by side: `proxy`, `deploy`, `idle`; of the functions `lambda`, `sweep`"
            );
            Ok(())
        }
    }
}
