//! The rows of `umbra bench latency`: in the longest operations, the longest time that the kernel does not look whether an
//! interrupt waits.

use serde_json::{Map, Value, json};

use crate::verdict::Row;

/// What the name of the row with the whole operation's length ends in.
const WHOLE: &str = ".whole";

/// The stretches, as Markdown, each beside the whole operation; the longest last.
pub fn table(rows: &[Row]) -> String {
    let mut text = String::from("| operation | longest stretch | whole |\n| --- | --: | --: |\n");
    let mut longest = 0;
    for (name, stretch, whole) in stretches(rows) {
        longest = longest.max(stretch);
        text += &format!("| {} | {stretch} | {whole} |\n", name.replace('-', " "));
    }
    text + &format!("| longest of all | {longest} | |\n")
}

/// The same for a file.
pub fn values(rows: &[Row]) -> Map<String, Value> {
    stretches(rows)
        .map(|(name, stretch, whole)| {
            let value = json!({ "stretch": stretch, "whole": whole });
            (name.to_owned(), value)
        })
        .collect()
}

/// Each operation's name, longest stretch and length.
fn stretches(rows: &[Row]) -> impl Iterator<Item = (&str, u64, u64)> {
    rows.iter().filter_map(|row| {
        let whole = rows
            .iter()
            .find(|other| other.name.strip_suffix(WHOLE) == Some(&row.name))?;
        Some((row.name.as_str(), row.max, whole.max))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_pairs_each_stretch_with_its_operation_and_ends_with_the_longest() {
        let row = |name: &str, max| Row {
            name: name.into(),
            count: 1,
            mean: 0.0,
            min: max,
            max,
        };
        let rows = [
            row("delete-pool", 500),
            row("delete-pool.whole", 700),
            row("rotate", 90),
            row("rotate.whole", 95),
            row("alone", 1),
        ];
        let text = table(&rows);
        let lines: Vec<&str> = text.lines().skip(2).collect();
        assert_eq!(
            lines,
            [
                "| delete pool | 500 | 700 |",
                "| rotate | 90 | 95 |",
                "| longest of all | 500 | |"
            ]
        );
        assert_eq!(
            values(&rows)["rotate"],
            json!({ "stretch": 90, "whole": 95 })
        );
    }
}
