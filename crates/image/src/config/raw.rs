//! `system.toml` as written: every key known, every value of its kind, every value with its place. No meaning yet.

use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};
use toml::Spanned;

use super::size;
use crate::Error;

/// The file, to turn places into lines.
pub struct Lines<'a> {
    /// Its name in messages.
    pub file: &'a str,
    /// Its text.
    pub text: &'a str,
}

impl Lines<'_> {
    /// `FILE:LINE` of a place.
    pub fn at(&self, span: &Range<usize>) -> String {
        let before = &self.text.as_bytes()[..span.start.min(self.text.len())];
        let line = 1 + before.iter().filter(|&&b| b == b'\n').count();
        format!("{}:{line}", self.file)
    }
}

/// The file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct System {
    pub machine: Spanned<Machine>,
    #[serde(default)]
    pub domains: Domains,
    #[serde(default)]
    pub vm: Vec<Spanned<Vm>>,
}

/// `[machine]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    pub memory: Spanned<Size>,
    pub cpu: Option<Spanned<String>>,
}

/// `[domains]`.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Domains {
    pub root_task: Option<String>,
    pub vmm_server: Option<String>,
    pub mmu_server: Option<String>,
    pub drivers: Option<String>,
}

/// `[[vm]]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Vm {
    pub name: Spanned<String>,
    pub memory: Spanned<Size>,
    pub shadow: Option<Spanned<Shadow>>,
    pub paging: Option<Spanned<String>>,
    pub policy: Option<Spanned<String>>,
    pub flush: Option<Spanned<String>>,
    pub priority: Option<Spanned<u64>>,
    pub console: Option<Spanned<bool>>,
    pub guest: Option<Spanned<String>>,
    pub kernel: Option<Spanned<String>>,
    #[serde(default)]
    pub initrd: OneOrMore,
    pub append: Option<Spanned<String>>,
    #[serde(default)]
    pub load: Vec<Load>,
    pub vmm_server: Option<String>,
    pub mmu_server: Option<String>,
}

/// One entry of `load`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Load {
    pub file: Spanned<String>,
    pub at: Spanned<Size>,
}

/// One name, or a list of names.
#[derive(Default)]
pub struct OneOrMore(pub Vec<String>);

/// Bytes: a number, or a text with a unit.
pub struct Size(pub u64);

/// A shadow pool: a number of pages, or a text with a unit.
pub enum Shadow {
    Pages(u64),
    Bytes(u64),
}

/// What stands in the file, with its kinds checked.
pub fn parse(lines: &Lines) -> Result<System, Error> {
    toml::from_str(lines.text).map_err(|error| {
        let place = error
            .span()
            .map_or_else(|| lines.file.into(), |span| lines.at(&span));
        let (what, remedy) = explain(error.message());
        Error::new(place, what, remedy)
    })
}

/// The parser's message as what and remedy.
fn explain(message: &str) -> (String, String) {
    if let Some(rest) = message.strip_prefix("unknown field ") {
        let (key, known) = rest.split_once(", expected ").unwrap_or((rest, ""));
        let known = known.trim_start_matches("one of ");
        return (format!("unknown key {key}"), format!("known here: {known}"));
    }
    if let Some(key) = message.strip_prefix("missing field ") {
        return (
            format!("{key} is missing"),
            format!("add {key} = … to this section"),
        );
    }
    if let Some((what, expected)) = message.split_once(", expected ") {
        return (what.into(), format!("expected {expected}"));
    }
    (message.into(), "correct the TOML here".into())
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_any(Amount)
            .map(|(value, _)| Self(value))
    }
}

impl<'de> Deserialize<'de> for Shadow {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (value, is_text) = deserializer.deserialize_any(Amount)?;
        Ok(if is_text {
            Self::Bytes(value)
        } else {
            Self::Pages(value)
        })
    }
}

impl<'de> Deserialize<'de> for OneOrMore {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Names).map(Self)
    }
}

/// Reads an amount; says whether it was text.
struct Amount;

impl Visitor<'_> for Amount {
    type Value = (u64, bool);

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an amount such as \"256M\"")
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Self::Value, E> {
        match u64::try_from(value) {
            Ok(value) => Ok((value, false)),
            Err(_) => Err(E::invalid_value(de::Unexpected::Signed(value), &self)),
        }
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Self::Value, E> {
        Ok((value, false))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Self::Value, E> {
        size::parse(value)
            .map(|value| (value, true))
            .ok_or_else(|| E::invalid_value(de::Unexpected::Str(value), &self))
    }
}

/// Reads one name or several.
struct Names;

impl<'de> Visitor<'de> for Names {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a file name or a list of them")
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Self::Value, E> {
        Ok(vec![value.into()])
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut names = Vec::new();
        while let Some(name) = list.next_element()? {
            names.push(name);
        }
        Ok(names)
    }
}
