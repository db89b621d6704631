//! What a recogniser has found in an output, and how all of them look at a line.

/// What a recogniser has found in an output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// The last line that belongs to it.
    pub(crate) end: usize,
    /// The most telling first.
    pub(crate) lines: Vec<String>,
}

/// A line without what draws a frame before it.
pub(crate) fn bare(line: &str) -> &str {
    line.trim_start_matches(|letter: char| letter.is_whitespace() || "│|".contains(letter))
}

/// In which column a line begins behind its frame.
pub(crate) fn column(line: &str) -> usize {
    line.chars().count() - bare(line).chars().count()
}

/// Whether a line only passes on that something else has failed.
pub(crate) fn is_passed_on(line: &str) -> bool {
    PASSED_ON.iter().any(|words| line.contains(words))
}

/// What those who run others say when these fail.
const PASSED_ON: [&str; 26] = [
    // pip, and setuptools below it.
    "subprocess-exited-with-error",
    "metadata-generation-failed",
    "Failed building wheel",
    "Failed to build",
    "failed-wheel-build-for-install",
    "Could not build wheels",
    "error: command '",
    "error: Command '",
    "Encountered error while generating package metadata",
    "did not run successfully.",
    "ResolutionImpossible",
    // cargo and rustc.
    "could not compile `",
    "aborting due to",
    // npm, pnpm, yarn and bun.
    "ELIFECYCLE",
    "Lifecycle script `",
    "Command failed with exit code",
    "Found incompatible module",
    "\" exited with code ",
    // ld, make and javac.
    "ld returned ",
    "linking with `",
    "Compilation failure",
    // gunicorn.
    "Exception in worker process",
    "] exited with code ",
    "] Shutting down: ",
    "] Reason: ",
    "Worker (pid:",
];

/// A text that begins with a number, which goes as far as it has digits, and the rest.
pub(crate) fn number(text: &str) -> Option<(u32, &str)> {
    let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, &text[end..]))
}
