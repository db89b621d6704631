use crate::shim::ShimSpec;
use std::{io, path::Path};
#[derive(Debug)]
pub struct Supervised;
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    Exited(i32),
    Signalled(i32),
    TimedOut,
    NotStarted { reason: String },
    Lost,
}
impl std::fmt::Display for End {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        todo!()
    }
}
pub enum Adopted {
    Running(Supervised),
    Ended(End),
    NeverStarted,
}
impl Supervised {
    pub fn start(_: &Path, _: &Path, _: &ShimSpec) -> io::Result<Supervised> {
        todo!()
    }
    pub async fn adopt(_: &Path) -> io::Result<Adopted> {
        todo!()
    }
    pub fn is_running(&self) -> bool {
        todo!()
    }
    pub async fn ended(&self) -> End {
        todo!()
    }
    pub async fn stop(&self) -> End {
        todo!()
    }
}
