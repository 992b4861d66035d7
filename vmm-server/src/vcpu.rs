//! The virtual CPU's state, and what becomes of each exit and each signal.

use crate::board::{Board, Ending};
use crate::bus::Hole;
use crate::device_tlb::DeviceTlb;
use crate::dispatch::Flow;
use crate::platform::Platform;
use crate::stats::Markers;
use crate::time::{Deadline, Tell, Tick};
use crate::trap::Trap;
use exit_abi::{Exit, Register, Status};
use protocol::device::{Stop, signal};
use protocol::system::{Entry, Paging};
use vcpu::control::Limits;
use vcpu::debug::Breakpoints;
use vcpu::event::{Codes, Event, Merged};
use vcpu::msr::Msrs;
use vcpu::nmi::Nmi;
use vcpu::resume::{Width, Window};
use vcpu::{Control, Registers, Resume, cpuid, start};
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
    /// Who translates the guest's addresses.
    pub(crate) paging: Paging,
    pub(crate) limits: Limits,
    pub(crate) msrs: Msrs,
    pub(crate) board: Board,
    pub(crate) markers: Markers,
    /// Exits in a row after which the guest does the same again.
    pub(crate) repeats: u32,
    /// Exits in a row whose instruction turned out to touch no memory.
    pub(crate) stale: u32,
    /// The exit for an interrupt that the kernel was asked for and has not given yet.
    pub(crate) window: Window,
    pub(crate) nmi: Nmi,
    /// DR6 before a step that the guest does not know of.
    pub(crate) dr6_before_step: u64,
    /// DR0 to DR3 and DR7 as the guest wrote them; the processor clears DR7.GD by itself.
    pub(crate) breakpoints: Breakpoints,
    /// Breakpoints that this exit's instruction met.
    pub(crate) met: u8,
    /// This exit's instruction did something, finished or not.
    pub(crate) iterated: bool,
    /// What mmu-server said of this exit's address.
    pub(crate) hole: Option<Hole>,
    pub(crate) devices: DeviceTlb,
    deadline: Deadline,
    tick: Tick,
    pub(crate) halted: Option<Status>,
}

impl Vcpu {
    /// The virtual CPU for a machine with `memory` bytes of RAM that starts at `entry`, and the registers to give it. The
    /// TSC has `tsc_mhz` counts a microsecond; the guest's starts at 0.
    pub fn new(
        entry: &Entry,
        tsc_mhz: u32,
        memory: u64,
        platform: &impl Platform,
    ) -> (Self, Registers) {
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
        let host = |leaf, subleaf| platform.cpuid(leaf, subleaf);
        let limits = cpuid::limits(&host);
        let msrs = Msrs::starting_at(now, limits.physical_width);
        start.registers.set(Register::TscOffset, msrs.tsc_offset());
        let vcpu = Self {
            control: start.control,
            paging: Paging::Shadow,
            limits,
            msrs,
            board: Board::new(tsc_mhz, memory, now),
            markers: Markers::new(),
            repeats: 0,
            stale: 0,
            window: Window::Closed,
            nmi: Nmi::Open,
            dr6_before_step: 0,
            breakpoints: Breakpoints::default(),
            met: 0,
            iterated: false,
            hole: None,
            devices: DeviceTlb::default(),
            deadline: Deadline::new(tsc_mhz),
            tick: Tick::default(),
            halted: None,
        };
        (vcpu, start.registers)
    }

    /// Says who translates the guest's addresses, before it runs.
    pub const fn set_paging(&mut self, paging: Paging) {
        self.paging = paging;
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
        self.refresh(platform);
        (self.met, self.iterated, self.hole) = (0, false, None);
        let Some(status) = self.follow_iret(platform, exit, status, resume) else {
            self.offer(platform, status, resume);
            return Verdict::Resume;
        };
        let flow = match self.dispatch(platform, exit, status, resume) {
            Ok(flow) => {
                self.end_instruction(platform, status, resume);
                flow
            }
            Err(trap) => match self.raise(platform, trap, first_event(exit), resume) {
                Ok(()) => Flow::Go,
                Err(stopped) => return Verdict::Stop(stopped),
            },
        };
        if let Some(ending) = self.board.ending() {
            return Verdict::Stop(ended(ending));
        }
        // Otherwise time is looked at when the deadline's signal comes: a page fault costs no more than its one call.
        let written = self.board.take_timer_written();
        if self.end_tick(platform) || written {
            self.arm(platform);
        }
        // A debug trap behind HLT ends it at once.
        if flow == Flow::Halt && !resume.injects() {
            self.halted = Some(status);
            self.tick.idle();
            if !self.wake(platform, resume) {
                return Verdict::Halt;
            }
        } else {
            self.offer(platform, status, resume);
        }
        Verdict::Resume
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
        if badge & signal::DEADLINE != 0 && self.board.waits() {
            self.tick.begin(now);
        }
        self.arm(platform);
    }

    /// The guest ended an interrupt: what the tick took, it now gets for itself.
    fn end_tick(&mut self, platform: &impl Platform) -> bool {
        let (ended, counting) = (
            self.board.take_interrupt_ended(),
            self.board.take_count_written(),
        );
        if !ended && !counting {
            return false;
        }
        let now = platform.now();
        let Some(took) = self.tick.end(now, counting) else {
            return false;
        };
        self.deadline.hold(now, took);
        true
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

    /// Turns a trap into an event for the guest, by the rules for nested exceptions.
    fn raise(
        &self,
        platform: &mut impl Platform,
        trap: Trap,
        first: Option<Event>,
        resume: &mut Resume,
    ) -> Result<(), Stopped> {
        let (vector, code, address) = match trap {
            Trap::Exception { vector, code } => (vector, code, None),
            Trap::PageFault { code, address } => (vector::PF, code, Some(address)),
            Trap::Debug(conditions) => {
                self.debug_trap(platform, conditions, resume);
                return Ok(());
            }
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

const fn ended(ending: Ending) -> Stopped {
    let (reason, what) = match ending {
        Ending::Off => (Stop::Halted, "switched off"),
        Ending::Reset => (Stop::Reset, "reset"),
    };
    Stopped {
        reason,
        value: 0,
        what,
    }
}

/// The event that was being delivered when the exit happened.
const fn first_event(exit: &Exit) -> Option<Event> {
    match *exit {
        Exit::Paging { event, .. }
        | Exit::NestedPaging { event, .. }
        | Exit::Exception { event, .. } => Event::from_word(event),
        _ => None,
    }
}
