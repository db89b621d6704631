use std::{collections::BTreeMap, path::PathBuf};
pub struct Given {
    pub first_on_path: Vec<PathBuf>,
    pub platform_path: String,
    pub home: PathBuf,
    pub temporary: PathBuf,
    pub data: PathBuf,
    pub port: Option<u16>,
    pub name: String,
    pub version: String,
    pub revision: String,
    pub env: BTreeMap<String, String>,
}
pub fn of_instance(_: Given) -> BTreeMap<String, String> {
    todo!()
}
