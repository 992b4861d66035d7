//! Threads.

use crate::{
    CNodeCapData, CPtr, InvocationContext, Result, UserContext, Word, cap,
    sys::{label, syscall as number},
    user_context,
};

const SUSPEND_OR_RESUME: Word = 1;

impl<C: InvocationContext> cap::Tcb<C> {
    /// Reads the first `count` registers. libsel4: `seL4_TCB_ReadRegisters`.
    pub fn tcb_read_registers(self, suspend: bool, count: Word) -> Result<UserContext> {
        let mut words = [0; user_context::WORDS];
        let flags = if suspend { SUSPEND_OR_RESUME } else { 0 };
        self.invoke_into(label::TCB_READ_REGISTERS, &[], &[flags, count], &mut words)?;
        Ok(UserContext::from_words(words))
    }
    /// Reads every register. libsel4: `seL4_TCB_ReadRegisters`.
    pub fn tcb_read_all_registers(self, suspend: bool) -> Result<UserContext> {
        self.tcb_read_registers(suspend, user_context::WORDS as Word)
    }
    /// Writes the first `count` registers. libsel4: `seL4_TCB_WriteRegisters`.
    pub fn tcb_write_registers(
        self,
        resume: bool,
        count: Word,
        regs: &mut UserContext,
    ) -> Result<()> {
        let flags = if resume { SUSPEND_OR_RESUME } else { 0 };
        let mut words = [0; user_context::WORDS + 2];
        let count = (count as usize).min(user_context::WORDS);
        words[0] = flags;
        words[1] = count as Word;
        words[2..].copy_from_slice(&regs.words());
        self.invoke(label::TCB_WRITE_REGISTERS, &[], &words[..2 + count])
            .map(drop)
    }
    /// Writes every register. libsel4: `seL4_TCB_WriteRegisters`.
    pub fn tcb_write_all_registers(self, resume: bool, regs: &mut UserContext) -> Result<()> {
        self.tcb_write_registers(resume, user_context::WORDS as Word, regs)
    }
    /// Copies registers from `source`: the frame (instruction pointer, stack, general registers) or the rest, or both.
    /// libsel4: `seL4_TCB_CopyRegisters`.
    pub fn tcb_copy_registers(
        self,
        source: cap::Tcb,
        suspend_source: bool,
        resume_target: bool,
        transfer_frame: bool,
        transfer_integer: bool,
    ) -> Result<()> {
        let flags = Word::from(suspend_source)
            | Word::from(resume_target) << 1
            | Word::from(transfer_frame) << 2
            | Word::from(transfer_integer) << 3;
        self.invoke(label::TCB_COPY_REGISTERS, &[source.bits()], &[flags])
            .map(drop)
    }
    /// Lets the thread run from where it is. libsel4: `seL4_TCB_Resume`.
    pub fn tcb_resume(self) -> Result<()> {
        self.invoke(label::TCB_RESUME, &[], &[]).map(drop)
    }
    /// Stops the thread. libsel4: `seL4_TCB_Suspend`.
    pub fn tcb_suspend(self) -> Result<()> {
        self.invoke(label::TCB_SUSPEND, &[], &[]).map(drop)
    }
    /// Sets the priority, up to `authority`'s maximum. libsel4: `seL4_TCB_SetPriority`.
    pub fn tcb_set_priority(self, authority: cap::Tcb, priority: Word) -> Result<()> {
        self.invoke(label::TCB_SET_PRIORITY, &[authority.bits()], &[priority])
            .map(drop)
    }
    /// Sets the maximum controlled priority, up to `authority`'s. libsel4: `seL4_TCB_SetMCPriority`.
    pub fn tcb_set_mc_priority(self, authority: cap::Tcb, mcp: Word) -> Result<()> {
        self.invoke(label::TCB_SET_MC_PRIORITY, &[authority.bits()], &[mcp])
            .map(drop)
    }
    /// Sets priorities, scheduling context and fault endpoint. Null capabilities stand for "none".
    /// libsel4: `seL4_TCB_SetSchedParams`.
    pub fn tcb_set_sched_params(
        self,
        authority: cap::Tcb,
        mcp: Word,
        priority: Word,
        sched_context: cap::SchedContext,
        fault_ep: cap::Endpoint,
    ) -> Result<()> {
        let caps = [authority.bits(), sched_context.bits(), fault_ep.bits()];
        self.invoke(label::TCB_SET_SCHED_PARAMS, &caps, &[mcp, priority])
            .map(drop)
    }
    /// Sets the endpoint of timeout faults. libsel4: `seL4_TCB_SetTimeoutEndpoint`.
    pub fn tcb_set_timeout_endpoint(self, endpoint: cap::Endpoint) -> Result<()> {
        self.invoke(label::TCB_SET_TIMEOUT_ENDPOINT, &[endpoint.bits()], &[])
            .map(drop)
    }
    /// Sets CSpace, address space and IPC buffer. libsel4: `seL4_TCB_Configure`.
    pub fn tcb_configure(
        self,
        cspace_root: cap::CNode,
        cspace_root_data: CNodeCapData,
        vspace_root: cap::VSpace,
        ipc_buffer: Word,
        ipc_buffer_frame: cap::Granule,
    ) -> Result<()> {
        let caps = [
            cspace_root.bits(),
            vspace_root.bits(),
            ipc_buffer_frame.bits(),
        ];
        self.invoke(
            label::TCB_CONFIGURE,
            &caps,
            &[cspace_root_data.into_word(), 0, ipc_buffer],
        )
        .map(drop)
    }
    /// Sets fault endpoint, CSpace and address space. libsel4: `seL4_TCB_SetSpace`.
    pub fn tcb_set_space(
        self,
        fault_ep: CPtr,
        cspace_root: cap::CNode,
        cspace_root_data: CNodeCapData,
        vspace_root: cap::VSpace,
    ) -> Result<()> {
        let caps = [fault_ep.bits(), cspace_root.bits(), vspace_root.bits()];
        self.invoke(
            label::TCB_SET_SPACE,
            &caps,
            &[cspace_root_data.into_word(), 0],
        )
        .map(drop)
    }
    /// Sets the IPC buffer. libsel4: `seL4_TCB_SetIPCBuffer`.
    pub fn tcb_set_ipc_buffer(self, address: Word, frame: cap::Granule) -> Result<()> {
        self.invoke(label::TCB_SET_IPC_BUFFER, &[frame.bits()], &[address])
            .map(drop)
    }
    /// Sets the FS base. libsel4: `seL4_TCB_SetTLSBase`.
    pub fn tcb_set_tls_base(self, tls_base: Word) -> Result<()> {
        self.invoke(label::TCB_SET_TLS_BASE, &[], &[tls_base])
            .map(drop)
    }
    /// Clears and sets flags; the result is the new ones. libsel4: `seL4_TCB_SetFlags`.
    pub fn tcb_set_flags(self, clear: Word, set: Word) -> Result<Word> {
        self.invoke(label::TCB_SET_FLAGS, &[], &[clear, set])
            .map(|words| words[0])
    }
    /// Lets signals of `notification` reach the thread while it receives. libsel4: `seL4_TCB_BindNotification`.
    pub fn tcb_bind_notification(self, notification: cap::Notification) -> Result<()> {
        self.invoke(label::TCB_BIND_NOTIFICATION, &[notification.bits()], &[])
            .map(drop)
    }
    /// Undoes [`tcb_bind_notification`](Self::tcb_bind_notification). libsel4: `seL4_TCB_UnbindNotification`.
    pub fn tcb_unbind_notification(self) -> Result<()> {
        self.invoke(label::TCB_UNBIND_NOTIFICATION, &[], &[])
            .map(drop)
    }
    /// Names the thread in the kernel's debug output; a name is cut to what fits. libsel4: `seL4_DebugNameThread`.
    pub fn debug_name(self, name: &[u8]) {
        let cap = self.bits();
        self.with_context(|buffer| {
            // The first four words travel in registers otherwise; here the kernel reads all of them from the buffer.
            let bytes = buffer.msg_bytes_mut();
            let length = name.len().min(bytes.len() - 1);
            bytes[..length].copy_from_slice(&name[..length]);
            bytes[length] = 0;
            crate::arch::syscall(number::DEBUG_NAME_THREAD, cap, 0, [0; 4]);
        });
    }
}

#[cfg(test)]
mod tests {
    use crate::{CNodeCapData, UserContext, cap, invocations::recorder::record};

    #[test]
    fn configuring_names_three_capabilities_and_three_words() {
        let calls = record(0, &[], || {
            let (cnode, vspace, frame) = (
                cap::CNode::from_bits(2),
                cap::VSpace::from_bits(3),
                cap::Granule::from_bits(4),
            );
            cap::Tcb::from_bits(1)
                .tcb_configure(
                    cnode,
                    CNodeCapData::skip_high_bits(12),
                    vspace,
                    0x7100_0000,
                    frame,
                )
                .unwrap();
        });
        assert_eq!(calls, [(1, 5, vec![2, 3, 4], vec![52, 0, 0x7100_0000])]);
    }

    #[test]
    fn writing_registers_sends_as_many_words_as_it_says() {
        let calls = record(0, &[], || {
            let mut context = UserContext::default();
            *context.pc_mut() = 0x20_0000;
            *context.sp_mut() = 0x7000_0000;
            cap::Tcb::from_bits(1)
                .tcb_write_registers(true, 2, &mut context)
                .unwrap();
        });
        assert_eq!(calls, [(1, 3, vec![], vec![1, 2, 0x20_0000, 0x7000_0000])]);
    }

    #[test]
    fn reading_registers_takes_words_from_registers_and_buffer() {
        record(0, &(1..=20).collect::<Vec<_>>(), || {
            let context = cap::Tcb::from_bits(1)
                .tcb_read_all_registers(false)
                .unwrap();
            assert_eq!(
                (
                    context.inner().rip,
                    context.inner().rbx,
                    context.inner().gs_base
                ),
                (1, 5, 20)
            );
        });
    }
}
