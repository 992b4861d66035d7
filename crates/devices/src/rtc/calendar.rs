//! The Gregorian calendar between years 1 and 9999: seconds since 1970 to date and time and back.

/// A date and a time of day. A field out of its range counts as the nearest value in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DateTime {
    /// Year, 1 to 9999.
    pub year: u16,
    /// Month, 1 to 12.
    pub month: u8,
    /// Day of the month, from 1.
    pub day: u8,
    /// Hour, 0 to 23.
    pub hour: u8,
    /// Minute.
    pub minute: u8,
    /// Second.
    pub second: u8,
}

const DAY: i64 = 86_400;
/// Days from 0001-01-01 to 1970-01-01.
const EPOCH: i64 = 719_162;
const MAX_YEAR: u16 = 9999;

impl DateTime {
    /// From seconds since 1970-01-01 00:00; out of range, the nearest year's edge.
    #[must_use]
    pub fn from_unix(seconds: i64) -> Self {
        let last = days_before_year(MAX_YEAR + 1) - 1;
        let day_number = (seconds.div_euclid(DAY))
            .saturating_add(EPOCH)
            .clamp(0, last);
        let time = seconds.rem_euclid(DAY);
        let year = year_of(day_number);
        let mut left = day_number - days_before_year(year);
        let mut month = 1;
        while left >= i64::from(days_in(year, month)) {
            left -= i64::from(days_in(year, month));
            month += 1;
        }
        Self {
            year,
            month,
            day: left as u8 + 1,
            hour: (time / 3600) as u8,
            minute: (time / 60 % 60) as u8,
            second: (time % 60) as u8,
        }
    }

    /// Seconds since 1970-01-01 00:00.
    #[must_use]
    pub fn to_unix(self) -> i64 {
        let year = self.year.clamp(1, MAX_YEAR);
        let month = self.month.clamp(1, 12);
        let day = self.day.clamp(1, days_in(year, month));
        let before: i64 = (1..month).map(|m| i64::from(days_in(year, m))).sum();
        let days = days_before_year(year) + before + i64::from(day) - 1 - EPOCH;
        days * DAY
            + i64::from(self.hour.min(23)) * 3600
            + i64::from(self.minute.min(59)) * 60
            + i64::from(self.second.min(59))
    }

    /// Day of the week, 1 (Sunday) to 7.
    #[must_use]
    pub fn weekday(self) -> u8 {
        // 1970-01-01 was a Thursday.
        ((self.to_unix().div_euclid(DAY) + 4).rem_euclid(7)) as u8 + 1
    }
}

fn leap(year: u16) -> bool {
    year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400)
}

fn days_in(year: u16, month: u8) -> u8 {
    match month {
        2 if leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn days_before_year(year: u16) -> i64 {
    let y = i64::from(year) - 1;
    y * 365 + y / 4 - y / 100 + y / 400
}

/// The year that holds a day, counted from 0001-01-01.
fn year_of(day: i64) -> u16 {
    // 400 years have 146097 days; the guess is at most one year off.
    let guess = (day * 400 / 146_097 + 1).clamp(1, i64::from(MAX_YEAR)) as u16;
    if day < days_before_year(guess) {
        guess - 1
    } else if day >= days_before_year(guess + 1) {
        guess + 1
    } else {
        guess
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_moments_fall_on_their_dates() {
        let at = |year, month, day, hour, minute, second| DateTime {
            year,
            month,
            day,
            hour,
            minute,
            second,
        };
        assert_eq!(DateTime::from_unix(0), at(1970, 1, 1, 0, 0, 0));
        assert_eq!(DateTime::from_unix(951_782_400), at(2000, 2, 29, 0, 0, 0));
        assert_eq!(DateTime::from_unix(1_767_225_600), at(2026, 1, 1, 0, 0, 0));
        assert_eq!(at(2026, 1, 1, 0, 0, 0).weekday(), 5);
        assert_eq!(
            at(2026, 99, 99, 99, 99, 99).to_unix(),
            at(2026, 12, 31, 23, 59, 59).to_unix()
        );
    }

    #[test]
    fn the_edges_of_the_range_hold() {
        assert_eq!(DateTime::from_unix(i64::MIN).year, 1);
        assert_eq!(DateTime::from_unix(i64::MAX).year, 9999);
        for year in 1..=MAX_YEAR {
            assert_eq!(year_of(days_before_year(year)), year);
            assert_eq!(year_of(days_before_year(year + 1) - 1), year);
        }
    }

    proptest! {
        #[test]
        fn a_date_goes_there_and_back(seconds in -62_135_596_800i64..253_402_300_800) {
            prop_assert_eq!(DateTime::from_unix(seconds).to_unix(), seconds);
        }
    }
}
