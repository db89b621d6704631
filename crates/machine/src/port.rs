#[derive(Debug)]
pub struct Ports;
impl Ports {
    pub fn new() -> Ports {
        Ports
    }
    pub fn choose(&mut self, _: &std::collections::BTreeSet<u16>) -> Option<u16> {
        None
    }
}
