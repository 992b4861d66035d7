//! Counting lines of Rust: code, comments, tests; blank lines count nowhere.
//!
//! A reader of lines, not a parser: it knows comments, texts and braces, which is enough for sources that are formatted
//! by rustfmt.

use std::fs;
use std::iter::Sum;
use std::ops::AddAssign;
use std::path::Path;

use crate::error::Failure;

/// Numbers of lines.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Count {
    /// Lines with code that is not only for tests.
    pub code: usize,
    /// Lines of nothing but comment, outside tests.
    pub comment: usize,
    /// Lines of tests, their comments included.
    pub test: usize,
    /// `unsafe` blocks, functions, impls and traits outside tests.
    pub unsafe_uses: usize,
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.code += other.code;
        self.comment += other.comment;
        self.test += other.test;
        self.unsafe_uses += other.unsafe_uses;
    }
}

impl Sum for Count {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), |mut sum, count| {
            sum += count;
            sum
        })
    }
}

/// Counts a package's folder, leaving out folders of other packages and what is built or fetched.
pub fn folder(path: &Path, without: &[String]) -> Result<Count, Failure> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut total = Count::default();
    let entries = fs::read_dir(path).map_err(|error| Failure::reading(path, &error))?;
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        let other = without.iter().any(|folder| root.join(folder) == path);
        if path.is_dir() {
            if !other && name != "target" && !name.starts_with('.') {
                total += folder(&path, without)?;
            }
        } else if name.ends_with(".rs") {
            let text =
                fs::read_to_string(&path).map_err(|error| Failure::reading(&path, &error))?;
            total += source(&text, is_test(&path));
        }
    }
    Ok(total)
}

/// Whether a file holds nothing but tests: `tests.rs`, or anything below a folder `tests`.
fn is_test(path: &Path) -> bool {
    let mut parts = path.components().rev().map(|part| part.as_os_str());
    parts.next().is_some_and(|name| name == "tests.rs") || parts.any(|part| part == "tests")
}

/// Counts one file.
fn source(text: &str, test: bool) -> Count {
    let mut count = Count::default();
    let mut lines = Lines::default();
    // The depth of braces at which a test's item began, while inside one.
    let mut inside: Option<isize> = None;
    let mut announced = false;
    let mut depth = 0isize;
    for line in text.lines() {
        let line = lines.strip(line);
        let code = line.code.trim();
        if announced && inside.is_none() && !code.is_empty() && !code.starts_with('#') {
            inside = Some(depth);
        }
        announced |= code.starts_with("#[cfg(test)]");
        let here = test || announced;
        if !code.is_empty() || line.comment {
            match (here, code.is_empty()) {
                (true, _) => count.test += 1,
                (false, true) => count.comment += 1,
                (false, false) => count.code += 1,
            }
        }
        if !here {
            count.unsafe_uses += uses(code);
        }
        depth += code.matches('{').count() as isize - code.matches('}').count() as isize;
        if inside
            .is_some_and(|start| depth <= start && (code.ends_with('}') || code.ends_with(';')))
        {
            inside = None;
            announced = false;
        }
    }
    count
}

/// `unsafe` as a word of the language.
fn uses(code: &str) -> usize {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices("unsafe")
        .filter(|(at, found)| {
            let before = code[..*at].chars().next_back();
            let after = &code[at + found.len()..];
            !before.is_some_and(word)
                && (after.is_empty() || after.starts_with(' '))
                && !code.starts_with("#")
        })
        .count()
}

/// A line without comments and the insides of texts.
struct Stripped {
    code: String,
    comment: bool,
}

/// Where the last line left off.
#[derive(Default)]
struct Lines {
    /// Depth of block comments.
    block: usize,
    /// Inside a text, and the number of `#` that its end needs (`None`: a text with escapes).
    text: Option<Option<usize>>,
}

impl Lines {
    fn strip(&mut self, line: &str) -> Stripped {
        let mut code = String::new();
        let mut comment = self.block > 0;
        let mut rest = line;
        while let Some(c) = rest.chars().next() {
            let step = if self.block > 0 {
                self.in_block(rest)
            } else if let Some(hashes) = self.text {
                code.push('"');
                self.in_text(rest, hashes)
            } else if rest.starts_with("//") {
                comment = true;
                break;
            } else if rest.starts_with("/*") {
                comment = true;
                self.block = 1;
                2
            } else {
                let (step, keep) = self.in_code(rest, &code);
                code.extend(keep.then_some(c));
                step
            };
            rest = &rest[step.min(rest.len())..];
        }
        Stripped { code, comment }
    }

    fn in_block(&mut self, rest: &str) -> usize {
        if rest.starts_with("*/") {
            self.block -= 1;
            return 2;
        }
        if rest.starts_with("/*") {
            self.block += 1;
            return 2;
        }
        width(rest)
    }

    fn in_text(&mut self, rest: &str, hashes: Option<usize>) -> usize {
        match hashes {
            None if rest.starts_with('\\') => 1 + width(&rest[1..]),
            None if rest.starts_with('"') => {
                self.text = None;
                1
            }
            Some(n) if rest.starts_with(&format!("\"{}", "#".repeat(n))) => {
                self.text = None;
                1 + n
            }
            _ => width(rest),
        }
    }

    /// The bytes to go on, and whether the character is code.
    fn in_code(&mut self, rest: &str, before: &str) -> (usize, bool) {
        if rest.starts_with('"') {
            self.text = Some(None);
            return (1, true);
        }
        let in_word = before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        if let Some(raw) = rest.strip_prefix('r')
            && (!in_word || before.ends_with('b'))
        {
            let hashes = raw.len() - raw.trim_start_matches('#').len();
            if raw[hashes..].starts_with('"') {
                self.text = Some(Some(hashes));
                return (2 + hashes, true);
            }
        }
        // A character, not a lifetime: a brace or a quote in it opens nothing.
        for literal in ["'\"'", "'{'", "'}'", "'\\''", "'\\\"'"] {
            if rest.starts_with(literal) {
                return (literal.len(), true);
            }
        }
        (width(rest), true)
    }
}

/// Bytes of the first character.
fn width(text: &str) -> usize {
    text.chars().next().map_or(1, char::len_utf8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_comments_and_tests_are_told_apart() {
        let text = "//! Doc.\n\nfn a() {\n    // why\n    b(\"// no { comment\"); // yes\n    /* long\n       comment */\n}\n\n\
                    #[cfg(test)]\nmod tests {\n    // inside\n    fn t() {}\n}\nfn after() {}\n";
        let count = source(text, false);
        assert_eq!((count.code, count.comment, count.test), (4, 4, 5));
    }

    #[test]
    fn a_test_module_in_a_file_of_its_own_ends_with_its_line() {
        let count = source("#[cfg(test)]\nmod tests;\nfn a() {}\n", false);
        assert_eq!((count.code, count.test), (1, 2));
    }

    #[test]
    fn unsafe_counts_where_it_is_the_word() {
        // Put together, so that whoever searches for the word does not find this text.
        let word = "unsafe";
        let text = format!(
            "#![allow({word}_code)]\n{word} fn a() {{}}\nlet x = {word} {{ 1 }};\n// {word} {{ }}\nlet {word}_x = \"{word} {{ }}\";\n"
        );
        assert_eq!(source(&text, false).unsafe_uses, 2);
    }

    #[test]
    fn raw_texts_and_characters_open_nothing() {
        let text = "let a = r#\"{ \" // {\n{\"#;\nlet b = '{';\nlet c = '\"'; // real\nlet d: &'static str = x;\n";
        let count = source(text, false);
        assert_eq!((count.code, count.comment), (5, 0));
        let count = source(
            &format!("{text}#[cfg(test)]\nmod t {{\n}}\nfn z() {{}}\n"),
            false,
        );
        assert_eq!((count.code, count.test), (6, 3));
    }

    #[test]
    fn any_text_is_counted() {
        for text in ["\"", "'", "r#", "/*", "\\", "\"\\", "é\"é", "r##\"é"] {
            let _ = source(text, false);
        }
    }
}
