//! The headers as compilers read them: each by itself, all names that programs for seL4 use, and beside the system's own
//! headers, in C and in C++.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use libtest_mimic::{Arguments, Failed, Trial};
use sel4_prefix::{Build, INCLUDE, files};
use tempfile::TempDir;

/// A compiler, its language and the ending of a source file.
#[derive(Clone, Copy)]
struct Language {
    compiler: &'static str,
    standard: &'static str,
    ending: &'static str,
}

const LANGUAGES: &[Language] = &[
    Language {
        compiler: "gcc",
        standard: "gnu99",
        ending: "c",
    },
    Language {
        compiler: "gcc",
        standard: "gnu11",
        ending: "c",
    },
    Language {
        compiler: "g++",
        standard: "gnu++17",
        ending: "cc",
    },
];

type Body = fn(Language);

const TESTS: &[(&str, Body)] = &[
    ("every_header_can_be_the_first", every_header_by_itself),
    ("every_name_that_programs_use_is_declared", every_name),
    ("the_release_headers_lack_the_debug_names", no_debug_names),
    (
        "the_whole_interface_goes_with_the_systems_headers",
        beside_the_systems_headers,
    ),
    ("messages_are_read_and_written_by_name", messages),
];

/// The list says itself what is in it.
const NAMES: &str = include_str!("names.txt");
/// A program.
const MESSAGES: &str = include_str!("messages.c");

fn main() -> ExitCode {
    let trials = LANGUAGES.iter().flat_map(|language| trials(*language));
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}

/// The tests in one language: without its compiler they are ignored, and the reason is printed.
fn trials(language: Language) -> impl Iterator<Item = Trial> {
    let compiler = language.compiler;
    let there = Command::new(compiler).arg("--version").output().is_ok();
    TESTS.iter().map(move |(name, body)| {
        let name = format!("{name}_in_{}", language.standard);
        if !there {
            eprintln!("ignored: {name}: there is no {compiler}");
        }
        let test = move || {
            body(language);
            Ok::<(), Failed>(())
        };
        Trial::test(name, test).with_ignored_flag(!there)
    })
}

/// The prefix's files, as long as the folder lives.
fn prefix(build: Build) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for file in files(build) {
        let path = folder.path().join(file.path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, file.text).expect("written");
    }
    folder
}

/// What the compiler says of a source text against the prefix; nothing if it takes it.
fn complaints(prefix: &Path, language: Language, source: &str) -> Option<String> {
    compiled(prefix, language, source, &["-fsyntax-only"]).err()
}

/// Compiles a source text against the prefix.
fn compiled(prefix: &Path, language: Language, source: &str, flags: &[&str]) -> Result<(), String> {
    let path = prefix.join("source").with_extension(language.ending);
    fs::write(&path, source).expect("written");
    let mut command = Command::new(language.compiler);
    command.arg(format!("-std={}", language.standard));
    command.args(["-Wall", "-Wextra", "-Werror", "-m64"]);
    command.arg("-Wno-deprecated-declarations").args(flags);
    command.arg("-I").arg(prefix.join(INCLUDE)).arg(&path);
    let done = command.output().expect("the compiler starts");
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    if done.status.success() {
        Ok(())
    } else {
        Err(said)
    }
}

fn every_header_by_itself(language: Language) {
    let folder = prefix(Build::Debug);
    let all = files(Build::Debug);
    let headers: Vec<&str> = all
        .iter()
        .filter_map(|file| file.path.strip_prefix(INCLUDE)?.strip_prefix('/'))
        .filter(|path| path.ends_with(".h"))
        .collect();
    assert!(headers.len() > 40, "{headers:?}");
    for header in headers {
        let source = format!("#include <{header}>\n#include <{header}>\n");
        let said = complaints(folder.path(), language, &source);
        assert!(said.is_none(), "{header}:\n{said:?}");
    }
}

/// One group of the list.
struct Group {
    header: &'static str,
    /// It needs debug system calls.
    debug: bool,
    /// Its names are macros that cannot stand alone.
    macros: bool,
    names: Vec<&'static str>,
}

fn groups() -> Vec<Group> {
    let group = |text: &'static str| {
        let (head, names) = text.split_once(']').expect("the end of a head");
        let mut head: Vec<&str> = head.split(' ').collect();
        let header = head.pop().expect("a header");
        Group {
            header,
            debug: head.contains(&"debug"),
            macros: head.contains(&"macro"),
            names: names.split_whitespace().collect(),
        }
    };
    NAMES.split("\n[").skip(1).map(group).collect()
}

impl Group {
    /// A source text that only compiles if every name is declared.
    fn source(&self) -> String {
        let mut source = format!("#include <{}>\n", self.header);
        for (n, name) in self.names.iter().enumerate() {
            source += &if self.macros {
                format!("#ifndef {name}\n#error {name}\n#endif\n")
            } else {
                // A type, a value and a function all have a type.
                format!("extern __typeof__({name}) *name_{n};\n")
            };
        }
        source
    }
}

fn every_name(language: Language) {
    let folder = prefix(Build::Debug);
    let groups = groups();
    let count: usize = groups.iter().map(|group| group.names.len()).sum();
    assert!(count > 500, "{count} names");
    for group in groups {
        let said = complaints(folder.path(), language, &group.source());
        assert!(said.is_none(), "{}:\n{said:?}", group.header);
    }
}

fn no_debug_names(language: Language) {
    let folder = prefix(Build::Release);
    for group in groups() {
        let said = complaints(folder.path(), language, &group.source());
        if group.debug {
            let said = said.expect("refused");
            for name in group.names {
                assert!(said.contains(name), "{name}:\n{said}");
            }
        } else {
            assert!(said.is_none(), "{}:\n{said:?}", group.header);
        }
    }
}

fn beside_the_systems_headers(language: Language) {
    let folder = prefix(Build::Debug);
    let systems =
        "#include <assert.h>\n#include <stdint.h>\n#include <stdio.h>\n#include <string.h>\n";
    let ours = "#include <sel4/sel4.h>\n";
    for source in [format!("{systems}{ours}"), format!("{ours}{systems}")] {
        let said = complaints(folder.path(), language, &source);
        assert!(said.is_none(), "{said:?}");
    }
}

/// The program needs no kernel, so it runs here.
fn messages(language: Language) {
    let folder = prefix(Build::Release);
    let program = folder.path().join("messages");
    let output = program.to_str().expect("UTF-8");
    for optimisation in ["-O0", "-O2"] {
        let done = compiled(
            folder.path(),
            language,
            MESSAGES,
            &[optimisation, "-o", output],
        );
        assert_eq!(done, Ok(()));
        let ended = Command::new(&program).status().expect("it starts");
        assert!(ended.success(), "{optimisation}: {ended}");
    }
}
