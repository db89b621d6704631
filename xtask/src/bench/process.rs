//! A process that a benchmark has started, and what the kernel says of it.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context;

/// A process that ends with its owner.
pub struct Process(pub Child);

impl Process {
    /// Starts it; its output goes nowhere.
    pub fn start(command: &mut Command) -> anyhow::Result<Process> {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        Ok(Process(child))
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // SIGTERM, so that a master takes its workers with it.
        let _ = Command::new("kill").arg(self.pid().to_string()).status();
        let _ = self.0.wait();
    }
}

/// CPU seconds of a process and its children that are alive, user and system.
pub fn cpu_seconds(pid: u32) -> f64 {
    let own = ticks(pid).unwrap_or(0.0) / 100.0;
    own + children(pid).into_iter().map(cpu_seconds).sum::<f64>()
}

fn ticks(pid: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    // Fields 14 and 15 of proc_pid_stat(5), counted from the state, which is the third.
    Some(fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?)
}

/// What the live threads of a process have used of a processor, to the nanosecond: proc(5),
/// `schedstat`.
pub fn cpu_time(pid: u32) -> Duration {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Duration::ZERO };
    let used = |task: fs::DirEntry| -> Option<u64> {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse().ok()
    };
    Duration::from_nanos(tasks.flatten().filter_map(used).sum())
}

/// Megabytes of resident memory at the peak, and how many threads there are now.
pub fn peak_memory(pid: u32) -> (f64, f64) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field = |name: &str| -> f64 {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let word = line.and_then(|rest| rest.split_whitespace().next());
        word.and_then(|word| word.parse().ok()).unwrap_or(0.0)
    };
    (field("VmHWM:") / 1024.0, field("Threads:"))
}

/// The live children of a process.
pub fn children(pid: u32) -> Vec<u32> {
    fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))
        .unwrap_or_default()
        .split_whitespace()
        .filter_map(|child| child.parse().ok())
        .collect()
}

/// Kilobytes of memory: resident, and private to the process.
pub fn memory(pid: u32) -> (f64, f64) {
    let [resident, clean, dirty] = rollup(pid, ["Rss:", "Private_Clean:", "Private_Dirty:"]);
    (resident, clean + dirty)
}

/// Kilobytes that a process has written to and shares with nobody: what its end would give back.
pub fn private_dirty(pid: u32) -> f64 {
    let [dirty] = rollup(pid, ["Private_Dirty:"]);
    dirty
}

fn rollup<const N: usize>(pid: u32, fields: [&str; N]) -> [f64; N] {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    fields.map(|name| {
        text.lines()
            .find_map(|line| line.strip_prefix(name))
            .and_then(|rest| rest.split_whitespace().next())
            .and_then(|number| number.parse().ok())
            .unwrap_or(0.0)
    })
}

/// The processes whose command line has these words, below a folder of ours.
pub fn with_words(words: &[&str], folder: &Path) -> Vec<u32> {
    let folder = folder.display().to_string();
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let arguments: Vec<String> = line
                .split(|byte| *byte == 0)
                .map(|part| String::from_utf8_lossy(part).into_owned())
                .collect();
            arguments.iter().any(|argument| argument.starts_with(&folder))
                && words.iter().all(|word| arguments.iter().any(|argument| argument == word))
        })
        .collect()
}
