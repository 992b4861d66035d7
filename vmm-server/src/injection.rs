//! Which interrupt goes into the guest with a reply, and the way of an NMI to the end of its IRET.
//!
//! CR8 is the guest's own register in the processor: it is read when an interrupt of the local APIC waits, and then only.
//! A guest whose task priority holds that interrupt back exits when it lowers CR8, not before, so that nothing is asked
//! again and again.

use crate::board::Waiting;
use crate::platform::Platform;
use crate::vcpu::Vcpu;
use exit_abi::{Exit, Mask, Register, Status};
use vcpu::injection::{self, Decision, Pending};
use vcpu::nmi::{AtIret, Nmi, Step};
use vcpu::resume::Window;
use vcpu::{Event, Registers, Resume};
use words::x86::{rflags, vector};

/// DR6.BS.
const STEPPED: u64 = 1 << 14;

impl Vcpu {
    /// Puts what waits into `resume` if the guest can take it, and sees to an exit when it can if it cannot now.
    pub(crate) fn offer(
        &mut self,
        platform: &mut impl Platform,
        status: Status,
        resume: &mut Resume,
    ) {
        let mut cr8 = resume
            .registers()
            .has(Register::Cr8)
            .then(|| resume.registers().get(Register::Cr8) as u8);
        let mut waiting = self.waiting(platform, &mut cr8);
        let mut nmi = self.nmi_ready();
        let pending = Pending {
            nmi,
            interrupt: is_ready(waiting),
        };
        let decision = if self.nmi.asks_where() {
            // Between an IRET that was let go and what comes after it there is no room.
            Decision::Nothing
        } else {
            injection::decide(status, resume, pending)
        };
        match decision {
            Decision::Nothing | Decision::Window => {}
            Decision::Nmi => {
                self.board.take_nmi();
                self.nmi = self.nmi.taken();
                resume.set(Register::IretIntercept, 1);
                resume.inject(Event::nmi());
                nmi = false;
            }
            Decision::Interrupt => {
                let vector = self.board.acknowledge();
                resume.inject(Event::interrupt(vector));
                waiting = self.waiting(platform, &mut cr8);
            }
        }
        let window = window(nmi, waiting);
        // A window nobody needs any longer would cost an exit.
        if window != self.window {
            resume.set_window(window);
            self.window = window;
        }
    }

    /// Whether the halted guest wakes because something waits for it; `resume`, as its exit left it, then has the reply.
    pub fn wake(&mut self, platform: &mut impl Platform, resume: &mut Resume) -> bool {
        let Some(status) = self.halted else {
            return false;
        };
        let interrupt = status.interrupts_enabled && is_ready(self.waiting(platform, &mut None));
        if !interrupt && !self.nmi_ready() {
            return false;
        }
        self.halted = None;
        self.offer(platform, status, resume);
        true
    }

    /// After a signal to a guest that runs: makes it exit when something waits for it.
    pub fn interrupt_running(&mut self, platform: &mut impl Platform) {
        let nmi = self.nmi_ready();
        let wanted = window(nmi, self.waiting(platform, &mut None));
        let class = match wanted {
            Window::Closed => return,
            Window::Open => 0,
            Window::Above(class) => class,
        };
        if wanted != self.window {
            platform.request_window(class);
            self.window = wanted;
        }
    }

    fn nmi_ready(&self) -> bool {
        self.nmi.is_open() && self.board.nmi_waits()
    }

    /// What waits; `cr8` keeps CR8 once it was read.
    fn waiting(&mut self, platform: &mut impl Platform, cr8: &mut Option<u8>) -> Waiting {
        self.board.waiting(|| {
            *cr8.get_or_insert_with(|| {
                let mask = Mask::default().with(Register::Cr8);
                platform.read_registers(mask).get(Register::Cr8) as u8
            })
        })
    }

    /// IRET at `rip` while an NMI is served: from here on it is not intercepted.
    pub(crate) fn interrupt_return(
        &mut self,
        platform: &mut impl Platform,
        rip: u64,
        status: Status,
        resume: &mut Resume,
    ) {
        resume.set(Register::IretIntercept, 0);
        let (nmi, action) = Nmi::at_iret(rip, self.board.nmi_waits(), status.single_step);
        self.nmi = nmi;
        if action == AtIret::Step {
            let mask = Mask::default().with(Register::Rflags).with(Register::Dr6);
            let registers = platform.read_registers(mask);
            self.dr6_before_step = registers.get(Register::Dr6);
            let flags = registers.get(Register::Rflags);
            resume.set(Register::Rflags, flags | rflags::TF);
        }
    }

    /// What this exit says about an IRET that was let go. `None`: the exit was asked for here and is not the guest's;
    /// else the exit's status without what was set in the guest's stead.
    pub(crate) fn follow_iret(
        &mut self,
        platform: &mut impl Platform,
        exit: &Exit,
        status: Status,
        resume: &mut Resume,
    ) -> Option<Status> {
        if !self.nmi.asks_where() {
            return Some(status);
        }
        let mask = Mask::default().with(Register::Rip).with(Register::Rflags);
        let registers = platform.read_registers(mask);
        let stepped = matches!(
            *exit,
            Exit::Exception { vector: vector::DB, dr6, .. } if dr6 & STEPPED != 0
        );
        let (nmi, step) = self.nmi.after_exit(registers.get(Register::Rip), stepped);
        self.nmi = nmi;
        match step {
            Step::None | Step::Elsewhere => Some(status),
            Step::Made => {
                resume.set(Register::Dr6, self.dr6_before_step);
                None
            }
            Step::Failed => {
                // At once: what follows may look at the guest's flags, or push them.
                let flags = registers.get(Register::Rflags) & !rflags::TF;
                let flags = Registers::new().with(Register::Rflags, flags);
                if platform.write_registers(&flags).is_err() {
                    resume.set(Register::Rflags, flags.get(Register::Rflags));
                }
                resume.set(Register::IretIntercept, 1);
                Some(Status {
                    single_step: false,
                    ..status
                })
            }
        }
    }
}

const fn is_ready(waiting: Waiting) -> bool {
    matches!(waiting, Waiting::External | Waiting::Ready(_))
}

/// The window to ask for when this still waits.
const fn window(nmi: bool, waiting: Waiting) -> Window {
    match waiting {
        // There is no window for NMIs; with interrupts off the next exit of any kind is the NMI's.
        _ if nmi => Window::Open,
        Waiting::Nothing => Window::Closed,
        Waiting::External => Window::Open,
        Waiting::Ready(class) | Waiting::Held(class) => Window::Above(class),
    }
}
