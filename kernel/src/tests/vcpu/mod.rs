//! A hostile vmm-server against the VCPU: whatever it writes, the guest runs within I4 to I6 or exits.

mod events;
mod registers;
mod resume_flag;
mod roots;
mod tags;
mod windows;

use super::shadow::Guest;
use super::world::{Answer, Thread};
use crate::machine::Next;
use crate::object::vcpu::After;
use exit_abi::{ExitClass, Register};
use sel4_abi::{label, object};
use words::svm::vmcb;
use words::x86::{cr0, cr4, efer};

/// A guest whose vCPU thread is bound, and a server of higher priority that is told of its exits; the test speaks for both.
pub struct Machine {
    pub guest: Guest,
    pub vmm: Thread,
    pub endpoint: u64,
    pub thread: Thread,
}

impl Machine {
    pub fn new(mut guest: Guest) -> Self {
        let w = &mut guest.world;
        let endpoint = w.make(object::ENDPOINT, 0);
        let vmm = w.thread(200, true);
        let thread = w.thread(100, true);
        w.set_handler(thread, endpoint);
        w.call(guest.vcpu, label::VCPU_BIND_TCB, &[], &[thread.cap])
            .ok();
        Self {
            guest,
            vmm,
            endpoint,
            thread,
        }
    }

    /// The root task sleeps, the server waits, the vCPU runs: what the kernel wants to run then.
    pub fn start(&mut self) -> Next {
        let gate = self.guest.world.gate();
        let w = &mut self.guest.world;
        w.resume(self.vmm);
        w.call(self.guest.vcpu, label::VCPU_RUN, &[], &[]).ok();
        w.wait(gate);
        w.expect_running(self.vmm);
        w.recv(self.endpoint, self.vmm.reply)
    }
    /// The guest exits with `code`; what runs next.
    pub fn exit(&mut self, code: u64) -> Next {
        self.guest
            .world
            .vcpu(self.guest.vcpu)
            .write(vmcb::EXITCODE, code);
        match self.guest.world.kernel.handle_guest_exit() {
            After::Run(next) => next,
            After::Interrupt | After::Decide => self.guest.world.settle(),
        }
    }
    /// The server answers the exit and waits for the next one.
    pub fn answer(&mut self, words: &[u64]) -> Next {
        self.guest
            .world
            .reply_recv(self.endpoint, self.vmm.reply, 0, words)
    }
    /// The server has this exit in its hands.
    #[track_caller]
    pub fn expect_exit(&self, class: ExitClass) -> Vec<u64> {
        self.guest.world.expect_running(self.vmm);
        let message = self.guest.world.received(self.vmm.tcb);
        assert_eq!(message.label, class as u64);
        message.words
    }
    pub fn read(&self, offset: usize) -> u64 {
        self.guest.world.vcpu(self.guest.vcpu).read(offset)
    }
    pub fn write(&self, offset: usize, value: u64) {
        self.guest.world.vcpu(self.guest.vcpu).write(offset, value);
    }
    /// Writes registers from the root task.
    pub fn set(&mut self, registers: &[(Register, u64)]) -> Answer {
        let mut sorted = registers.to_vec();
        sorted.sort_by_key(|(register, _)| *register as u8);
        let mut words = vec![sorted.iter().map(|(register, _)| register.bit()).sum()];
        words.extend(sorted.iter().map(|(_, value)| value));
        self.guest
            .world
            .call(self.guest.vcpu, label::VCPU_WRITE_REGISTERS, &words, &[])
    }
}

/// A guest in real mode with a PAE root, ready to run.
pub fn real_mode() -> Machine {
    real_mode_on(false)
}

/// The same on the software CPU, or not.
fn real_mode_on(tcg: bool) -> Machine {
    let mut guest = Guest::new();
    guest.world.kernel.machine.svm.tcg = tcg;
    guest.pae_root();
    guest.set_root(8).ok();
    Machine::new(guest)
}

/// A guest in long mode with a four-level root, ready to run.
pub fn long_mode() -> Machine {
    let mut guest = Guest::new();
    guest.chain();
    let mut machine = Machine::new(guest);
    machine
        .set(&[
            (Register::Efer, efer::LME | efer::LMA),
            (Register::Cr0, cr0::PE | cr0::PG),
            (Register::Cr4, cr4::PAE),
            (Register::Cs, 0xa9b << 16 | 8),
        ])
        .ok();
    machine.guest.set_root(0).ok();
    machine
}
