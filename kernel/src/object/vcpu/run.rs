//! A guest's turn: what is made ready before VMRUN, and what each #VMEXIT comes to.

use super::event::normalise_event;
use super::{COUNT_FPU, COUNT_INTERRUPTS, Vcpu, counter};
use crate::kernel::{FpuOwner, Kernel};
use crate::machine::{Machine, Next};
use crate::mem::{Page, Ref};
use exit_abi::Exit;
use words::svm::{event, vmcb};
use words::x86::{dr7, pf, vector};

const PF_EXIT: u64 = words::svm::exit::EXCEPTION + vector::PF as u64;
const NM_EXIT: u64 = words::svm::exit::EXCEPTION + vector::NM as u64;
const MC_EXIT: u64 = words::svm::exit::EXCEPTION + vector::MC as u64;

/// What follows a guest's turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum After {
    /// A host interrupt waits to be taken.
    Interrupt,
    /// To decide who runs.
    Decide,
    /// This runs.
    Run(Next),
}

/// What an exit comes to.
enum Exited {
    /// It was for the host.
    Interrupt,
    /// The guest goes on.
    Again,
    /// It is the handler's.
    Told(Exit),
}

impl<M: Machine> Kernel<M> {
    /// The exit becomes a fault message to the vCPU's handler.
    pub(crate) fn exit_fault(&mut self, vcpu: Ref<Vcpu>, exit: Exit) {
        let Some(tcb) = vcpu.tcb.get() else { return };
        vcpu.count(counter(exit.class()));
        let words = exit.encode(vcpu.status());
        self.fault(tcb, exit.class() as u64, &words);
    }

    /// Makes the vCPU ready for VMRUN, or delivers the exit that says why it is not.
    pub(crate) fn vcpu_prepare(&mut self, vcpu: Ref<Vcpu>) -> Option<Next> {
        let rip = vcpu.read(vmcb::RIP);
        if vcpu.refused.take() {
            vcpu.event.set(0);
            self.exit_fault(vcpu, Exit::Invalid { code: 0, rip });
            return None;
        }
        let Some(table) = Self::vcpu_table(vcpu) else {
            // An event on its way is not lost: it is injected once there is a root.
            vcpu.event.set(normalise_event(vcpu.read(vmcb::EVENTINJ)));
            self.exit_fault(
                vcpu,
                Exit::NoRoot {
                    mode: vcpu.mode(),
                    rip,
                    cr3: vcpu.cr3.get(),
                },
            );
            return None;
        };
        self.write_state(vcpu, table);
        self.assign_tag(vcpu);
        // Its turn ends with nobody's TLS bases.
        self.release_bases();
        let dr7 = vcpu.read(vmcb::DR7);
        if dr7 & dr7::ENABLED != 0 {
            let dr = [0, 1, 2, 3].map(|n| vcpu.dr[n].get());
            self.machine.load_debug_registers(dr, dr7);
        }
        Some(Next::Guest { vmcb: vcpu.hpa() })
    }

    /// The table that hardware shall walk: the root page in the pool, or the guest-physical space's.
    fn vcpu_table(vcpu: Ref<Vcpu>) -> Option<Ref<Page>> {
        if vcpu.nested.get() {
            return vcpu.space.get();
        }
        let (index, pool) = vcpu.root.get().zip(vcpu.pool.get())?;
        pool.root_table(index, vcpu.is_long())
    }

    /// A guest's own page fault under nested paging, with the error code that a processor gives: a reserved bit is found in
    /// an entry that is present (APM vol. 2, 8.4.2).
    fn reflect_page_fault(&mut self, vcpu: Ref<Vcpu>) -> Exited {
        let mut code = vcpu.read(vmcb::EXITINFO1) as u32;
        if code & pf::RSVD != 0 {
            code |= pf::P;
        }
        vcpu.write(vmcb::CR2, vcpu.read(vmcb::EXITINFO2));
        if vcpu.event.get() == 0 {
            vcpu.inject(event::exception_with_code(vector::PF, code));
            return Exited::Again;
        }
        // What two exceptions come to is not for the kernel to know.
        Exited::Told(Exit::Exception {
            vector: vector::PF,
            code,
            rip: vcpu.read(vmcb::RIP),
            dr6: vcpu.read(vmcb::DR6),
            event: vcpu.event.get(),
        })
    }

    /// After #VMEXIT of the current vCPU.
    pub fn handle_guest_exit(&mut self) -> After {
        self.machine.unload_debug_registers();
        let Some(vcpu) = self.current.vcpu.get() else {
            return After::Decide;
        };
        match self.take_exit(vcpu) {
            Exited::Interrupt => After::Interrupt,
            Exited::Again => After::Decide,
            Exited::Told(exit) => {
                vcpu.count(counter(exit.class()));
                let words = exit.encode(vcpu.status());
                if let Some(next) = self.fast_exit(exit.class() as u64, &words) {
                    return After::Run(next);
                }
                self.update_time();
                self.fault(self.current, exit.class() as u64, &words);
                After::Decide
            }
        }
    }

    /// Sorts the exits: what the kernel sees to itself, and what the handler is told.
    #[inline(always)]
    fn take_exit(&mut self, vcpu: Ref<Vcpu>) -> Exited {
        use words::svm::exit;
        let code = vcpu.read(vmcb::EXITCODE);
        let rip = vcpu.read(vmcb::RIP);
        let refused = code & 0xffff_ffff == exit::INVALID;
        self.tag_used(vcpu, refused);
        if refused {
            // The save area may hold anything now: vmm-server writes the state anew or stops.
            vcpu.event.set(0);
            vcpu.written.set(false);
            return Exited::Told(Exit::Invalid {
                code: code as u32,
                rip,
            });
        }
        if vcpu.nested.get() {
            vcpu.cr3.set(vcpu.read(vmcb::CR3));
        } else if vcpu.read(vmcb::CR3) & words::x86::pte::ADDRESS != vcpu.installed.get() {
            let found = vcpu.read(vmcb::CR3);
            // Nothing of what was found there is run again.
            vcpu.written.set(false);
            vcpu.inject(0);
            return Exited::Told(Exit::FormatBroken {
                found,
                installed_page: vcpu.root.get().unwrap_or(u64::MAX),
            });
        }
        vcpu.take_event();
        match code {
            exit::INTR | exit::NMI | exit::SMI | exit::INIT => {
                vcpu.count(COUNT_INTERRUPTS);
                vcpu.inject(vcpu.event.get());
                Exited::Interrupt
            }
            // Another's FPU state was loaded. With its own, the guest meets an exception of its own by itself: none exits.
            NM_EXIT => {
                vcpu.count(COUNT_FPU);
                self.fpu_acquire(FpuOwner::guest(vcpu));
                vcpu.inject(vcpu.event.get());
                Exited::Again
            }
            PF_EXIT if vcpu.nested.get() => self.reflect_page_fault(vcpu),
            MC_EXIT => panic!("machine check in a guest"),
            _ => {
                if code == exit::VINTR {
                    vcpu.window.set(0);
                }
                Exited::Told(self.describe_exit(vcpu, code))
            }
        }
    }
}
