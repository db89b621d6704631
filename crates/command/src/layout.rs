//! How texts are laid out on the lines of a terminal: no word is broken that has room on a line.

/// What stands between two columns.
const GAP: &str = "  ";
/// What stands before that which goes below a row.
const INDENT: &str = "    ";

pub(crate) fn table_lines(head: &[String], rows: &[Vec<String>], width: usize) -> Vec<String> {
    let (mut columns, mut above) = (head.len(), aligned(head, rows, head.len()));
    while columns > 1 && above.1 > width {
        columns -= 1;
        above = aligned(head, rows, columns);
    }
    let mut above = above.0.into_iter();
    let mut lines: Vec<String> = above.next().into_iter().collect();
    for (line, row) in above.zip(rows) {
        lines.push(line);
        let below: Vec<&str> =
            row[columns..].iter().map(String::as_str).filter(|cell| !cell.is_empty()).collect();
        if !below.is_empty() {
            let parts = wrapped(&below.join(" "), width.saturating_sub(INDENT.len()));
            lines.extend(parts.iter().map(|part| format!("{INDENT}{part}")));
        }
    }
    lines
}

/// The first columns as lines, the head among them, and how wide the widest may be.
fn aligned(head: &[String], rows: &[Vec<String>], columns: usize) -> (Vec<String>, usize) {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_content_arrangement(comfy_table::ContentArrangement::Disabled);
    table.set_header(&head[..columns]);
    for row in rows {
        table.add_row(&row[..columns]);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, u16::try_from(GAP.len()).unwrap_or(0)));
    }
    let widths = table.column_max_content_widths();
    let width = widths.iter().map(|width| usize::from(*width) + GAP.len()).sum::<usize>();
    let lines = table.lines().map(|line| line.trim_end().to_owned()).collect();
    (lines, width.saturating_sub(GAP.len()))
}

/// A text on lines that end between words.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    hanging("", text, width)
}

/// A text on lines that end between words, which stand where it begins behind `head`. A word that
/// has no room there, and has it further left, goes further left.
pub(crate) fn hanging(head: &str, text: &str, width: usize) -> Vec<String> {
    let column = head.chars().count();
    let mut lines = vec![head.to_owned()];
    let (mut used, mut is_bare) = (column, true);
    for word in words(text, width.saturating_sub(column)) {
        let length = word.chars().count();
        let gap = usize::from(!is_bare);
        let is_outdented =
            column + length > width && column > INDENT.len() && INDENT.len() + length <= width;
        if is_outdented {
            lines.push(INDENT.to_owned());
            used = INDENT.len();
        } else if !is_bare && used + gap + length > width {
            lines.push(" ".repeat(column));
            used = column;
        } else if gap > 0 {
            used += gap;
            lines.last_mut().expect("there is a line").push(' ');
        }
        lines.last_mut().expect("there is a line").push_str(&word);
        used += length;
        is_bare = false;
    }
    lines.iter().map(|line| line.trim_end().to_owned()).collect()
}

/// The words of a text. What is quoted to be typed is one of them, where it has room on a line.
fn words(text: &str, room: usize) -> Vec<String> {
    let mut words = Vec::new();
    let mut quoted: Vec<&str> = Vec::new();
    for word in text.split(' ') {
        let ends = word.matches('`').count() % 2 == 1;
        match (quoted.is_empty(), ends) {
            (true, false) => words.push(word.to_owned()),
            (true, true) | (false, false) => quoted.push(word),
            (false, true) => {
                quoted.push(word);
                let whole = quoted.join(" ");
                if whole.chars().count() <= room {
                    words.push(whole);
                } else {
                    words.extend(quoted.iter().map(|&word| word.to_owned()));
                }
                quoted.clear();
            }
        }
    }
    words.extend(quoted.into_iter().map(str::to_owned));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(width: usize) -> Vec<String> {
        let of = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let rows = [
            of(["shop", "deployed", "http://shop.localhost:8080"]),
            of(["a-much-longer-name", "deployed", ""]),
        ];
        table_lines(&of(["NAME", "STATUS", "URL"]), &rows, width)
    }

    #[test]
    fn a_table_that_fits_is_a_table() {
        let whole = [
            "NAME                STATUS    URL",
            "shop                deployed  http://shop.localhost:8080",
            "a-much-longer-name  deployed",
        ];
        assert_eq!(lines_of(usize::MAX), whole);
        assert_eq!(lines_of(56), whole);
    }

    #[test]
    fn no_word_of_a_table_is_broken_however_narrow_it_is() {
        assert_eq!(
            lines_of(55),
            [
                "NAME                STATUS",
                "shop                deployed",
                "    http://shop.localhost:8080",
                "a-much-longer-name  deployed",
            ]
        );
        assert_eq!(
            lines_of(20),
            [
                "NAME",
                "shop",
                "    deployed",
                "    http://shop.localhost:8080",
                "a-much-longer-name",
                "    deployed",
            ]
        );
        assert_eq!(wrapped("as  it  is", usize::MAX), ["as  it  is"]);
        assert_eq!(wrapped("out of luck; exit status 3", 12), ["out of luck;", "exit status", "3"]);
    }

    #[test]
    fn a_text_stands_behind_its_head_and_a_long_word_where_it_has_room() {
        let lines = |text, width| hanging("ok       disk  ", text, width);
        assert_eq!(lines("room enough", 80), ["ok       disk  room enough"]);
        assert_eq!(
            lines("ends between words", 27),
            ["ok       disk  ends between", "               words"]
        );
        assert_eq!(
            lines("at http://shop.localhost:8080/ still", 31),
            ["ok       disk  at", "    http://shop.localhost:8080/", "               still"]
                .map(str::to_owned)
        );
        assert_eq!(
            lines("http://shop.localhost", 25),
            ["ok       disk", "    http://shop.localhost"]
        );
        assert_eq!(lines("http://shop.localhost", 9), ["ok       disk  http://shop.localhost"]);
        assert_eq!(lines("", 80), ["ok       disk"]);
    }

    #[test]
    fn what_is_quoted_to_be_typed_stays_on_one_line_where_it_has_room() {
        let text = "so `rowhouse rm a` does";
        assert_eq!(hanging("", text, 17), ["so", "`rowhouse rm a`", "does"]);
        assert_eq!(hanging("", text, 14), ["so `rowhouse", "rm a` does"]);
        assert_eq!(hanging("", "an odd ` is one", 9), ["an odd `", "is one"]);
    }
}
