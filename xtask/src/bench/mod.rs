//! `cargo xtask bench …`: figures, side by side in one run; medians and ratios, never a verdict.

mod account;
mod deploy;
mod event;
mod figure;
mod flood;
mod front;
mod house;
mod idle;
mod lambda;
mod process;
mod proxy;
mod runtime_api;
mod server;
mod sweep;
mod upgrade;
mod wire;

/// Runs the benchmark of that name.
pub fn run(name: &str) -> anyhow::Result<()> {
    match name {
        "proxy" => proxy::run_all(),
        "deploy" => deploy::run(),
        "idle" => idle::run(),
        "flood" => flood::run(),
        "lambda" => lambda::run_all(),
        "sweep" => sweep::run_all(),
        "upgrade" => upgrade::run(),
        other => anyhow::bail!(
            "there is no benchmark `{other}`: `proxy`, `deploy`, `idle`, `flood`, `upgrade`, \
             `lambda` or `sweep`"
        ),
    }
}
