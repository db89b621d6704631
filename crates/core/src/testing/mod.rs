//! The in-memory ports and the contract suites that every implementation of a port must pass:
//! ordinary code, so that the platforms' tests can run them against the real thing.

mod lock;
mod platform;
mod table;

pub use platform::{Kind, MemoryPlatform, PlatformDriver, plan, platform_contract};
pub use table::{MemoryTable, TableUser, table_contract};

/// Runs a future that never has to wait, as those of the ports in memory are.
pub fn run_at_once<F: Future>(future: F) -> F::Output {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(future).poll(&mut context) {
        std::task::Poll::Ready(output) => output,
        std::task::Poll::Pending => panic!("a future in memory never waits"),
    }
}
