//! How flags write lengths of time and shares: `1500ms`, `12s`, `2m`, `never`; `1%`, `0.01`.

use std::time::Duration;

use crate::plan::Rate;

/// The longest time that a flag takes: a day, beyond which a typing mistake is likelier.
const MAX_SPAN: Duration = Duration::from_secs(24 * 60 * 60);

/// A length of time as a flag writes it.
pub(crate) fn span(text: &str) -> Result<Duration, String> {
    let wrong = || "write a time as 500ms, 12s or 2m".to_owned();
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let number: f64 = text[..text.len() - unit.len()].parse().map_err(|_| wrong())?;
    let factor = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        _ => return Err(wrong()),
    };
    let span = Duration::try_from_secs_f64(number * factor).map_err(|_| wrong())?;
    if span > MAX_SPAN { Err("use at most a day (1440m)".to_owned()) } else { Ok(span) }
}

/// A length of time that is not zero.
pub(crate) fn some_span(text: &str) -> Result<Duration, String> {
    match span(text)? {
        Duration::ZERO => Err("use more than zero, such as 500ms".to_owned()),
        span => Ok(span),
    }
}

/// How often something happens: a time, or `never`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Every(pub(crate) Option<Duration>);

/// How often something happens, as a flag writes it.
pub(crate) fn every(text: &str) -> Result<Every, String> {
    if text == "never" {
        return Ok(Every(None));
    }
    some_span(text).map(|span| Every(Some(span))).map_err(|error| format!("{error}, or never"))
}

/// A share as a flag writes it.
pub(crate) fn rate(text: &str) -> Result<Rate, String> {
    let wrong = || "write a share as 1% or 0.01, from 0% to 100%".to_owned();
    let share = match text.strip_suffix('%') {
        Some(percent) => percent.parse::<f64>().map_err(|_| wrong())? / 100.0,
        None => text.parse().map_err(|_| wrong())?,
    };
    Rate::new(share).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit() {
        assert_eq!(span("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(span("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(span("2m"), Ok(Duration::from_secs(120)));
        for wrong in ["", "12", "s", "-1s", "1h", "1 s", "1..s", "nans", "9999999999999999m"] {
            assert!(span(wrong).is_err(), "{wrong}");
        }
        assert!(some_span("0s").is_err());
        assert!(span("0s").is_ok());
    }

    #[test]
    fn never_is_a_time_too() {
        assert_eq!(every("never"), Ok(Every(None)));
        assert_eq!(every("3s"), Ok(Every(Some(Duration::from_secs(3)))));
        assert!(every("sometimes").unwrap_err().contains("never"));
    }

    #[test]
    fn shares_are_percent_or_plain() {
        assert_eq!(rate("1%"), Ok(Rate::new(0.01).unwrap()));
        assert_eq!(rate("0.01"), Ok(Rate::new(0.01).unwrap()));
        assert_eq!(rate("100%"), Ok(Rate::new(1.0).unwrap()));
        for wrong in ["", "%", "101%", "-1%", "2", "NaN", "inf", "many"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
    }
}
