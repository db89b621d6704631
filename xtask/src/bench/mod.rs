//! `cargo xtask bench …`: figures, side by side in one run; medians and ratios, never a verdict.

mod account;
mod deploy;
mod event;
mod front;
mod house;
mod idle;
mod lambda;
mod process;
mod proxy;
mod runtime_api;
mod server;
mod sweep;
mod wire;

/// Runs the benchmark of that name.
pub fn run(name: &str) -> anyhow::Result<()> {
    match name {
        "proxy" => proxy::run_all(),
        "deploy" => deploy::run(),
        "idle" => idle::run(),
        "lambda" => lambda::run_all(),
        "sweep" => sweep::run_all(),
        other => anyhow::bail!(
            "there is no benchmark `{other}`: `proxy`, `deploy`, `idle`, `lambda` or `sweep`"
        ),
    }
}

/// The middle of some figures; 0 of none.
fn median(figures: &mut [f64]) -> f64 {
    percentile(figures, 50.0)
}

/// The figure below which so many of a hundred lie.
fn percentile(figures: &mut [f64], percent: f64) -> f64 {
    figures.sort_by(f64::total_cmp);
    let last = figures.len().saturating_sub(1);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a few hundred figures"
    )]
    let index = (percent / 100.0 * last as f64).round() as usize;
    figures.get(index).copied().unwrap_or(0.0)
}
