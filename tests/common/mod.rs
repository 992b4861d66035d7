//! A run of the launcher, watched: what it prints is collected, what is typed goes in, and a failure shows the console.
//!
//! Always: a launcher that is not finished with is killed, and QEMU with it.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The launcher.
pub const UMBRA: &str = env!("CARGO_BIN_EXE_umbra");

/// Text that a thread collects.
#[derive(Clone, Default)]
struct Collected(Arc<Mutex<Vec<u8>>>);

impl Collected {
    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }

    fn collect(&self, mut from: impl Read + Send + 'static) -> JoinHandle<()> {
        let to = self.clone();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = from.read(&mut buffer) {
                to.bytes().extend_from_slice(&buffer[..length]);
            }
        })
    }
}

/// A running launcher.
pub struct Session {
    child: Child,
    input: Option<ChildStdin>,
    out: Collected,
    err: Collected,
    readers: Vec<JoinHandle<()>>,
    /// Where the next expectation looks from.
    seen: usize,
    began: Instant,
}

/// A finished run.
#[derive(Debug)]
pub struct Run {
    /// Exit status.
    pub status: i32,
    /// What was written to stdout: the guest's console.
    pub out: String,
    /// What was written to stderr: Umbra's own words.
    pub err: String,
}

impl Session {
    /// Starts a command.
    pub fn spawn(mut command: Command) -> Self {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the launcher starts");
        let (out, err) = (Collected::default(), Collected::default());
        let readers = vec![
            out.collect(child.stdout.take().expect("piped")),
            err.collect(child.stderr.take().expect("piped")),
        ];
        Self {
            input: child.stdin.take(),
            child,
            out,
            err,
            readers,
            seen: 0,
            began: Instant::now(),
        }
    }

    /// Waits until the guest's console shows `text`, after whatever was waited for before.
    pub fn expect(&mut self, text: &str, within: Duration) {
        let out = self.out.clone();
        self.seen = self.wait(&out, self.seen, text, within);
    }

    /// Waits until Umbra's own words have `text` among them.
    #[allow(dead_code)] // not every test program that has this module waits for them
    pub fn expect_said(&mut self, text: &str, within: Duration) {
        let err = self.err.clone();
        self.wait(&err, 0, text, within);
    }

    /// Where `text` ends in what was collected, from `from` on, once it is there.
    fn wait(&mut self, collected: &Collected, from: usize, text: &str, within: Duration) -> usize {
        let end = Instant::now() + within;
        loop {
            let ended = self.child.try_wait().expect("a child of ours").is_some();
            if let Some(at) = find(&collected.bytes()[from..], text.as_bytes()) {
                return from + at + text.len();
            }
            if ended || Instant::now() > end {
                let why = if ended {
                    "the run ended"
                } else {
                    "time is over"
                };
                panic!("`{text}` does not come: {why}\n{}", self.shown());
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Types.
    pub fn send(&mut self, text: &str) {
        let input = self.input.as_mut().expect("input is open");
        input
            .write_all(text.as_bytes())
            .expect("the launcher takes input");
        input.flush().expect("the launcher takes input");
    }

    /// Sends the launcher a signal.
    pub fn signal(&self, name: &str) {
        let done = Command::new("kill")
            .args(["-s", name, &self.child.id().to_string()])
            .status();
        assert!(done.expect("kill starts").success());
    }

    /// Waits for the end.
    pub fn finish(mut self, within: Duration) -> Run {
        let end = Instant::now() + within;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child of ours") {
                break status;
            }
            if Instant::now() > end {
                panic!("the run does not end\n{}", self.shown());
            }
            thread::sleep(Duration::from_millis(20));
        };
        for reader in self.readers.drain(..) {
            reader.join().expect("readers do not panic");
        }
        Run {
            status: status.code().unwrap_or(-1),
            out: self.out.text(),
            err: self.err.text(),
        }
    }

    /// Console and log, for a failure's message.
    fn shown(&self) -> String {
        let (out, err) = (self.out.text(), self.err.text());
        let seconds = self.began.elapsed().as_secs();
        format!("after {seconds} s\n--- console\n{out}\n--- log\n{err}\n---")
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // The launcher has usually ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Run {
    /// Checks the exit status, showing everything if it is another.
    #[track_caller]
    pub fn ends_with(self, status: i32) -> Self {
        assert_eq!(self.status, status, "exit status\n{}", self.shown());
        self
    }

    /// Checks that the guest's console shows a text.
    #[track_caller]
    pub fn shows(self, text: &str) -> Self {
        assert!(
            self.out.contains(text),
            "the console does not show `{text}`\n{}",
            self.shown()
        );
        self
    }

    /// Checks that Umbra says something.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(
            self.err.contains(text),
            "nobody says `{text}`\n{}",
            self.shown()
        );
        self
    }

    fn shown(&self) -> String {
        format!("--- console\n{}\n--- log\n{}\n---", self.out, self.err)
    }
}

/// A program built with the image.
#[allow(dead_code)] // not every test program that has this module boots one
pub fn program(name: &str) -> PathBuf {
    // The linter may be run without an image; the tests cannot.
    const FOLDER: Option<&str> = option_env!("UMBRA_IMAGE_DIR");
    Path::new(FOLDER.expect("the image was built")).join(name)
}

/// A path as an argument.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("paths of tests are text")
}

fn find(bytes: &[u8], text: &[u8]) -> Option<usize> {
    bytes
        .windows(text.len().max(1))
        .position(|window| window == text)
}
