//! A run: QEMU between our terminal and us, until something ends it.
//!
//! Always: every way out of [`run`] has waited for QEMU's end; should the launcher be killed, the kernel kills QEMU.

use std::io::{self, Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::cli::RunArgs;
use crate::compose::{self, Image};
use crate::console::{Key, Keyboard, Screen};
use crate::error::Failure;
use crate::qemu;
use crate::report::Report;
use crate::terminal::Raw;
use crate::verdict::{End, Line, Row, Verdict};

/// The module's file, in a folder of its own; a bare name, because QEMU takes `-initrd` apart at commas and spaces.
const MODULE: &str = "module.elf";
/// How long QEMU may take to end after the last VM has, and how long we listen after a kernel's panic.
const GRACE: Duration = Duration::from_secs(5);
/// Domains that serve every VM: without them nobody can end the run.
const COMMON_DOMAINS: &[&str] = &["root-task", "drivers"];

/// What happens during a run.
enum Event {
    Guest(Vec<u8>),
    Log(Vec<u8>),
    /// One of QEMU's outputs is closed.
    Closed,
    Key(Key),
    Signal(u8),
}

/// Boots the image, shows it, and answers its exit status.
pub fn run(args: &RunArgs, image: &Image) -> Result<u8, Failure> {
    measure(args, image).map(|(status, _)| status)
}

/// As [`run`], with what the image measured.
pub fn measure(args: &RunArgs, image: &Image) -> Result<(u8, Vec<Row>), Failure> {
    let folder = tempfile::Builder::new()
        .prefix("umbra-")
        .tempdir()
        .map_err(|error| Failure::Machine(format!("no temporary folder: {error}")))?;
    compose::write(&folder.path().join(MODULE), image)?;
    let (events, inbox) = channel();
    watch_signals(events.clone())?;
    let child = spawn(args, image, folder.path())?;
    let terminal = Raw::enter();
    let mut run = Run {
        machine: Machine::watch(child, &events),
        screen: Screen::new(args.quiet),
        report: Report::default(),
        vms: image.vms.len(),
        console: image.vms[image.console].clone(),
        alone: args.root_task.is_some(),
        ends: Vec::new(),
        rows: Vec::new(),
        verdict: None,
        deadline: None,
        timeout: args
            .timeout
            .map(|seconds| (Instant::now() + Duration::from_secs(seconds), seconds)),
        said: None,
        begun: false,
        complained: false,
    };
    watch_input(events, terminal.is_some());
    let status = run.until_closed(&inbox);
    drop(terminal);
    let verdict = run.verdict(status);
    if let Some(path) = &args.stats {
        run.report.write(path, &verdict)?;
    }
    // Whoever closed the console does not read this either.
    let _ = run.screen.ours(&format!("umbra: {verdict}"));
    Ok((verdict.status(), run.rows))
}

/// Starts QEMU in a process group of its own: a Ctrl-C in the terminal is for the launcher, which then ends it.
fn spawn(args: &RunArgs, image: &Image, folder: &std::path::Path) -> Result<Child, Failure> {
    let mut command = Command::new(qemu::QEMU);
    command
        .args(qemu::arguments(args, image, std::path::Path::new(MODULE)))
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    bound::bind(&mut command);
    command.spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            Failure::Machine(format!("{} is not installed: run ./setup", qemu::QEMU))
        }
        _ => Failure::Machine(format!("{} does not start: {error}", qemu::QEMU)),
    })
}

/// Ties a child's life to ours.
mod bound {
    #![allow(unsafe_code)] // `pre_exec` is: what runs between fork and exec must not touch other threads' state.

    use std::os::unix::process::CommandExt;
    use std::process::Command;

    use rustix::process::{Signal, set_parent_process_death_signal};

    /// The child gets a process group of its own, and dies with the thread that starts it: call this on the main thread.
    pub fn bind(command: &mut Command) {
        command.process_group(0);
        // SAFETY: the closure makes one system call (prctl) and neither allocates nor takes a lock, so it is safe between
        // fork and exec whatever other threads hold.
        unsafe {
            command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?));
        }
    }
}

/// QEMU, with someone at each of its outputs.
struct Machine {
    child: Child,
    input: Sender<Vec<u8>>,
}

impl Machine {
    fn watch(mut child: Child, events: &Sender<Event>) -> Self {
        if let Some(out) = child.stdout.take() {
            pump(out, events.clone(), Event::Guest);
        }
        if let Some(err) = child.stderr.take() {
            pump(err, events.clone(), Event::Log);
        }
        let (input, keys) = channel();
        if let Some(stdin) = child.stdin.take() {
            thread::spawn(move || feed(stdin, &keys));
        }
        Self { child, input }
    }

    /// Ends QEMU and whatever it has started: all of its process group.
    fn kill(&self) {
        // It may have ended by itself just now; until it is waited for, its id is nobody else's.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.kill();
            // Nothing more can be done about a process that cannot be waited for.
            let _ = self.child.wait();
        }
    }
}

/// Passes on what comes out, at the pace it comes: QEMU never waits for our screen.
fn pump(mut from: impl Read + Send + 'static, events: Sender<Event>, event: fn(Vec<u8>) -> Event) {
    thread::spawn(move || {
        let mut buffer = [0; 65536];
        loop {
            match from.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(length @ 1..) if events.send(event(buffer[..length].to_vec())).is_ok() => {}
                _ => break,
            }
        }
        // The receiver is gone when the run is over.
        let _ = events.send(Event::Closed);
    });
}

/// Passes on what is typed, at the pace the guest takes it.
fn feed(mut stdin: ChildStdin, keys: &Receiver<Vec<u8>>) {
    for bytes in keys {
        if stdin.write_all(&bytes).is_err() {
            break;
        }
    }
}

fn watch_input(events: Sender<Event>, terminal: bool) {
    thread::spawn(move || {
        let mut keyboard = Keyboard::default();
        let mut buffer = [0; 4096];
        loop {
            let bytes = match io::stdin().read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Ok(length @ 1..) => &buffer[..length],
                _ => break,
            };
            let keys = if terminal {
                keyboard.sort(bytes)
            } else {
                vec![Key::Guest(bytes.to_vec())]
            };
            for key in keys {
                if events.send(Event::Key(key)).is_err() {
                    return;
                }
            }
        }
    });
}

fn watch_signals(events: Sender<Event>) -> Result<(), Failure> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])
        .map_err(|error| Failure::Machine(format!("signals cannot be watched: {error}")))?;
    thread::spawn(move || {
        for signal in signals.forever() {
            if events.send(Event::Signal(signal as u8)).is_err() {
                break;
            }
        }
    });
    Ok(())
}

/// What is known of a run.
struct Run {
    machine: Machine,
    screen: Screen,
    report: Report,
    /// How many VMs there are.
    vms: usize,
    /// Name of the VM with the console.
    console: String,
    /// There are no VMs, but a root task that may know nothing of Umbra.
    alone: bool,
    ends: Vec<End>,
    rows: Vec<Row>,
    /// What ended the run, once something has.
    verdict: Option<Verdict>,
    /// When QEMU is ended at the latest, once it should end by itself.
    deadline: Option<Instant>,
    /// When the time is over, and the seconds it was.
    timeout: Option<(Instant, u64)>,
    /// The last line of the log.
    said: Option<String>,
    /// The kernel has said its first line.
    begun: bool,
    /// QEMU has told of a failure of its own.
    complained: bool,
}

impl Run {
    /// Takes events until both of QEMU's outputs are closed.
    fn until_closed(&mut self, inbox: &Receiver<Event>) -> io::Result<ExitStatus> {
        let mut open = 2;
        while open > 0 {
            let now = Instant::now();
            let next = [self.deadline, self.timeout.map(|t| t.0)]
                .into_iter()
                .flatten()
                .min();
            let wait = next.map_or(Duration::from_secs(3600), |at| {
                at.saturating_duration_since(now)
            });
            match inbox.recv_timeout(wait) {
                Ok(Event::Closed) => open -= 1,
                Ok(event) => self.take(event),
                Err(RecvTimeoutError::Timeout) => self.time_passed(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        if let Some(rest) = self.screen.rest() {
            self.line(rest);
        }
        self.machine.child.wait()
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Guest(bytes) => {
                if self.screen.guest(&bytes).is_err() {
                    self.end(Verdict::Unread);
                }
            }
            Event::Log(bytes) => {
                for line in self.screen.log(&bytes) {
                    self.line(line);
                }
            }
            // The feeding thread is gone only when QEMU is.
            Event::Key(Key::Guest(bytes)) => drop(self.machine.input.send(bytes)),
            Event::Key(Key::End) => self.end(Verdict::Keyboard),
            Event::Key(Key::Help) => {
                self.show("umbra: Ctrl-A x ends the run, Ctrl-A Ctrl-A sends a Ctrl-A")
            }
            Event::Signal(signal) => self.end(Verdict::Signal(signal)),
            Event::Closed => {}
        }
    }

    fn line(&mut self, line: String) {
        match Line::read(&line) {
            Line::Text if line.is_empty() => {}
            Line::Text => {
                self.complained |= qemu::is_failure(&line);
                self.text(line);
            }
            Line::Begun => {
                self.begun = true;
                self.text(line);
            }
            Line::Halted => {
                self.text(line);
                self.halted();
            }
            Line::Stats(counters) => self.report.stats(counters),
            Line::End(end) => self.vm_ended(end),
            Line::Fail(fail) => {
                self.show(&format!("umbra: {fail}"));
                if COMMON_DOMAINS.contains(&fail.domain.as_str()) {
                    self.expect(Verdict::Fail(fail));
                }
            }
            Line::Finding(finding) => {
                self.show(&format!("umbra: {finding}"));
                self.expect(Verdict::Finding(finding));
            }
            Line::Panic(text) => self.expect(Verdict::Panic(text)),
            Line::Bench(row) => self.rows.push(row),
        }
    }

    /// A line for people.
    fn text(&mut self, line: String) {
        self.show(&line);
        self.said = Some(line);
    }

    /// The machine stands still. Only a root task of somebody's own can do that: the kernel of a system with VMs lacks the
    /// call.
    fn halted(&mut self) {
        if self.alone {
            let end = End {
                vm: self.console.clone(),
                reason: "halted".into(),
                value: 0,
                status: 0,
            };
            self.report.end(&end);
            self.end(Verdict::Vm(end));
        }
    }

    fn vm_ended(&mut self, end: End) {
        self.report.end(&end);
        if self.vms > 1 {
            self.show(&format!("umbra: {end}"));
        }
        self.ends.push(end);
        if self.ends.len() >= self.vms {
            self.deadline = Some(Instant::now() + GRACE);
        }
    }

    fn show(&mut self, line: &str) {
        if self.screen.ours(line).is_err() {
            self.end(Verdict::Unread);
        }
    }

    /// The run is decided; what QEMU still has to say is waited for.
    fn expect(&mut self, verdict: Verdict) {
        self.verdict.get_or_insert(verdict);
        self.deadline.get_or_insert_with(|| Instant::now() + GRACE);
    }

    /// The run is decided, now.
    fn end(&mut self, verdict: Verdict) {
        self.verdict.get_or_insert(verdict);
        self.machine.kill();
    }

    fn time_passed(&mut self) {
        let now = Instant::now();
        if self.deadline.is_some_and(|at| at <= now) {
            self.deadline = None;
            self.machine.kill();
        }
        if let Some((at, seconds)) = self.timeout
            && at <= now
        {
            self.timeout = None;
            self.end(Verdict::Timeout(seconds));
        }
    }

    /// A root task wrote to the exit port without a word. QEMU that does not start has such statuses too: then the kernel has
    /// not begun. QEMU that fails later says so.
    fn exit_port(&self, status: &io::Result<ExitStatus>) -> Option<End> {
        let code = status.as_ref().ok()?.code()?;
        let status = u8::try_from(code).ok()?;
        let by_port = self.alone && self.begun && !self.complained && status & 1 == 1;
        by_port.then(|| End {
            vm: self.console.clone(),
            reason: "exit-port".into(),
            value: u64::from(status >> 1),
            status,
        })
    }

    /// What ended the run.
    fn verdict(&self, status: io::Result<ExitStatus>) -> Verdict {
        if let Some(verdict) = &self.verdict {
            return verdict.clone();
        }
        let console = self.ends.iter().find(|end| end.vm == self.console);
        if let Some(end) = console.or(self.ends.last()) {
            return Verdict::Vm(end.clone());
        }
        if let Some(end) = self.exit_port(&status) {
            return Verdict::Vm(end);
        }
        let how = match status {
            Ok(status) => format!("QEMU ended without a verdict ({status})"),
            Err(error) => format!("QEMU is lost ({error})"),
        };
        let said = self
            .said
            .as_ref()
            .map(|line| format!("; its last line: {line}"));
        Verdict::Silent(how + &said.unwrap_or_default())
    }
}
