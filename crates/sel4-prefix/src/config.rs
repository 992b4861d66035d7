//! The kernel's configuration under all the names that seL4's build writes down, so that a question after an option of
//! another platform has an answer too.
//!
//! The kernel's options are those of the crate `sel4-config-data`; the C library's stand here.

use crate::text::put;
use sel4_config_data::{OFF, ON, TEXTS, Value, consts};

/// The kernel's kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Build {
    /// With a console and debug system calls.
    Debug,
    /// Without.
    Release,
}

/// A value as the files have it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// On or off.
    Flag(bool),
    /// Everything else.
    Text(String),
}

/// Options of seL4's C library.
const LIBRARY: &[(&str, Option<&str>)] = &[
    ("LIB_SEL4_DEFAULT_FUNCTION_ATTRIBUTES", None),
    ("LIB_SEL4_FUNCTION_ATTRIBUTE", Some("inline")),
    ("LIB_SEL4_INLINE_INVOCATIONS", Some("")),
    ("LIB_SEL4_PRINT_INVOCATION_ERRORS", Some("0")),
    ("LIB_SEL4_PUBLIC_SYMBOLS", None),
    ("LIB_SEL4_STUBS_USE_IPC_BUFFER_ONLY", None),
];

/// The kernel's options, by name.
#[must_use]
pub fn kernel(build: Build) -> Vec<(&'static str, Answer)> {
    let mut options: Vec<(&str, Answer)> = Vec::new();
    for (name, value) in consts::ALL {
        let debug = ["DEBUG_BUILD", "PRINTING"].contains(name);
        options.push((
            name,
            match value {
                Value::Flag(flag) => Answer::Flag(*flag && !(debug && build == Build::Release)),
                Value::Number(number) => Answer::Text(number.to_string()),
                Value::Text(text) => Answer::Text((*text).into()),
            },
        ));
    }
    options.extend(ON.iter().map(|name| (*name, Answer::Flag(true))));
    options.extend(OFF.iter().map(|name| (*name, Answer::Flag(false))));
    let texts = TEXTS.iter();
    options.extend(texts.map(|(name, text)| (*name, Answer::Text((*text).into()))));
    options.sort_by_key(|(name, _)| *name);
    options
}

/// The C library's options, by name.
#[must_use]
pub fn library() -> Vec<(&'static str, Answer)> {
    let answer = |value: &Option<&str>| match value {
        None => Answer::Flag(false),
        Some("") => Answer::Flag(true),
        Some(text) => Answer::Text((*text).into()),
    };
    LIBRARY
        .iter()
        .map(|(name, value)| (*name, answer(value)))
        .collect()
}

/// As JSON: one flat object, numbers as texts.
#[must_use]
pub fn json(options: &[(&str, Answer)]) -> String {
    let lines: Vec<String> = options
        .iter()
        .map(|(name, answer)| match answer {
            Answer::Flag(flag) => format!("  \"{name}\": {flag}"),
            Answer::Text(text) => format!("  \"{name}\": \"{text}\""),
        })
        .collect();
    format!("{{\n{}\n}}\n", lines.join(",\n"))
}

/// As C: what is off is not defined.
#[must_use]
pub fn header(options: &[(&str, Answer)]) -> String {
    let mut text = String::from("/* Written by Umbra's build. */\n\n#pragma once\n\n");
    for (name, answer) in options {
        let line = match answer {
            Answer::Flag(true) => format!("#define CONFIG_{name} 1"),
            Answer::Flag(false) => format!("/* disabled: CONFIG_{name} */"),
            Answer::Text(word) => format!("#define CONFIG_{name} {word}"),
        };
        put(&mut text, &line);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_option_is_there_twice() {
        let kernel = kernel(Build::Debug);
        for pair in kernel.windows(2) {
            assert!(pair[0].0 < pair[1].0, "{}", pair[1].0);
        }
        let names: Vec<&str> = kernel.iter().map(|option| option.0).collect();
        assert!(library().iter().all(|(name, _)| !names.contains(name)));
    }

    #[test]
    fn a_release_build_lacks_the_debug_options_alone() {
        let (debug, release) = (kernel(Build::Debug), kernel(Build::Release));
        let differ: Vec<&str> = debug
            .iter()
            .zip(&release)
            .filter(|(a, b)| a != b)
            .map(|(a, _)| a.0)
            .collect();
        assert_eq!(differ, ["DEBUG_BUILD", "PRINTING"]);
    }
}
