//! The package: the functions as zips for upload, and what lies beside them for the way by hand.

use rowhouse_core::ObjectDigest;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use thiserror::Error;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::config::{self, Config, ConfigError};
use crate::template;

/// The reactor's zip, named as the seed names its function.
pub const REACTOR: &str = "AppDemoReactorLambda.zip";
/// The zip of the function that makes certificates.
pub const CERTIFICATES: &str = "CreateElbBackendCertificates.zip";
const POLICY: &str = include_str!("../../../templates/lambda_policy.json");

/// The newest GLIBC of Amazon Linux 2023, and so of the runtime `provided.al2023`.
const GLIBC: (u32, u32) = (2, 34);

/// The processors that functions and instances may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    X86_64,
    Arm64,
}

impl Architecture {
    /// Both, in the words of Lambda.
    pub const ALL: [Architecture; 2] = [Architecture::X86_64, Architecture::Arm64];

    /// Lambda's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Architecture::X86_64 => "x86_64",
            Architecture::Arm64 => "arm64",
        }
    }

    /// The target of the Rust compiler.
    pub fn target(self) -> &'static str {
        match self {
            Architecture::X86_64 => "x86_64-unknown-linux-gnu",
            Architecture::Arm64 => "aarch64-unknown-linux-gnu",
        }
    }

    /// That of a program for Linux; `None`: it is something else.
    pub fn of(program: &[u8]) -> Option<Architecture> {
        let machine = program.get(18..20).map(|two| u16::from_le_bytes([two[0], two[1]]))?;
        let is_program = program.starts_with(b"\x7fELF");
        Architecture::ALL.into_iter().find(|one| is_program && one.machine() == machine)
    }

    /// The machine in an ELF header, System V ABI.
    fn machine(self) -> u16 {
        match self {
            Architecture::X86_64 => 62,
            Architecture::Arm64 => 183,
        }
    }
}

/// The programs of a package.
#[derive(Clone, Debug)]
pub struct Programs {
    pub reactor: PathBuf,
    pub certificates: PathBuf,
    /// `rowhouse` itself, which instances run.
    pub instance: PathBuf,
}

/// What was laid down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packaged {
    /// The files, with their sizes in bytes.
    pub files: Vec<(PathBuf, u64)>,
    /// SHA-256 of the program that instances run.
    pub program: String,
}

/// A package that cannot be made.
#[derive(Debug, Error)]
pub enum PackageError {
    #[error("cannot read `{}`", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("cannot write `{}`", path.display())]
    Unwritable { path: PathBuf, source: io::Error },
    #[error("`{}` cannot run on Lambda: {reason}", path.display())]
    Unfit { path: PathBuf, reason: String },
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// Lays a package down in `out`. `config` is the operator's own, else the eight keys of the
/// original to be filled in; `template` one of an operator's own for the stacks of apps.
///
/// # Errors
/// A file that cannot be read or written, a program that cannot run on Lambda, a configuration with
/// a problem; what was laid down before stays.
pub fn lay(
    out: &Path,
    programs: &Programs,
    architecture: Architecture,
    config: Option<&str>,
    template: Option<&str>,
) -> Result<Packaged, PackageError> {
    let config_text = match config {
        Some(text) => {
            Config::parse(text, "config.json")?;
            text.to_owned()
        }
        None => config::template(),
    };
    let reactor = read(&programs.reactor, architecture)?;
    let certificates = read(&programs.certificates, architecture)?;
    let instance = read(&programs.instance, architecture)?;
    let digest = ObjectDigest::of(&instance).to_string();
    let kept = out.join("programs");
    fs::create_dir_all(&kept)
        .map_err(|source| PackageError::Unwritable { path: kept.clone(), source })?;
    let mut parts = vec![
        ("bootstrap", reactor.as_slice(), 0o755),
        ("config.json", config_text.as_bytes(), 0o644),
        (config::PROGRAM, digest.as_bytes(), 0o644),
    ];
    parts.extend(template.map(|text| (template::OWN, text.as_bytes(), 0o644)));
    let reactor = zipped(&parts);
    let certificates = zipped(&[("bootstrap", &certificates, 0o755)]);
    let mut files = Vec::new();
    for (path, bytes) in [
        (out.join(REACTOR), io_of(out, reactor)?),
        (out.join(CERTIFICATES), io_of(out, certificates)?),
        (out.join("lambda_policy.json"), POLICY.as_bytes().to_vec()),
        (out.join("config.json"), config_text.into_bytes()),
        (kept.join(&digest), instance),
    ] {
        let written = File::create(&path).and_then(|mut file| file.write_all(&bytes));
        written.map_err(|source| PackageError::Unwritable { path: path.clone(), source })?;
        files.push((path, u64::try_from(bytes.len()).unwrap_or(u64::MAX)));
    }
    Ok(Packaged { files, program: digest })
}

fn io_of(out: &Path, zipped: io::Result<Vec<u8>>) -> Result<Vec<u8>, PackageError> {
    zipped.map_err(|source| PackageError::Unwritable { path: out.to_owned(), source })
}

/// A zip of these files: name, contents, mode. The same files give the same bytes.
fn zipped(files: &[(&str, &[u8], u32)]) -> io::Result<Vec<u8>> {
    let mut zip = ZipWriter::new(io::Cursor::new(Vec::new()));
    for (name, contents, mode) in files {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .compression_level(Some(9))
            .last_modified_time(zip::DateTime::default())
            .unix_permissions(*mode);
        zip.start_file(*name, options)?;
        zip.write_all(contents)?;
    }
    Ok(zip.finish()?.into_inner())
}

fn read(path: &Path, architecture: Architecture) -> Result<Vec<u8>, PackageError> {
    let bytes = fs::read(path)
        .map_err(|source| PackageError::Unreadable { path: path.to_owned(), source })?;
    match unfit(&bytes, architecture) {
        None => Ok(bytes),
        Some(reason) => Err(PackageError::Unfit { path: path.to_owned(), reason }),
    }
}

/// Why a program cannot run on `provided.al2023` of that architecture.
fn unfit(program: &[u8], architecture: Architecture) -> Option<String> {
    if Architecture::of(program) != Some(architecture) {
        return Some(format!("it is no program for Linux on {}", architecture.as_str()));
    }
    let newest = glibc(program);
    (newest > GLIBC).then(|| {
        format!(
            "it needs GLIBC {}.{}, and Amazon Linux 2023 has {}.{}: build it on a system with an \
             older one",
            newest.0, newest.1, GLIBC.0, GLIBC.1
        )
    })
}

/// The newest version of GLIBC that a program names.
fn glibc(program: &[u8]) -> (u32, u32) {
    const NAME: &[u8] = b"GLIBC_2.";
    let mut newest = (0, 0);
    for at in memchr::memmem::find_iter(program, NAME) {
        let digits: String = program[at + NAME.len()..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .map(|byte| char::from(*byte))
            .collect();
        newest = newest.max((2, digits.parse().unwrap_or(0)));
    }
    newest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(machine: u8, text: &str) -> Vec<u8> {
        let mut bytes = b"\x7fELF".to_vec();
        bytes.resize(18, 0);
        bytes.extend([machine, 0]);
        bytes.extend(text.bytes());
        bytes
    }

    #[test]
    fn only_what_runs_on_lambda_is_packed() {
        let arm = Architecture::Arm64;
        let intel = Architecture::X86_64;
        assert_eq!(unfit(&program(62, "GLIBC_2.34\0GLIBC_2.2.5\0"), intel), None);
        assert_eq!(unfit(&program(183, "GLIBC_2.17\0"), arm), None);
        assert!(unfit(&program(62, ""), arm).unwrap().contains("arm64"));
        assert!(unfit(b"#!/bin/sh\n", intel).unwrap().contains("no program"));
        assert!(unfit(&program(62, "GLIBC_2.35\0"), intel).unwrap().contains("GLIBC 2.35"));
    }

    #[test]
    fn a_package_is_the_same_for_the_same_programs_and_holds_its_configuration() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("program");
        fs::write(&path, program(62, "")).unwrap();
        let programs =
            Programs { reactor: path.clone(), certificates: path.clone(), instance: path };
        let lay = |name: &str, config: Option<&str>| {
            lay(&room.path().join(name), &programs, Architecture::X86_64, config, None)
        };
        let one = lay("one", None).unwrap();
        lay("two", None).unwrap();
        let zip = |name: &str| fs::read(room.path().join(name).join(REACTOR)).unwrap();
        assert_eq!(zip("one"), zip("two"));
        assert!(room.path().join("one/programs").join(&one.program).is_file());
        let mut archive = zip::ZipArchive::new(io::Cursor::new(zip("one"))).unwrap();
        let text = io::read_to_string(archive.by_name("config.json").unwrap()).unwrap();
        assert!(Config::parse(&text, "config.json").is_ok());
        assert_eq!(archive.by_name("bootstrap").unwrap().unix_mode(), Some(0o100_755));
        let wrong = lay("three", Some("{}"));
        assert!(matches!(wrong, Err(PackageError::Config(_))));
    }
}
