//! ASID pools and scheduling domains.

use crate::{AbsoluteCPtr, InvocationContext, Result, Time, Word, cap, sys::label};

impl<C: InvocationContext> cap::AsidControl<C> {
    /// Makes a pool of a 4 KiB untyped. libsel4: `seL4_X86_ASIDControl_MakePool`.
    pub fn asid_control_make_pool(self, untyped: cap::Untyped, dst: &AbsoluteCPtr) -> Result<()> {
        let words = [dst.path().bits(), dst.path().depth() as Word];
        let caps = [untyped.bits(), dst.root().bits()];
        self.invoke(label::X86_ASID_CONTROL_MAKE_POOL, &caps, &words)
            .map(drop)
    }
}

impl<C: InvocationContext> cap::AsidPool<C> {
    /// Gives an address space an ASID. libsel4: `seL4_X86_ASIDPool_Assign`.
    pub fn asid_pool_assign(self, vspace: cap::VSpace) -> Result<()> {
        self.invoke(label::X86_ASID_POOL_ASSIGN, &[vspace.bits()], &[])
            .map(drop)
    }
    /// Gives a guest-physical space an ASID (Umbra).
    pub fn asid_pool_assign_guest(self, space: cap::GuestPml4) -> Result<()> {
        self.invoke(label::X86_ASID_POOL_ASSIGN, &[space.bits()], &[])
            .map(drop)
    }
}

impl<C: InvocationContext> cap::DomainSet<C> {
    /// Puts a thread into a scheduling domain. libsel4: `seL4_DomainSet_Set`.
    pub fn domain_set_set(self, domain: u8, tcb: cap::Tcb) -> Result<()> {
        self.invoke(label::DOMAIN_SET_SET, &[tcb.bits()], &[domain.into()])
            .map(drop)
    }
    /// Sets an entry of the domain schedule. libsel4: `seL4_DomainSet_ScheduleConfigure`.
    pub fn domain_set_schedule_configure(
        self,
        index: Word,
        domain: u8,
        duration: Time,
    ) -> Result<()> {
        self.invoke(
            label::DOMAIN_SCHEDULE_CONFIGURE,
            &[],
            &[index, domain.into(), duration],
        )
        .map(drop)
    }
    /// Sets where the domain schedule begins. libsel4: `seL4_DomainSet_ScheduleSetStart`.
    pub fn domain_set_schedule_set_start(self, index: Word) -> Result<()> {
        self.invoke(label::DOMAIN_SCHEDULE_SET_START, &[], &[index])
            .map(drop)
    }
}
