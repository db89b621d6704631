//! What is told of many figures: their middle, and how far the rest of them reach.

/// The middle of some figures; 0 of none.
pub fn median(figures: &mut [f64]) -> f64 {
    percentile(figures, 50.0)
}

/// The figure below which so many of a hundred lie.
pub fn percentile(figures: &mut [f64], percent: f64) -> f64 {
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
