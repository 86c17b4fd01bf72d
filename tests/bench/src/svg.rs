//! Plots as SVG: bars in groups, and lines, on logarithmic axes. No more than the documents need.

use std::fmt::Write as _;

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 80.0;
const TOP: f64 = 50.0;
const RIGHT: f64 = 20.0;
const BOTTOM: f64 = 90.0;
/// Colours that most people can tell apart, also in grey.
const COLOURS: [&str; 10] = [
    "#0b5fa5", "#2f80c8", "#6db0e3", "#a3cdee", "#333333", "#999999", "#d95f02", "#e6ab02",
    "#7570b3", "#66a61e",
];

/// A group of bars: its name, and each bar's name and value.
pub(crate) type Group = (String, Vec<(String, f64)>);

/// Bars in groups; a colour stands for the same name in every group.
pub(crate) fn bars(title: &str, groups: &[Group]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in groups.iter().flat_map(|(_, bars)| bars) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    let values = groups.iter().flat_map(|(_, bars)| bars.iter().map(|(_, value)| *value));
    let axis = Axis::over(values);
    let mut out = begin(title);
    axis.draw_values(&mut out);
    let room = (WIDTH - LEFT - RIGHT) / groups.len().max(1) as f64;
    let width = room * 0.86 / names.len().max(1) as f64;
    for (place, (group, bars)) in groups.iter().enumerate() {
        let x = LEFT + room * (place as f64 + 0.07);
        for (name, value) in bars {
            let at = names.iter().position(|known| known == name).unwrap_or(0);
            let (x, y) = (x + width * at as f64, axis.y(*value));
            let (height, fill) = (HEIGHT - BOTTOM - y, COLOURS[at % COLOURS.len()]);
            let _ = writeln!(
                out,
                r#"<rect x="{x:.1}" y="{y:.1}" width="{:.1}" height="{height:.1}" fill="{fill}"><title>{}: {value:.0}</title></rect>"#,
                width - 2.0,
                escape(name)
            );
        }
        let middle = LEFT + room * (place as f64 + 0.5);
        text(&mut out, middle, HEIGHT - BOTTOM + 18.0, "middle", group);
    }
    legend(&mut out, &names);
    out + "</svg>\n"
}

fn begin(title: &str) -> String {
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n"
    );
    text(&mut out, WIDTH / 2.0, 26.0, "middle", title);
    out
}

/// A logarithmic axis from one power of ten to another.
struct Axis {
    from: i32,
    to: i32,
}

impl Axis {
    fn over(values: impl Iterator<Item = f64>) -> Axis {
        let (mut from, mut to) = (i32::MAX, i32::MIN);
        for value in values.filter(|value| value.is_finite() && *value > 0.0) {
            from = from.min(value.log10().floor() as i32);
            to = to.max(value.log10().ceil() as i32);
        }
        if from > to { Axis { from: 0, to: 1 } } else { Axis { from, to: to.max(from + 1) } }
    }

    /// Where a value lies, from 0 to 1.
    fn share(&self, value: f64) -> f64 {
        if value <= 0.0 || !value.is_finite() {
            return 0.0;
        }
        ((value.log10() - f64::from(self.from)) / f64::from(self.to - self.from)).clamp(0.0, 1.0)
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - self.share(value) * (HEIGHT - TOP - BOTTOM)
    }

    fn draw_values(&self, out: &mut String) {
        for power in self.from..=self.to {
            let y = self.y(10f64.powi(power));
            let _ = writeln!(
                out,
                r##"<line x1="{LEFT}" x2="{}" y1="{y:.1}" y2="{y:.1}" stroke="#dddddd"/>"##,
                WIDTH - RIGHT
            );
            text(out, LEFT - 8.0, y + 4.0, "end", &power_of_ten(power));
        }
    }
}

fn power_of_ten(power: i32) -> String {
    match power {
        0..3 => format!("{}", 10f64.powi(power)),
        3..6 => format!("{} k", 10f64.powi(power - 3)),
        6..9 => format!("{} M", 10f64.powi(power - 6)),
        _ => format!("10^{power}"),
    }
}

fn legend(out: &mut String, names: &[&str]) {
    const COLUMNS: usize = 5;
    for (at, name) in names.iter().enumerate() {
        let x = LEFT + (at % COLUMNS) as f64 * (WIDTH - LEFT - RIGHT) / COLUMNS as f64;
        let y = HEIGHT - BOTTOM + 42.0 + (at / COLUMNS) as f64 * 20.0;
        let fill = COLOURS[at % COLOURS.len()];
        let _ = writeln!(
            out,
            r#"<rect x="{x:.1}" y="{:.1}" width="12" height="12" fill="{fill}"/>"#,
            y - 10.0
        );
        text(out, x + 18.0, y, "start", name);
    }
}

fn text(out: &mut String, x: f64, y: f64, anchor: &str, words: &str) {
    let words = escape(words);
    let _ = writeln!(out, r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{words}</text>"#);
}

fn escape(words: &str) -> String {
    words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_larger_value_has_a_higher_bar_and_the_axis_holds_both() {
        let axis = Axis::over([30.0, 4_000_000.0].into_iter());
        assert_eq!((axis.from, axis.to), (1, 7));
        assert!(axis.y(30.0) > axis.y(4_000_000.0));
        assert!(axis.y(4_000_000.0) > TOP);
    }

    #[test]
    fn every_bar_is_drawn_and_named() {
        let groups = [
            ("1 in flight".to_owned(), vec![("a<b".to_owned(), 10.0), ("c".to_owned(), 0.0)]),
            ("64".to_owned(), vec![("a<b".to_owned(), 1000.0)]),
        ];
        let drawn = bars("title", &groups);
        assert_eq!(drawn.matches("<title>").count(), 3);
        assert!(drawn.contains("a&lt;b: 1000"), "{drawn}");
        assert!(drawn.ends_with("</svg>\n"));
    }
}
