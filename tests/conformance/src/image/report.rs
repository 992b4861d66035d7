//! The lines that say how a check went, and the end of the run.

use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use sel4::logging::PLAIN;

/// Where a check failed, and the two values that should have been equal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Failure {
    pub(crate) file: &'static str,
    pub(crate) line: u32,
    pub(crate) found: u64,
    pub(crate) wanted: u64,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            found,
            wanted,
        } = self;
        write!(f, "{file}:{line}: {found:#x}, where {wanted:#x} was due")
    }
}

/// How a check went.
pub(crate) type Check<T = ()> = Result<T, Failure>;

/// Fails, with both values, unless they are equal.
macro_rules! equal {
    ($found:expr, $wanted:expr) => {{
        let (found, wanted) = ($found as u64, $wanted as u64);
        if found != wanted {
            return Err($crate::image::report::Failure {
                file: file!(),
                line: line!(),
                found,
                wanted,
            });
        }
    }};
}

/// Fails unless the condition holds.
macro_rules! ensure {
    ($condition:expr) => {
        $crate::image::report::equal!(u64::from($condition), 1u64)
    };
}

/// Fails unless the marks made so far are these; there are none afterwards.
macro_rules! marks {
    ($($mark:expr),* $(,)?) => {{
        let wanted: &[u64] = &[$($mark),*];
        let (found, count) = $crate::image::thread::take_marks();
        for (n, mark) in wanted.iter().enumerate() {
            $crate::image::report::equal!(if n < count { found[n] } else { u64::MAX }, *mark);
        }
        $crate::image::report::equal!(count, wanted.len());
    }};
}

/// Fails unless the answer is this error with these words.
macro_rules! refused {
    ($answer:expr, $error:ident $(, $word:expr)* $(,)?) => {{
        let answer = $answer;
        let words: &[u64] = &[$($word as u64),*];
        $crate::image::report::equal!(answer.label, sel4::Error::$error as u64);
        $crate::image::report::equal!(answer.length, words.len());
        for (n, word) in words.iter().enumerate() {
            $crate::image::report::equal!(answer.words[n], *word);
        }
    }};
}

/// Fails unless the call succeeded; its answer.
macro_rules! done {
    ($answer:expr) => {{
        let answer = $answer;
        $crate::image::report::equal!(answer.label, 0u64);
        answer
    }};
}

pub(crate) use {done, ensure, equal, marks, refused};

static FAILED: AtomicU64 = AtomicU64::new(0);

/// Which time it is that the behaviours are looked at.
#[derive(Clone, Copy)]
pub(crate) enum Turn {
    /// A thread waits for its time, to see that none takes for ever.
    Watched,
    /// No thread waits.
    Alone,
}

impl Turn {
    /// What its lines begin with.
    const fn word(self) -> &'static str {
        match self {
            Self::Watched => "umbra-test",
            Self::Alone => "umbra-test-alone",
        }
    }
}

/// Names a check that nobody watches, so that it is known which one it was that took for ever.
pub(crate) fn begins(turn: Turn, name: &str) {
    if matches!(turn, Turn::Alone) {
        log::info!(target: PLAIN, "{} {name} begins", turn.word());
    }
}

/// One check's line.
pub(crate) fn line(turn: Turn, name: &str, check: Check) {
    let word = turn.word();
    match check {
        Ok(()) => log::info!(target: PLAIN, "{word} {name} ok"),
        Err(why) => {
            FAILED.fetch_add(1, Relaxed);
            log::info!(target: PLAIN, "{word} {name} failed: {why}");
        }
    }
}

/// What a reader of the log should know of a check that depends on the machine.
pub(crate) fn remark(text: &str) {
    log::info!(target: PLAIN, "umbra-test-remark {text}");
}

/// A behaviour that never ends: the rest cannot be looked at.
pub(crate) fn hangs(name: &str) {
    FAILED.fetch_add(1, Relaxed);
    log::info!(target: PLAIN, "umbra-test {name} failed: it never ends");
    end();
}

/// Says how it went, and ends the run.
pub(crate) fn end() {
    root_kit::end(FAILED.load(Relaxed) == 0);
}
