//! Metrics in the embedded format: a line of the log, and no call of an API.
//!
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>

use std::io::Write as _;

use jiff::Timestamp;
use serde_json::{Value, json};

/// A figure and the word for its unit.
pub(crate) type Metric = (&'static str, f64, &'static str);

/// Writes one line with these figures of an installation.
pub(crate) fn write(platform: &str, metrics: &[Metric]) {
    let line = line(platform, metrics, Timestamp::now().as_millisecond());
    // Without its log a function has nobody to tell.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

fn line(platform: &str, metrics: &[Metric], at: i64) -> Value {
    let named: Vec<Value> =
        metrics.iter().map(|(name, _, unit)| json!({ "Name": name, "Unit": unit })).collect();
    let mut line = json!({
        "_aws": {
            "Timestamp": at,
            "CloudWatchMetrics": [
                { "Namespace": "Rowhouse", "Dimensions": [["Platform"]], "Metrics": named }
            ]
        },
        "Platform": platform,
    });
    for (name, value, _) in metrics {
        line[*name] = json!(value);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_each_figure_once_and_gives_its_value() {
        let line = line("rowhouse-platform", &[("Reactions", 3.0, "Count")], 7);
        assert_eq!(line["Reactions"], 3.0);
        assert_eq!(line["Platform"], "rowhouse-platform");
        assert_eq!(line["_aws"]["CloudWatchMetrics"][0]["Metrics"][0]["Name"], "Reactions");
        assert_eq!(line["_aws"]["Timestamp"], 7);
    }
}
