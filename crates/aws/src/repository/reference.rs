//! Lists of references as git servers send them: packet lines, of which every byte is the server's.
//! Pure.

use gix_packetline::PacketLineRef;
use gix_packetline::decode::{Stream, streaming};
use rowhouse_core::{Commit, Version, shortened};
use thiserror::Error;

/// The server answered with something that is not a list of references.
#[derive(Debug, Error)]
pub(crate) enum NotUnderstood {
    #[error("its answer is none of git's: `Repo` must be the URL that `git clone` takes")]
    Garbage,
    #[error("its answer breaks off")]
    Cut,
    #[error("it says {0}")]
    Said(String),
}

/// What a version names: the branch and the tag of that name.
#[derive(Debug, Default)]
pub(crate) struct References {
    branch: Option<Commit>,
    tag: Option<Commit>,
    /// Where an annotated tag leads.
    peeled: Option<Commit>,
}

impl References {
    /// A branch goes before a tag, and what a tag leads to before the tag itself.
    pub(crate) fn commit(self) -> Option<Commit> {
        self.branch.or(self.peeled).or(self.tag)
    }

    fn keep(&mut self, name: &[u8], commit: Commit, version: &Version) {
        let version = version.as_str().as_bytes();
        if name.strip_prefix(b"refs/heads/") == Some(version) {
            self.branch = Some(commit);
        } else if let Some(tag) = name.strip_prefix(b"refs/tags/") {
            if tag == version {
                self.tag = Some(commit);
            } else if tag.strip_suffix(b"^{}") == Some(version) {
                self.peeled = Some(commit);
            }
        }
    }
}

/// What a server answers to the first request.
#[derive(Debug)]
pub(crate) enum Advertised {
    /// It wants to be asked.
    Version2,
    /// It speaks version 0 or 1, and has sent all that it has.
    References(References),
}

/// Reads the answer to the first request.
pub(crate) fn advertised(body: &[u8], version: &Version) -> Result<Advertised, NotUnderstood> {
    let mut lines = Lines(body).filter(|line| {
        // The announcement of the service is a section of its own, which servers of version 2 may
        // leave out.
        !matches!(line, Ok(line) if line.is_empty() || line.starts_with(b"# service="))
    });
    let first = lines.next().ok_or(NotUnderstood::Garbage)??;
    if first == b"version 2" {
        return Ok(Advertised::Version2);
    }
    if !body.ends_with(b"0000") {
        return Err(NotUnderstood::Cut);
    }
    let mut references = References::default();
    if first != b"version 1" {
        read_old(first, version, &mut references)?;
    }
    for line in lines {
        read_old(line?, version, &mut references)?;
    }
    Ok(Advertised::References(references))
}

/// The question of version 2.
pub(crate) fn question(version: &Version) -> String {
    let line = |text: &str| format!("{:04x}{text}\n", text.len() + 5);
    let version = version.as_str();
    [
        line("command=ls-refs"),
        "0001".to_owned(),
        line("peel"),
        line(&format!("ref-prefix refs/heads/{version}")),
        line(&format!("ref-prefix refs/tags/{version}")),
        "0000".to_owned(),
    ]
    .concat()
}

/// Reads the answer to the question of version 2.
pub(crate) fn listed(body: &[u8], version: &Version) -> Result<References, NotUnderstood> {
    let mut references = References::default();
    let mut is_ended = false;
    for line in Lines(body) {
        let line = line?;
        if line.is_empty() {
            is_ended = true;
            break;
        }
        let (commit, rest) = object(line)?;
        let mut words = rest.split(|byte| *byte == b' ');
        let name = words.next().unwrap_or_default();
        for peeled in words.filter_map(|word| word.strip_prefix(b"peeled:")) {
            let name = [name, b"^{}"].concat();
            references.keep(&name, hex(peeled).ok_or(NotUnderstood::Garbage)?, version);
        }
        references.keep(name, commit, version);
    }
    if is_ended { Ok(references) } else { Err(NotUnderstood::Cut) }
}

/// `<object> <name>`, the first line with what the server can do after a NUL.
fn read_old(
    line: &[u8],
    version: &Version,
    references: &mut References,
) -> Result<(), NotUnderstood> {
    let (commit, rest) = object(line)?;
    let name = rest.split(|byte| *byte == 0).next().unwrap_or_default();
    references.keep(name, commit, version);
    Ok(())
}

fn object(line: &[u8]) -> Result<(Commit, &[u8]), NotUnderstood> {
    let space = line.iter().position(|byte| *byte == b' ').ok_or(NotUnderstood::Garbage)?;
    let (digits, rest) = line.split_at(space);
    Ok((hex(digits).ok_or(NotUnderstood::Garbage)?, &rest[1..]))
}

fn hex(digits: &[u8]) -> Option<Commit> {
    Commit::parse(std::str::from_utf8(digits).ok()?)
}

/// The lines of an answer without their newlines; the ends of sections are empty ones.
struct Lines<'a>(&'a [u8]);

impl<'a> Iterator for Lines<'a> {
    type Item = Result<&'a [u8], NotUnderstood>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let rest = std::mem::take(&mut self.0);
        let (line, length) = match streaming(rest) {
            Ok(Stream::Complete { line, bytes_consumed }) => (line, bytes_consumed),
            Ok(Stream::Incomplete { .. }) => return Some(Err(NotUnderstood::Cut)),
            Err(_) => return Some(Err(NotUnderstood::Garbage)),
        };
        self.0 = &rest[length..];
        if let Some(error) = line.check_error() {
            let said = String::from_utf8_lossy(error.0);
            return Some(Err(NotUnderstood::Said(shortened(said.trim()))));
        }
        Some(Ok(match line {
            PacketLineRef::Data(data) => data.strip_suffix(b"\n").unwrap_or(data),
            PacketLineRef::Flush | PacketLineRef::Delimiter | PacketLineRef::ResponseEnd => b"",
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BRANCH: &str = "1111111111111111111111111111111111111111";
    const TAG: &str = "2222222222222222222222222222222222222222";
    const PEELED: &str = "3333333333333333333333333333333333333333";

    fn version() -> Version {
        Version::parse("v1").unwrap()
    }

    fn lines(texts: &[String]) -> Vec<u8> {
        let lines = texts.iter().map(|text| format!("{:04x}{text}", text.len() + 4));
        (lines.collect::<String>() + "0000").into_bytes()
    }

    fn old(body: &[u8]) -> Result<Option<Commit>, NotUnderstood> {
        match advertised(body, &version())? {
            Advertised::References(references) => Ok(references.commit()),
            Advertised::Version2 => panic!("version 2"),
        }
    }

    fn new(body: &[u8]) -> Result<Option<Commit>, NotUnderstood> {
        listed(body, &version()).map(References::commit)
    }

    #[test]
    fn a_branch_goes_before_a_tag_and_a_tag_is_peeled_in_any_order() {
        let branch = format!("{BRANCH} refs/heads/v1\n");
        let peeled_tag = format!("{TAG} refs/tags/v1 symref-target:x peeled:{PEELED}\n");
        for texts in [[branch.clone(), peeled_tag.clone()], [peeled_tag.clone(), branch.clone()]] {
            assert_eq!(new(&lines(&texts)).unwrap().unwrap().as_str(), BRANCH);
        }
        assert_eq!(new(&lines(&[peeled_tag])).unwrap().unwrap().as_str(), PEELED);
        let first = format!("{TAG} refs/tags/v1\0side-band agent=git/2\n");
        let second = format!("{PEELED} refs/tags/v1^{{}}\n");
        assert_eq!(old(&lines(&[first.clone(), second])).unwrap().unwrap().as_str(), PEELED);
        assert_eq!(old(&lines(&[first, branch])).unwrap().unwrap().as_str(), BRANCH);
    }

    #[test]
    fn only_the_very_name_counts() {
        let near = [
            "refs/heads/v1.1",
            "refs/heads/a/v1",
            "refs/heads/refs/heads/v1",
            "refs/tags/v11",
            "refs/pull/v1",
            "v1",
            "HEAD",
        ];
        let texts: Vec<String> = near.iter().map(|name| format!("{BRANCH} {name}\n")).collect();
        assert_eq!(new(&lines(&texts)).unwrap(), None);
        assert_eq!(old(&lines(&texts)).unwrap(), None);
    }

    #[test]
    fn a_repository_without_commits_has_no_version() {
        let zero = "0".repeat(40);
        assert_eq!(
            old(&lines(&[format!("{zero} capabilities^{{}}\0agent=git/2\n")])).unwrap(),
            None
        );
        assert_eq!(new(b"0000").unwrap(), None);
    }

    #[test]
    fn nothing_that_a_server_sends_is_believed_to_be_whole_or_well_formed() {
        let branch = format!("{BRANCH} refs/heads/v1\n");
        let whole = lines(&[branch]);
        for end in 0..whole.len() {
            assert!(new(&whole[..end]).is_err(), "{end}");
            assert!(old(&whole[..end]).is_err(), "{end}");
        }
        for body in [
            &b"<!doctype html><html>"[..],
            b"0003",
            b"0004",
            b"ffff",
            b"zzzz",
            b"000a\xff\xff\xff\xff\xff\xff0000",
            b"0008abcd0000",
            b"0008ab c0000",
            b"\0\0\0\0",
        ] {
            assert!(new(body).is_err(), "{body:?}");
            assert!(old(body).is_err(), "{body:?}");
        }
        let said = new(&lines(&["ERR no\u{1b}[31m way\n".to_owned()])).unwrap_err().to_string();
        assert_eq!(said, "it says `no\\u{1b}[31m way`");
    }
}
