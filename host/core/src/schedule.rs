//! Schedules: windows in which a workload is awake, and alarms that wake it.

use std::{fmt, str::FromStr, time::SystemTime};

use cronexpr::{Crontab, FallbackTimezoneOption, MakeTimestamp, ParseOptions};
use jiff::{Timestamp, ToSpan, Zoned, civil::Time, tz::TimeZone};

/// A range of times of day, on certain days, in one time zone.
///
/// Written as `mon-fri 08:00-18:00 Europe/Berlin`. Days may be left out (every day), listed
/// (`sat,sun`) or a range; the zone may be left out (the system's). A window that ends before it
/// begins ends on the next day. Days are those on which it begins.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    text: String,
    days: [bool; 7],
    from: Time,
    to: Time,
    zone: TimeZone,
}

/// A repeated time: five cron fields and a time zone, `0 7 * * mon-fri Europe/Berlin`. The zone
/// may be left out (the system's).
#[derive(Clone)]
pub struct Alarm {
    text: String,
    cron: Crontab,
}

/// A text that is not a valid window or alarm, with the reason.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct InvalidSchedule(String);

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

// === impl Window ===

impl Window {
    /// End of the window that contains `now`, if one does.
    pub fn until(&self, now: SystemTime) -> Option<SystemTime> {
        let now = self.zoned(now)?;
        self.around(&now).find(|(from, to)| *from <= now && now < *to).map(|(_, to)| to.into())
    }

    /// Begin of the next window after `now`.
    pub fn next(&self, now: SystemTime) -> Option<SystemTime> {
        let now = self.zoned(now)?;
        self.around(&now).map(|(from, _)| from).find(|from| *from > now).map(SystemTime::from)
    }

    fn zoned(&self, at: SystemTime) -> Option<Zoned> {
        Some(Timestamp::try_from(at).ok()?.to_zoned(self.zone.clone()))
    }

    /// Windows that begin from the day before `now` until a week later, in order.
    fn around(&self, now: &Zoned) -> impl Iterator<Item = (Zoned, Zoned)> {
        let first = now.date().yesterday().ok();
        let days = first.into_iter().flat_map(|first| first.series(1.day()).take(10));
        let wanted = days.filter(|day| self.days[day.weekday().to_monday_zero_offset() as usize]);
        wanted.filter_map(|day| {
            let last = if self.to <= self.from { day.tomorrow().ok()? } else { day };
            let from = day.to_datetime(self.from).to_zoned(self.zone.clone()).ok()?;
            let to = last.to_datetime(self.to).to_zoned(self.zone.clone()).ok()?;
            (from < to).then_some((from, to))
        })
    }
}

impl FromStr for Window {
    type Err = InvalidSchedule;

    fn from_str(text: &str) -> Result<Self, InvalidSchedule> {
        let mut words = text.split_whitespace().peekable();
        let days = match words.peek() {
            Some(word) if word.starts_with(|c: char| c.is_ascii_alphabetic()) => {
                let days = days(word)?;
                words.next();
                days
            }
            _ => [true; 7],
        };
        let hours = words.next().ok_or_else(|| invalid("there are no times in it"))?;
        let (from, to) = hours
            .split_once('-')
            .ok_or_else(|| invalid(format!("`{hours}` is not written as 08:00-18:00")))?;
        let (from, to) = (time(from)?, time(to)?);
        if from == to && from != Time::midnight() {
            return Err(invalid("it begins and ends at the same time"));
        }
        let zone = zone(words.next())?;
        if let Some(more) = words.next() {
            return Err(invalid(format!("`{more}` is one word too many")));
        }
        Ok(Self { text: text.to_owned(), days, from, to, zone })
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

// === impl Alarm ===

impl Alarm {
    /// The next time after `now`.
    pub fn next(&self, now: SystemTime) -> Option<SystemTime> {
        let now = MakeTimestamp(Timestamp::try_from(now).ok()?);
        self.cron.find_next(now).ok().map(SystemTime::from)
    }
}

impl FromStr for Alarm {
    type Err = InvalidSchedule;

    fn from_str(text: &str) -> Result<Self, InvalidSchedule> {
        let words: Vec<_> = text.split_whitespace().collect();
        match words[..] {
            [_, _, _, _, _] => {}
            [_, _, _, _, _, name] => drop(zone(Some(name))?),
            _ => return Err(invalid("it is not five fields and perhaps a time zone")),
        }
        // As windows do, use the system's zone even if it has no name.
        let mut options = ParseOptions::default();
        options.fallback_timezone_option = FallbackTimezoneOption::System;
        let cron = cronexpr::parse_crontab_with(&words.join(" "), options).map_err(|error| {
            let text = error.to_string();
            invalid(text.lines().last().unwrap_or_default().trim_start_matches([' ', '^']))
        })?;
        Ok(Self { text: text.to_owned(), cron })
    }
}

impl fmt::Display for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

impl PartialEq for Alarm {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

fn invalid(why: impl Into<String>) -> InvalidSchedule {
    InvalidSchedule(why.into())
}

/// `mon-fri`, `sat,sun`, `fri-mon`.
fn days(text: &str) -> Result<[bool; 7], InvalidSchedule> {
    let day = |text: &str| {
        let text = text.to_ascii_lowercase();
        DAYS.iter()
            .position(|day| *day == text)
            .ok_or_else(|| invalid(format!("`{text}` is not a day; days are {}", DAYS.join(", "))))
    };
    let mut days = [false; 7];
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (day(first)?, day(last)?);
        let span = (last + 7 - first) % 7;
        for offset in 0..=span {
            days[(first + offset) % 7] = true;
        }
    }
    Ok(days)
}

/// `08:00`; `24:00` is the midnight at the day's end.
fn time(text: &str) -> Result<Time, InvalidSchedule> {
    let fail = || invalid(format!("`{text}` is not a time of day such as 08:00"));
    let (hour, minute) = text.split_once(':').ok_or_else(fail)?;
    if hour.len() != 2 || minute.len() != 2 {
        return Err(fail());
    }
    let (hour, minute) = (hour.parse().map_err(|_| fail())?, minute.parse().map_err(|_| fail())?);
    match (hour, minute) {
        (24, 0) => Ok(Time::midnight()),
        _ => Time::new(hour, minute, 0, 0).map_err(|_| fail()),
    }
}

fn zone(name: Option<&str>) -> Result<TimeZone, InvalidSchedule> {
    match name {
        None => Ok(TimeZone::system()),
        Some(name) => TimeZone::get(name).map_err(|_| {
            invalid(format!("`{name}` is not a time zone; write it as Europe/Berlin or UTC"))
        }),
    }
}

#[cfg(all(test, not(drowse_loom)))]
mod tests;
