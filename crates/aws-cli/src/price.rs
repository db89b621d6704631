//! What a platform costs, in figures: list prices of us-east-1 in US dollars, by AWS's price pages
//! of 2025. Other regions ask up to a third more, and traffic and what apps do comes on top.

/// Hours of a month, as AWS counts them.
const MONTH: f64 = 730.0;

/// What runs whether or not there are apps: what it is, dollars a month.
const FIXED: [(&str, f64); 4] = [
    ("load balancer, without what it carries", 0.0225 * MONTH),
    ("its two public addresses", 2.0 * 0.005 * MONTH),
    ("encryption key", 1.0),
    ("alarms, functions, tables, logs", 1.0),
];

/// The size of an instance's disk in GB, as the templates have it.
const DISK: u32 = 20;

/// What each instance costs beside its hours: a public address, and its disk.
fn instance() -> f64 {
    0.005 * MONTH + f64::from(DISK) * 0.08
}

/// Dollars an hour of the types that most begin with.
const TYPES: [(&str, f64); 8] = [
    ("t3.micro", 0.0104),
    ("t3.small", 0.0208),
    ("t3.medium", 0.0416),
    ("t4g.micro", 0.0084),
    ("t4g.small", 0.0168),
    ("t4g.medium", 0.0336),
    ("m7g.large", 0.0816),
    ("m7i.large", 0.1008),
];

/// The price in one sentence.
pub(crate) fn sentence(instance_type: &str) -> String {
    let fixed: f64 = FIXED.iter().map(|(_, price)| price).sum();
    let parts: Vec<String> =
        FIXED.iter().map(|(what, price)| format!("{what} {price:.2}")).collect();
    let instance = TYPES.iter().find(|(name, _)| *name == instance_type).map_or_else(
        || format!("each instance {:.2} and the hours of {instance_type}", instance()),
        |(_, hour)| format!("each {instance_type} {:.2}", hour * MONTH + instance()),
    );
    format!(
        "about {fixed:.0} US dollars a month ({}), and {instance}; list prices of us-east-1, 2025",
        parts.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_price_is_told_in_figures() {
        let said = sentence("t3.micro");
        assert!(said.starts_with("about 26 US dollars a month (load balancer"), "{said}");
        assert!(said.contains("each t3.micro 12.84"), "{said}");
        let size = format!("VolumeSize: {DISK}\n");
        for template in [
            include_str!("../../../templates/app.yaml"),
            include_str!("../../../templates/app-dedicated.yaml"),
        ] {
            assert!(template.contains(&size));
        }
        assert!(sentence("x9.huge").contains("each instance 5.25 and the hours of x9.huge"));
    }
}
