//! Thread 0: the machine's serial port, the deadline timer, the end of the run.
//!
//! Woken by an interrupt (badge bits of the notification) or by another thread (badge 0); whatever woke it, it looks at
//! everything.

use super::{
    NOTIFICATION, SHARED, console_owner,
    machine::{self, PortRange},
    print,
};
use core::sync::atomic::Ordering::SeqCst;
use device_server::{
    Ports,
    com1::{Com1, Moved},
    lines::LineBuffer,
    pit::Pit,
    shared::NEVER,
};
use protocol::{slots::drivers, system::DomainInfo};
use sel4::{Badge, cap};

const COM1_IRQ: cap::IrqHandler = cap::IrqHandler::from_bits(drivers::COM1_IRQ);
const TIMER_IRQ: cap::IrqHandler = cap::IrqHandler::from_bits(drivers::TIMER_IRQ);
/// Badges of the two interrupts.
const COM1_BADGE: Badge = 1;
const TIMER_BADGE: Badge = 2;
/// How long the console may take to say its last words.
const LAST_WORDS_MICROSECONDS: u64 = 5_000_000;

/// Serves interrupts for ever.
pub fn run(info: &DomainInfo) -> ! {
    let mut thread = Interrupts::new(info);
    thread.look(0);
    loop {
        let (_, badge) = NOTIFICATION.wait();
        thread.look(badge);
    }
}

struct Interrupts<'a> {
    info: &'a DomainInfo,
    owner: Option<usize>,
    output: Output<'a>,
    timer: Pit<PortRange>,
    /// What the timer was last programmed for, until it fires.
    programmed: u64,
    over: bool,
}

impl<'a> Interrupts<'a> {
    fn new(info: &'a DomainInfo) -> Self {
        let owner = console_owner(info);
        let name = owner
            .and_then(|owner| info.vms.get(owner))
            .map_or("", |vm| &vm.name);
        Self {
            info,
            owner,
            output: Output::new(name),
            timer: Pit::new(machine::PIT, info.tsc_mhz),
            programmed: NEVER,
            over: false,
        }
    }

    fn look(&mut self, badge: Badge) {
        self.console(badge & COM1_BADGE != 0);
        if badge & TIMER_BADGE != 0 {
            self.programmed = NEVER;
            acknowledge(TIMER_IRQ);
        }
        self.deadlines();
        if let Some(byte) = SHARED.all_ended(self.info.vms.len()) {
            self.finish(byte);
        }
    }

    fn console(&mut self, interrupt: bool) {
        let moved = self.output.serve(interrupt);
        if interrupt {
            acknowledge(COM1_IRQ);
        }
        let room = moved.sent && SHARED.console.output_waits.swap(false, SeqCst);
        if let Some(owner) = self.owner.filter(|_| moved.received || room) {
            signal_line(owner);
        }
    }

    /// Signals deadlines that passed and arms the timer for the next.
    fn deadlines(&mut self) {
        loop {
            let now = machine::tsc();
            for vm in 0..self.info.vms.len() {
                let passed = SHARED.take_passed(vm, now);
                if passed.model {
                    signal_line(vm);
                }
                if passed.asked {
                    signal_deadline(vm);
                }
            }
            let next = SHARED.earliest();
            SHARED.set_armed(next);
            // Another thread may have set an earlier one before it could see what this one arms.
            if SHARED.earliest() < next {
                continue;
            }
            if next == NEVER || next == self.programmed {
                return;
            }
            let now = machine::tsc();
            if next > now {
                self.timer.arm(next - now);
                self.programmed = next;
                return;
            }
        }
    }

    /// All VMs have ended: last words of the console, then the machine's end.
    fn finish(&mut self, byte: u8) {
        if core::mem::replace(&mut self.over, true) {
            return;
        }
        let start = machine::tsc();
        let patience = LAST_WORDS_MICROSECONDS * u64::from(self.info.tsc_mhz);
        while !self.output.idle() && machine::tsc().wrapping_sub(start) < patience {
            self.output.serve(false);
        }
        log::info!("all VMs have ended");
        let mut exit = machine::EXIT;
        exit.write(0, byte);
    }
}

/// Where the console's bytes go.
enum Output<'a> {
    Port(Com1<PortRange>),
    /// The machine has no serial port: to the log, with the VM's name.
    Log(LineBuffer, &'a str),
}

impl<'a> Output<'a> {
    fn new(name: &'a str) -> Self {
        Com1::new(machine::COM1, &SHARED.console).map_or_else(
            || {
                log::warn!("no serial port at 0x3f8; the console goes to the log");
                Self::Log(LineBuffer::new(), name)
            },
            Self::Port,
        )
    }

    fn serve(&mut self, interrupt: bool) -> Moved {
        let console = &SHARED.console;
        match self {
            Self::Port(port) if interrupt => port.interrupt(console),
            Self::Port(port) => port.transfer(console),
            Self::Log(line, name) => {
                let mut sent = false;
                while let Some(byte) = console.output.pop() {
                    line.push(byte, |line| print(format_args!("{name}: {line}")));
                    sent = true;
                }
                Moved {
                    received: false,
                    sent,
                }
            }
        }
    }

    fn idle(&mut self) -> bool {
        match self {
            Self::Port(port) => port.idle(&SHARED.console),
            Self::Log(..) => SHARED.console.output.is_empty(),
        }
    }
}

fn acknowledge(irq: cap::IrqHandler) {
    irq.irq_handler_ack()
        .expect("root-task gave the interrupt's capability");
}

/// A line of VM `vm` may have risen.
fn signal_line(vm: usize) {
    let (_, _, notification) = drivers::vm(vm as u64);
    cap::Notification::from_bits(notification).signal();
}

/// The deadline VM `vm` asked for has passed.
fn signal_deadline(vm: usize) {
    cap::Notification::from_bits(drivers::vm_deadline(vm as u64)).signal();
}
