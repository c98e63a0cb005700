//! Dates: TOML's own, or RFC 3339 in a string, as Unix time.

use toml::value::{Date, Datetime, Offset, Time};

use crate::rule::Misfit;

const REMEDY: &str = "write a date with time and offset, like 2030-01-31T00:00:00Z";

/// Reads an RFC 3339 date and time.
pub(crate) fn parse(text: &str) -> Result<i64, Misfit> {
    let moment: Datetime = text.trim().parse().map_err(|_| Misfit::new("is no date in RFC 3339 form", REMEDY))?;
    unix(&moment)
}

/// Seconds since 1970-01-01T00:00:00Z.
pub(crate) fn unix(moment: &Datetime) -> Result<i64, Misfit> {
    let Datetime { date: Some(date), time: Some(time), offset: Some(offset) } = moment else {
        return Err(Misfit::new("lacks a date, a time or an offset", REMEDY));
    };
    let minutes = match offset {
        Offset::Z => 0,
        Offset::Custom { minutes } => i64::from(*minutes),
    };
    Ok(days(date) * 86_400 + seconds(time) - minutes * 60)
}

fn seconds(time: &Time) -> i64 {
    i64::from(time.hour) * 3600 + i64::from(time.minute) * 60 + i64::from(time.second.unwrap_or_default())
}

/// Days since 1970-01-01. Years begin in March here, so that the leap day is the last one; 400 years repeat.
fn days(date: &Date) -> i64 {
    let (month, day) = (i64::from(date.month), i64::from(date.day));
    let year = i64::from(date.year) - i64::from(month <= 2);
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_become_unix_time() {
        for (text, unix) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:00:00Z", 951_825_600),
            ("2026-11-05T08:30:00+08:00", 1_793_838_600),
            ("1969-12-31T23:59:59Z", -1),
        ] {
            assert_eq!(parse(text).ok(), Some(unix), "{text}");
        }
    }

    #[test]
    fn dates_without_time_or_offset_are_refused() {
        for text in ["2030-01-01", "2030-01-01T00:00:00", "soon", "2030-13-01T00:00:00Z"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
