//! The virtual CPU's state, and what becomes of each exit and each signal.

use crate::board::Board;
use crate::dispatch::Flow;
use crate::platform::Platform;
use crate::stats::Markers;
use crate::time::{Deadline, Tell};
use crate::trap::Trap;
use exit_abi::{Exit, Mask, Register, Status};
use protocol::device::{Stop, signal};
use protocol::system::Entry;
use vcpu::control::Limits;
use vcpu::event::{Codes, Event, Merged};
use vcpu::injection::{self, Decision, Pending};
use vcpu::msr::Msrs;
use vcpu::resume::Width;
use vcpu::{Control, Registers, Resume, cpuid, debug, start};
use words::x86::vector;

/// Why a VM goes no further.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stopped {
    /// The reason the launcher learns.
    pub reason: Stop,
    /// Its value.
    pub value: u64,
    /// A few words for the log.
    pub what: &'static str,
}

/// What to do after an exit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Reply with the registers of the `Resume`.
    Resume,
    /// Keep the reply and wait for a signal; [`Vcpu::wake`] has the answer.
    Halt,
    /// The VM is over.
    Stop(Stopped),
}

/// One virtual CPU with its board.
#[derive(Clone, Debug)]
pub struct Vcpu {
    pub(crate) control: Control,
    pub(crate) limits: Limits,
    pub(crate) msrs: Msrs,
    pub(crate) board: Board,
    pub(crate) markers: Markers,
    /// Exits in a row after which the guest does the same again.
    pub(crate) repeats: u32,
    /// The kernel was asked for an exit when an interrupt can be taken, and has not given it yet.
    pub(crate) window: bool,
    deadline: Deadline,
    /// When the tick came whose interrupt the guest has not ended yet.
    tick: Option<u64>,
    halted: Option<Status>,
}

impl Vcpu {
    /// The virtual CPU for a machine that starts at `entry`, and the registers to give it. The TSC has `tsc_mhz` counts
    /// a microsecond; the guest's starts at 0.
    pub fn new(entry: &Entry, tsc_mhz: u32, platform: &impl Platform) -> (Self, Registers) {
        let mut start = match *entry {
            Entry::Linux64 {
                rip,
                zero_page,
                cr3,
                gdt,
            } => start::linux64(rip, zero_page, cr3, gdt),
            Entry::Multiboot { eip, info } => start::multiboot(eip, info),
            Entry::Linux32 {
                eip,
                zero_page,
                gdt,
            } => start::linux32(eip, zero_page, gdt),
            Entry::Pvh { eip, start_info } => start::pvh(eip, start_info),
            Entry::Real { cs, ip } => start::real(cs, ip),
        };
        let now = platform.now();
        let msrs = Msrs::starting_at(now);
        start.registers.set(Register::TscOffset, msrs.tsc_offset());
        let host = |leaf, subleaf| platform.cpuid(leaf, subleaf);
        let vcpu = Self {
            control: start.control,
            limits: cpuid::limits(&host),
            msrs,
            board: Board::new(tsc_mhz, now),
            markers: Markers::new(),
            repeats: 0,
            window: false,
            deadline: Deadline::new(tsc_mhz),
            tick: None,
            halted: None,
        };
        (vcpu, start.registers)
    }

    /// The guest's control registers.
    #[must_use]
    pub const fn control(&self) -> &Control {
        &self.control
    }

    /// Markers the guest wrote.
    #[must_use]
    pub const fn markers(&self) -> &Markers {
        &self.markers
    }

    /// Handles an exit; what the reply sets is in `resume` afterwards.
    pub fn exit(
        &mut self,
        platform: &mut impl Platform,
        exit: &Exit,
        status: Status,
        resume: &mut Resume,
    ) -> Verdict {
        resume.reset(status);
        let flow = match self.dispatch(platform, exit, status, resume) {
            Ok(flow) => {
                self.step(platform, status, resume);
                flow
            }
            Err(trap) => match self.raise(trap, first_event(exit), resume) {
                Ok(()) => Flow::Go,
                Err(stopped) => return Verdict::Stop(stopped),
            },
        };
        // Otherwise time is looked at when the deadline's signal comes: a page fault costs no more than its one call.
        let written = self.board.take_timer_written();
        if self.end_tick(platform) || written {
            self.arm(platform);
        }
        match flow {
            Flow::Go => self.offer_interrupt(status, resume),
            Flow::Halt => {
                self.halted = Some(status);
                if !self.wake(resume) {
                    return Verdict::Halt;
                }
            }
        }
        Verdict::Resume
    }

    /// The debug trap after an instruction that was carried out here while the guest steps (APM vol. 2, 13.1.4): the
    /// processor, which saw none, raises none.
    fn step(&self, platform: &mut impl Platform, status: Status, resume: &mut Resume) {
        if !status.single_step || !resume.skips() || resume.injects() {
            return;
        }
        let mask = Mask::default().with(Register::Dr6);
        let dr6 = if resume.registers().has(Register::Dr6) {
            resume.registers().get(Register::Dr6)
        } else {
            platform.read_registers(mask).get(Register::Dr6)
        };
        resume.set(Register::Dr6, debug::stepped(dr6));
        resume.inject(Event::exception(vector::DB, 0, self.codes()));
    }

    /// Takes a signal of the device server: `badge` says what happened ([`protocol::device::signal`]). Whether the guest
    /// sleeps or runs, what waits for it is known afterwards.
    pub fn signal(&mut self, platform: &mut impl Platform, badge: u64) {
        if badge != signal::DEADLINE {
            let lines = platform.lines();
            self.board.set_lines(lines);
        }
        let now = platform.now();
        self.board.advance(now);
        if badge & signal::DEADLINE != 0 && self.board.pending() {
            self.tick.get_or_insert(now);
        }
        self.arm(platform);
    }

    /// The guest ended an interrupt: what the tick took, it now gets for itself.
    fn end_tick(&mut self, platform: &impl Platform) -> bool {
        if !self.board.take_interrupt_ended() {
            return false;
        }
        let Some(start) = self.tick.take() else {
            return false;
        };
        let now = platform.now();
        self.deadline
            .hold(now.saturating_add(now.saturating_sub(start)));
        true
    }

    /// Whether the halted guest wakes because an interrupt waits for it; `resume`, as its exit left it, then has the
    /// reply.
    pub fn wake(&mut self, resume: &mut Resume) -> bool {
        if !self.board.pending() {
            return false;
        }
        let Some(status) = self.halted.take() else {
            return false;
        };
        self.offer_interrupt(status, resume);
        true
    }

    /// After a signal to a guest that runs: makes it exit when an interrupt waits for it.
    pub fn interrupt_running(&mut self, platform: &mut impl Platform) {
        if self.board.pending() && !self.window {
            platform.request_window();
            self.window = true;
        }
    }

    /// How far the guest's RIP counts.
    pub(crate) const fn width(&self) -> Width {
        if self.control.is_long() {
            Width::Long
        } else {
            Width::Legacy
        }
    }

    /// Whether exceptions push error codes.
    pub(crate) const fn codes(&self) -> Codes {
        if self.control.is_protected() {
            Codes::Pushed
        } else {
            Codes::None
        }
    }

    fn offer_interrupt(&mut self, status: Status, resume: &mut Resume) {
        let pending = Pending {
            nmi: false,
            interrupt: self.board.pending(),
        };
        let decision = injection::decide(status, resume, pending);
        match decision {
            Decision::Nothing | Decision::Window => {}
            Decision::Nmi => resume.inject(Event::nmi()),
            Decision::Interrupt => {
                let vector = self.board.acknowledge();
                resume.inject(Event::interrupt(vector));
            }
        }
        // A window nobody needs any longer would cost an exit.
        let window = decision == Decision::Window || self.board.pending();
        if window != self.window {
            resume.set_window(window);
            self.window = window;
        }
    }

    /// Turns a trap into an event for the guest, by the rules for nested exceptions.
    fn raise(&self, trap: Trap, first: Option<Event>, resume: &mut Resume) -> Result<(), Stopped> {
        let (vector, code, address) = match trap {
            Trap::Exception { vector, code } => (vector, code, None),
            Trap::PageFault { code, address } => (vector::PF, code, Some(address)),
            Trap::Stop(stopped) => return Err(stopped),
        };
        let codes = self.codes();
        match Event::exception(vector, code, codes).after(first, codes) {
            Merged::Shutdown => Err(Stopped {
                reason: Stop::TripleFault,
                value: 0,
                what: "triple fault",
            }),
            Merged::Deliver(event) => {
                match address {
                    Some(address) => resume.inject_page_fault(event, address),
                    None => resume.inject(event),
                }
                Ok(())
            }
        }
    }

    /// Tells the device server the next deadline when it is another than it knows.
    fn arm(&mut self, platform: &mut impl Platform) {
        let now = platform.now();
        let event = self.board.next_event(now);
        if let Some(Tell(tsc)) = self.deadline.update(now, event) {
            platform.set_deadline(tsc);
        }
    }
}

/// The event that was being delivered when the exit happened.
const fn first_event(exit: &Exit) -> Option<Event> {
    match *exit {
        Exit::Paging { event, .. } | Exit::Exception { event, .. } => Event::from_word(event),
        _ => None,
    }
}
