//! `cargo xtask mutants`: each rule of the core, taken away, must make a test of the core fail.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};

use crate::tools::root;

/// A rule, and the smallest change of the source that takes it away.
struct Mutant {
    rule: &'static str,
    file: &'static str,
    source: &'static str,
    instead: &'static str,
}

const fn mutant(
    rule: &'static str,
    file: &'static str,
    source: &'static str,
    instead: &'static str,
) -> Mutant {
    Mutant { rule, file, source, instead }
}

const MUTANTS: [Mutant; 37] = [
    mutant(
        "what was tried is not tried again",
        "decide.rs",
        "if tried || refused {\n                    let because",
        "if refused {\n                    let because",
    ),
    mutant(
        "what was refused is not tried again",
        "decide.rs",
        "Pinned::Known { .. } if wanted.refused =>",
        "Pinned::Known { .. } if false && wanted.refused =>",
    ),
    mutant(
        "the newest row wins over what can be cancelled",
        "decide.rs",
        "decision(Action::Cancel, Because::Overtaken)",
        "decision(Action::Wait, Because::AnotherInProgress)",
    ),
    mutant(
        "what cannot be cancelled is waited for",
        "decide.rs",
        "decision(Action::Wait, Because::AnotherInProgress)",
        "decision(Action::Cancel, Because::Overtaken)",
    ),
    mutant(
        "without a row what can be cancelled is",
        "decide.rs",
        "decision(Action::Cancel, Because::UnwantedCancellable)",
        "decision(Action::Wait, Because::UnwantedInProgress)",
    ),
    mutant(
        "without a row the stack is deleted",
        "decide.rs",
        "decision(Action::Delete { retain: false }, Because::Unwanted)",
        "decision(Action::Rest, Because::Unwanted)",
    ),
    mutant(
        "an invalid row leaves alone what runs",
        "decide.rs",
        "(_, Desired::Invalid) => decision(Action::Rest, Because::Invalid)",
        "(_, Desired::Invalid) => decide_unwanted(&stack.phase)",
    ),
    mutant(
        "a foreign stack is left alone",
        "decide.rs",
        "Observed::Foreign(_) => decision(Action::Rest, Because::Foreign)",
        "Observed::Foreign(_) => decision(Action::Delete { retain: false }, Because::Foreign)",
    ),
    mutant(
        "deletions are bounded",
        "decide.rs",
        "if failures < MOST_DELETIONS {",
        "if failures < u32::MAX {",
    ),
    mutant(
        "the second deletion retains what is stuck",
        "decide.rs",
        "retain: failures > 1",
        "retain: false",
    ),
    mutant(
        "continued rollbacks are bounded",
        "decide.rs",
        "*tries < MOST_CONTINUATIONS",
        "*tries < u32::MAX",
    ),
    mutant(
        "a stuck stack is lost for a new wish alone",
        "decide.rs",
        "Phase::Stuck { .. } if tried || refused || wanted.attempted =>",
        "Phase::Stuck { .. } if false =>",
    ),
    mutant(
        "a broken stack makes way for another target",
        "decide.rs",
        "decision(Action::Delete { retain: false }, Because::BrokenByAnother)",
        "decision(Action::Rest, Because::BrokenByThis)",
    ),
    mutant(
        "settings wait for their turn",
        "decide.rs",
        "lags && !wanted.may_catch_up",
        "lags && false",
    ),
    mutant(
        "what failed is not called deployed",
        "report.rs",
        "(Status::DeployFailed, failure())\n        }\n        Because::DeletionGivenUp",
        "(Status::Deployed, failure())\n        }\n        Because::DeletionGivenUp",
    ),
    mutant(
        "failed settings leave the app deployed",
        "report.rs",
        "return if lags {",
        "return if false {",
    ),
    mutant(
        "a refusal is remembered while the way is cleared",
        "report.rs",
        "            if wanted.refused =>\n",
        "            if false && wanted.refused =>\n",
    ),
    mutant(
        "what failed has failed, also while nobody can look",
        "report.rs",
        "if is_of_this && row.report.status == Some(Status::DeployFailed) {",
        "if false && is_of_this {",
    ),
    mutant(
        "the status speaks of the row as it is",
        "report.rs",
        "generation: Some(row.generation()),",
        "generation: row.report.generation.clone(),",
    ),
    mutant(
        "the revision is what runs",
        "report.rs",
        "revision: observed.running().map(|running| running.commit.clone()),",
        "revision: observed.aim().map(|aim| aim.commit.clone()),",
    ),
    mutant(
        "what has no row is read again before it is deleted",
        "reconcile.rs",
        "if self.table.get(&self.name.key()).await? != Found::Removed {",
        "if false {",
    ),
    mutant(
        "a table that was lost meanwhile deletes nothing",
        "reconcile.rs",
        "if self.table.get(&self.name.key()).await? != Found::Removed {",
        "if self.table.get(&self.name.key()).await?.row().is_some() {",
    ),
    mutant(
        "what nobody removed is left alone",
        "decide.rs",
        "(_, Desired::Absent) => decision(Action::Rest, Because::Orphan)",
        "(_, Desired::Absent) => decide_unwanted(&stack.phase)",
    ),
    mutant(
        "absent is not removed",
        "sweep.rs",
        "Ok(Found::Absent) => without.orphans.push(name.clone()),",
        "Ok(Found::Absent) => without.removed.push(name.clone()),",
    ),
    mutant(
        "a lost claim ends the look",
        "reconcile.rs",
        "let Written::Done(row) = self.table.write(&row, &claim, None).await? else {\n            \
         return Ok(done(decision, Again::Now));\n        };",
        "if let Written::Done(_) = self.table.write(&row, &claim, None).await? {}",
    ),
    mutant(
        "the row is read before the stack",
        "reconcile.rs",
        "let found = table.get(key).await?;",
        "if let Ok(name) = AppName::parse(key.as_str()) {\n        let _ = \
         platform.observe(&name).await?;\n    }\n    let found = Found::Absent;",
    ),
    mutant(
        "a refused operation is told",
        "reconcile.rs",
        "Outcome::Started | Outcome::Busy => false,\n            Outcome::Refused { .. } | \
         Outcome::Unreachable { .. } => {",
        "Outcome::Started | Outcome::Busy | Outcome::Refused { .. } => false,\n            \
         Outcome::Unreachable { .. } => {",
    ),
    mutant(
        "a commit is kept while its source stays",
        "reconcile.rs",
        "(Some(commit), _) if !app.follow => return known(commit.clone()),",
        "",
    ),
    mutant(
        "a repository that denies us never replaces a commit that is kept",
        "reconcile.rs",
        "(Resolution::Denied { reason } | Resolution::Unreachable { reason }, Some(commit)) => {",
        "(Resolution::Denied { reason }, _) => (reason, nothing(NoCommit::Denied)),\n            \
         (Resolution::Unreachable { reason }, Some(commit)) => {",
    ),
    mutant(
        "a repository that denied us is asked again by the full sweep alone",
        "reconcile.rs",
        "NoCommit::Denied => self.waking != Waking::AskAgain,",
        "NoCommit::Denied => false,",
    ),
    mutant(
        "the full sweep asks again",
        "sweep.rs",
        "Some(NoCommit::Denied) {",
        "Some(NoCommit::NoSuchVersion) && false {",
    ),
    mutant(
        "the row's own refusal is a witness",
        "reconcile.rs",
        "Some(Status::DeployFailed) => true,",
        "Some(Status::DeployFailed) => false,",
    ),
    mutant(
        "of what is too much for one sweep, each takes others",
        "sweep.rs",
        "turn.wrapping_mul(most) % standing.len()",
        "turn % 1",
    ),
    mutant(
        "the full sweep leaves alone what its lists show settled",
        "sweep.rs",
        "if !is_settled(row, observed, &settings).await {",
        "if true {",
    ),
    mutant("a sweep deletes a fifth at most", "sweep.rs", "(ours / 5).max(1)", "ours"),
    mutant(
        "settings roll out a few at a time",
        "sweep.rs",
        "const CATCHING_UP: usize = 2;",
        "const CATCHING_UP: usize = 100;",
    ),
    mutant(
        "claims hold on every attribute",
        "testing/table.rs",
        "if row.seq != seen.seq || row.user != seen.user {",
        "if row.seq != seen.seq {",
    ),
];

/// Takes the rules away one by one, in a copy of the core, and tells which tests notice.
pub fn run() -> anyhow::Result<()> {
    let copy = tempfile::tempdir()?;
    let folder = copy.path();
    let copied = Command::new("cp")
        .arg("-r")
        .arg(root().join("crates/core"))
        .arg(root().join("Cargo.toml"))
        .arg(root().join("Cargo.lock"))
        .arg(folder)
        .status()?;
    anyhow::ensure!(copied.success(), "cannot copy the core");
    std::fs::create_dir(folder.join("crates"))?;
    std::fs::rename(folder.join("core"), folder.join("crates/core"))?;
    let manifest = std::fs::read_to_string(folder.join("Cargo.toml"))?;
    // Of the workspace, the core alone.
    let alone: Vec<&str> = manifest
        .lines()
        .filter(|line| {
            let is_member = line.starts_with("    \"crates/") || *line == "    \"xtask\",";
            let is_another = is_member && *line != "    \"crates/core\",";
            !is_another && !line.starts_with("default-members")
        })
        .collect();
    let alone = alone.join("\n");
    std::fs::write(folder.join("Cargo.toml"), alone)?;
    let (passes, output) = test(folder)?;
    anyhow::ensure!(passes, "the core's tests fail without any mutant:\n{output}");
    let mut survived = Vec::new();
    for mutant in &MUTANTS {
        let path = folder.join("crates/core/src").join(mutant.file);
        let original = std::fs::read_to_string(&path)?;
        std::fs::write(&path, changed(mutant, &original)?)?;
        let (passes, output) = test(folder)?;
        std::fs::write(&path, original)?;
        let caught = output
            .lines()
            .find_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED"))
            .unwrap_or("it does not compile");
        if passes {
            survived.push(mutant.rule);
            println!("SURVIVED  {}", mutant.rule);
        } else if caught == "it does not compile" {
            bail!("the mutant of `{}` does not compile:\n{output}", mutant.rule);
        } else {
            println!("caught    {}  ({caught})", mutant.rule);
        }
    }
    anyhow::ensure!(survived.is_empty(), "{} rules are not tested: {survived:?}", survived.len());
    println!("{} rules, each noticed when it is taken away", MUTANTS.len());
    Ok(())
}

fn changed(mutant: &Mutant, original: &str) -> anyhow::Result<String> {
    match original.matches(mutant.source).count() {
        1 => Ok(original.replacen(mutant.source, mutant.instead, 1)),
        count => {
            bail!("`{}` stands {count} times in {}: {}", mutant.source, mutant.file, mutant.rule)
        }
    }
}

/// Runs the core's tests in the copy; the quick ones first, which notice most.
fn test(folder: &Path) -> anyhow::Result<(bool, String)> {
    let mut all = String::new();
    for arguments in [
        &["--lib", "--test", "decision_table", "--test", "contract"] as &[&str],
        &["--test", "explore"],
    ] {
        let output = Command::new("cargo")
            .args(["test", "--offline", "--package", "rowhouse-core", "--no-fail-fast"])
            .args(arguments)
            .env("CARGO_TARGET_DIR", root().join("target/mutants"))
            .current_dir(folder)
            .output()
            .context("cannot run cargo")?;
        all.push_str(&String::from_utf8_lossy(&output.stdout));
        if !output.status.success() {
            all.push_str(&String::from_utf8_lossy(&output.stderr));
            return Ok((false, all));
        }
    }
    Ok((true, all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mutant_stands_in_the_source_exactly_once() {
        for mutant in &MUTANTS {
            let path = root().join("crates/core/src").join(mutant.file);
            let source = std::fs::read_to_string(path).unwrap();
            changed(mutant, &source).unwrap();
        }
    }
}
