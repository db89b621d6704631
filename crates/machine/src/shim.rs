use std::{collections::BTreeMap, path::PathBuf};
#[derive(Clone, Debug)]
pub struct ShimSpec {
    pub command: Vec<String>,
    pub folder: PathBuf,
    pub environment: BTreeMap<String, String>,
    pub log: PathBuf,
    pub log_limit: u64,
    pub stop_grace_ms: u64,
    pub time_limit_ms: Option<u64>,
}
