//! Every item that rust-sel4's crate `sel4` has for x86_64 with scheduling contexts, named with its shape: a program written
//! against that crate compiles only as long as this does. What is taken away or changed fails here, while compiling.

#![allow(clippy::type_complexity)] // signatures are the point

use sel4::init_thread::{self, Slot, SlotRegion};
use sel4::*;
use std::cell::RefCell;
use std::ops::Range;

/// Says that an expression has a type.
macro_rules! has {
    ($($type:ty: $item:expr;)*) => { $( let _: $type = $item; )* };
}

/// Says that types implement a trait.
macro_rules! implement {
    ($($trait:path: $($type:ty),*;)*) => { $($( {
        fn check<T: $trait>() {}
        check::<$type>();
    } )*)* };
}

#[test]
fn words_and_addresses() {
    has! {
        u64: Word::MAX;
        usize: WORD_SIZE;
        CPtrBits: Word::MAX;
        Badge: Word::MAX;
        Time: u64::MAX;
        usize: NUM_MESSAGE_REGISTERS;
        usize: NUM_FAST_MESSAGE_REGISTERS;
        fn(CPtrBits) -> CPtr: CPtr::from_bits;
        fn(CPtr) -> CPtrBits: CPtr::bits;
        fn(CPtr) -> cap::Tcb: CPtr::cast;
        fn(CPtrBits, usize) -> CPtrWithDepth: CPtrWithDepth::from_bits_with_depth;
        fn(&CPtrWithDepth) -> CPtrBits: CPtrWithDepth::bits;
        fn(&CPtrWithDepth) -> usize: CPtrWithDepth::depth;
        fn() -> CPtrWithDepth: CPtrWithDepth::empty;
        fn(CPtr) -> CPtrWithDepth: CPtrWithDepth::from;
    }
    implement! { HasCPtrWithDepth: CPtr, CPtrWithDepth, cap::Null; }
    assert_eq!(CPtrWithDepth::from(CPtr::from_bits(5)).depth(), WORD_SIZE);
}

#[test]
fn capabilities() {
    type Bare = Cap<cap_type::Tcb, NoInvocationContext>;
    has! {
        fn(CPtrBits) -> cap::Tcb: cap::Tcb::from_bits;
        fn(CPtr) -> cap::Tcb: cap::Tcb::from_cptr;
        fn(&cap::Tcb) -> CPtr: cap::Tcb::cptr;
        fn(&cap::Tcb) -> CPtrBits: cap::Tcb::bits;
        fn(cap::Tcb) -> cap::CNode: cap::Tcb::cast;
        fn(cap::Tcb) -> cap::Unspecified: cap::Tcb::upcast;
        fn(cap::Unspecified) -> cap::Tcb: cap::Unspecified::downcast;
        fn(cap::Tcb) -> Bare: cap::Tcb::without_context;
        fn(Bare, ImplicitInvocationContext) -> cap::Tcb: Bare::with;
        fn(cap::Tcb) -> ImplicitInvocationContext: cap::Tcb::into_invocation_context;
        fn(cap::CNode, CPtrWithDepth) -> AbsoluteCPtr: AbsoluteCPtr::new;
        fn(&AbsoluteCPtr) -> &cap::CNode: AbsoluteCPtr::root;
        fn(AbsoluteCPtr) -> cap::CNode: AbsoluteCPtr::into_root;
        fn(&AbsoluteCPtr) -> &CPtrWithDepth: AbsoluteCPtr::path;
        fn(AbsoluteCPtr) -> AbsoluteCPtr<NoInvocationContext>: AbsoluteCPtr::without_context;
        fn(AbsoluteCPtr, NoInvocationContext) -> AbsoluteCPtr<NoInvocationContext>: AbsoluteCPtr::with;
        fn(cap::CNode, CPtr) -> AbsoluteCPtr: cap::CNode::absolute_cptr;
        fn(cap::CNode, CPtrBits, usize) -> AbsoluteCPtr: cap::CNode::absolute_cptr_from_bits_with_depth;
        fn(cap::CNode) -> AbsoluteCPtr: cap::CNode::absolute_cptr_for_self;
        fn(cap::Tcb) -> u32: cap::Tcb::debug_identify;
        ImplicitInvocationContext: ImplicitInvocationContext::new();
    }
    implement! {
        Copy: cap::Tcb, AbsoluteCPtr;
        InvocationContext: ImplicitInvocationContext, &mut IpcBuffer, &mut &mut IpcBuffer, &RefCell<ImplicitInvocationContext>;
        CapType: cap_type::Untyped, cap_type::Endpoint, cap_type::Notification, cap_type::Tcb, cap_type::CNode,
            cap_type::IrqControl, cap_type::IrqHandler, cap_type::DomainSet, cap_type::AsidControl, cap_type::AsidPool,
            cap_type::Null, cap_type::Unspecified, cap_type::UnspecifiedPage,
            cap_type::UnspecifiedIntermediateTranslationTable, cap_type::VSpace, cap_type::Granule, cap_type::_4k,
            cap_type::LargePage, cap_type::HugePage, cap_type::PML4, cap_type::PDPT, cap_type::PageDirectory,
            cap_type::PageTable, cap_type::IOPortControl, cap_type::IOPort, cap_type::Reply, cap_type::SchedContext,
            cap_type::SchedControl;
        CapTypeForObject: cap_type::Untyped, cap_type::Endpoint, cap_type::PML4, cap_type::HugePage;
        CapTypeForObjectOfFixedSize: cap_type::Tcb, cap_type::Reply, cap_type::Endpoint, cap_type::Notification;
        CapTypeForObjectOfVariableSize: cap_type::Untyped, cap_type::CNode, cap_type::SchedContext;
        CapTypeForFrameObject: cap_type::UnspecifiedPage, cap_type::_4k;
        CapTypeForFrameObjectOfFixedSize: cap_type::_4k, cap_type::LargePage, cap_type::HugePage;
        CapTypeForTranslationTableObject: cap_type::PML4, cap_type::PDPT, cap_type::PageDirectory, cap_type::PageTable;
    }
    assert_eq!(format!("{:?}", cap::Tcb::from_bits(5)), "Tcb(5)");
}

#[test]
fn objects() {
    use cap_type::{_4k, CNode, PML4, Tcb};
    has! {
        fn(ObjectType) -> core::ffi::c_uint: ObjectType::into_sys;
        [ObjectType; 7]: [
            ObjectType::Untyped, ObjectType::Endpoint, ObjectType::Notification, ObjectType::CNode, ObjectType::Tcb,
            ObjectType::SchedContext, ObjectType::Reply,
        ];
        [ObjectTypeArch; 4]: [
            ObjectTypeX86::_4k, ObjectTypeX86::LargePage, ObjectTypeX86::PageTable, ObjectTypeX86::PageDirectory,
        ];
        [ObjectTypeSeL4Arch; 3]: [ObjectTypeX64::HugePage, ObjectTypeX64::PDPT, ObjectTypeX64::PML4];
        ObjectType: ObjectTypeX64::PML4.into();
        ObjectType: ObjectType::Arch(ObjectTypeX86::SeL4Arch(ObjectTypeX64::PML4));
        [ObjectBlueprint; 7]: [
            ObjectBlueprint::Untyped { size_bits: 12 }, ObjectBlueprint::Endpoint, ObjectBlueprint::Notification,
            ObjectBlueprint::CNode { size_bits: 12 }, ObjectBlueprint::Tcb,
            ObjectBlueprint::SchedContext { size_bits: 7 }, ObjectBlueprint::Reply,
        ];
        [ObjectBlueprintArch; 4]: [
            ObjectBlueprintX86::_4k, ObjectBlueprintX86::LargePage, ObjectBlueprintX86::PageTable,
            ObjectBlueprintX86::PageDirectory,
        ];
        [ObjectBlueprintSeL4Arch; 3]: [ObjectBlueprintX64::HugePage, ObjectBlueprintX64::PDPT, ObjectBlueprintX64::PML4];
        ObjectBlueprint: ObjectBlueprint::Arch(ObjectBlueprintX86::SeL4Arch(ObjectBlueprintX64::PML4));
        fn(ObjectBlueprint) -> ObjectType: ObjectBlueprint::ty;
        fn(ObjectBlueprint) -> Option<usize>: ObjectBlueprint::api_size_bits;
        fn(ObjectBlueprint) -> usize: ObjectBlueprint::physical_size_bits;
        fn() -> ObjectBlueprint: ObjectBlueprint::asid_pool;
        fn() -> ObjectType: Tcb::object_type;
        fn() -> ObjectBlueprint: Tcb::object_blueprint;
        fn(usize) -> ObjectBlueprint: CNode::object_blueprint;
        FrameObjectType: _4k::FRAME_OBJECT_TYPE;
        TranslationTableObjectType: PML4::TRANSLATION_TABLE_OBJECT_TYPE;
        [FrameObjectType; 4]: [
            FrameObjectType::_4k, FrameObjectType::LargePage, FrameObjectType::HugePage, FrameObjectType::GRANULE,
        ];
        [usize; 3]: [FrameObjectType::_4K_BITS, FrameObjectType::LARGE_PAGE_BITS, FrameObjectType::HUGE_PAGE_BITS];
        fn(FrameObjectType) -> ObjectBlueprint: FrameObjectType::blueprint;
        fn(FrameObjectType) -> usize: FrameObjectType::bits;
        fn(FrameObjectType) -> usize: FrameObjectType::bytes;
        fn(usize) -> Option<FrameObjectType>: FrameObjectType::from_bits;
        [TranslationTableObjectType; 4]: [
            TranslationTableObjectType::PML4, TranslationTableObjectType::PDPT,
            TranslationTableObjectType::PageDirectory, TranslationTableObjectType::PageTable,
        ];
        fn(&TranslationTableObjectType) -> ObjectBlueprint: TranslationTableObjectType::blueprint;
        fn(&TranslationTableObjectType) -> usize: TranslationTableObjectType::index_bits;
        fn(usize) -> Option<TranslationTableObjectType>: TranslationTableObjectType::from_level;
        usize: vspace_levels::NUM_LEVELS;
        usize: vspace_levels::HIGHEST_LEVEL_WITH_PAGE_ENTRIES;
        fn(usize) -> usize: vspace_levels::span_bits;
        fn(usize) -> usize: vspace_levels::step_bits;
        [VmAttributes; 4]: [
            VmAttributes::NONE, VmAttributes::DEFAULT, VmAttributes::CACHE_DISABLED, VmAttributes::default(),
        ];
        VmAttributes: !VmAttributes::NONE | VmAttributes::DEFAULT & VmAttributes::CACHE_DISABLED;
        fn(VmAttributes, VmAttributes) -> bool: VmAttributes::has;
    }
}

#[test]
fn data_words() {
    has! {
        fn(Word, usize, usize, usize) -> MessageInfo: MessageInfo::new;
        fn(&MessageInfo) -> Word: MessageInfo::label;
        fn(&MessageInfo) -> usize: MessageInfo::caps_unwrapped;
        fn(&MessageInfo) -> usize: MessageInfo::extra_caps;
        fn(&MessageInfo) -> usize: MessageInfo::length;
        fn() -> usize: MessageInfo::label_width;
        MessageInfo: MessageInfoBuilder::default().label(1).caps_unwrapped(0).extra_caps(0).length(0).build();
        fn(bool, bool, bool, bool) -> CapRights: CapRights::new;
        [fn() -> CapRights; 5]: [
            CapRights::none, CapRights::all, CapRights::read_write, CapRights::read_only, CapRights::write_only,
        ];
        CapRights: CapRightsBuilder::none().grant_reply(true).grant(true).read(true).write(true).build();
        CapRightsBuilder: CapRightsBuilder::all();
        fn(Word, usize) -> CNodeCapData: CNodeCapData::new;
        fn(usize) -> CNodeCapData: CNodeCapData::skip;
        fn(usize) -> CNodeCapData: CNodeCapData::skip_high_bits;
        fn(CNodeCapData) -> Word: CNodeCapData::into_word;
        Word: TcbFlagsBuilder::new().fpu_disabled(true).build();
        [Error; 10]: [
            Error::InvalidArgument, Error::InvalidCapability, Error::IllegalOperation, Error::RangeError,
            Error::AlignmentError, Error::FailedLookup, Error::TruncatedMessage, Error::DeleteFirst,
            Error::RevokeFirst, Error::NotEnoughMemory,
        ];
        fn(Error) -> u32: Error::into_sys;
        fn(u32) -> Option<Error>: Error::from_sys;
        Result<()>: Err(Error::RangeError);
        UserContext: UserContext::default();
        fn(&UserContext) -> &Word: UserContext::pc;
        fn(&mut UserContext) -> &mut Word: UserContext::pc_mut;
        fn(&UserContext) -> &Word: UserContext::sp;
        fn(&mut UserContext) -> &mut Word: UserContext::sp_mut;
        fn(&UserContext, usize) -> &Word: UserContext::c_param;
        fn(&mut UserContext, usize) -> &mut Word: UserContext::c_param_mut;
        Word: UserContext::default().inner().rip;
        Word: UserContext::default().inner().gs_base;
    }
    assert_eq!(
        Error::from_sys(Error::NotEnoughMemory.into_sys()),
        Some(Error::NotEnoughMemory)
    );
    assert_eq!(Error::from_sys(0), None);
}

/// `from_inner`, `into_inner`, `inner` and `inner_mut`.
macro_rules! newtypes {
    ($($type:ty: $inner:ty;)*) => { has! { $(
        fn($inner) -> $type: <$type>::from_inner;
        fn($type) -> $inner: <$type>::into_inner;
        fn(&$type) -> &$inner: <$type>::inner;
        fn(&mut $type) -> &mut $inner: <$type>::inner_mut;
    )* } };
}

#[test]
fn newtypes_give_their_inside() {
    newtypes! {
        MessageInfo: sys::message::MessageInfo;
        CapRights: sys::Rights;
        CNodeCapData: Word;
        VmAttributes: Word;
        UserContext: RegisterFrame;
        UntypedDesc: sys::boot_info::UntypedDesc;
    }
}

#[test]
fn the_ipc_buffer() {
    has! {
        fn(&IpcBuffer) -> &sys::message::IpcBuffer: IpcBuffer::inner;
        fn(&mut IpcBuffer) -> &mut sys::message::IpcBuffer: IpcBuffer::inner_mut;
        fn(&IpcBuffer) -> &[Word]: IpcBuffer::msg_regs;
        fn(&mut IpcBuffer) -> &mut [Word]: IpcBuffer::msg_regs_mut;
        fn(&IpcBuffer) -> &[u8]: IpcBuffer::msg_bytes;
        fn(&mut IpcBuffer) -> &mut [u8]: IpcBuffer::msg_bytes_mut;
        fn(&IpcBuffer) -> Word: IpcBuffer::user_data;
        fn(&mut IpcBuffer, Word) -> (): IpcBuffer::set_user_data;
        fn(&IpcBuffer) -> &[Word]: IpcBuffer::caps_or_badges;
        fn(&mut IpcBuffer) -> &mut [Word]: IpcBuffer::caps_or_badges_mut;
        fn(&IpcBuffer) -> AbsoluteCPtr: IpcBuffer::recv_slot;
        fn(&mut IpcBuffer, &AbsoluteCPtr) -> (): IpcBuffer::set_recv_slot;
        fn(&'static mut IpcBuffer) -> (): set_ipc_buffer;
        fn(fn(&IpcBuffer) -> Word) -> Word: with_ipc_buffer;
        fn(fn(&mut IpcBuffer) -> Word) -> Word: with_ipc_buffer_mut;
        fn() -> bool: ipc_buffer_is_thread_local;
    }
    let _ = || try_with_ipc_buffer_slot(|slot| slot.is_ok_and(|slot| slot.is_some()));
    let _ = || try_with_ipc_buffer_slot_mut(|slot| slot.is_ok_and(|slot| slot.take().is_some()));
}

#[test]
fn messages() {
    type Ep = cap::Endpoint;
    type Received = (MessageInfo, Badge);
    has! {
        fn(Ep, MessageInfo) -> (): Ep::send;
        fn(Ep, MessageInfo) -> (): Ep::nb_send;
        fn(Ep, MessageInfo) -> MessageInfo: Ep::call;
        fn(Ep, cap::Reply) -> Received: Ep::recv;
        fn(Ep, ReplyAuthority) -> Received: Ep::nb_recv;
        fn(Ep, MessageInfo, cap::Reply) -> Received: Ep::reply_recv;
        fn(Ep, MessageInfo, cap::Notification, cap::Reply) -> Received: Ep::nb_send_recv;
        fn(Ep, MessageInfo, cap::Notification) -> Received: Ep::nb_send_wait;
        fn(Ep, MessageInfo, [Word; 4]) -> (): Ep::send_with_mrs;
        fn(Ep, cap::Reply) -> RecvWithMRs: Ep::recv_with_mrs;
        fn(Ep, MessageInfo, &'static [Word]) -> CallWithMRs: Ep::call_with_mrs;
        fn(cap::Notification) -> (): cap::Notification::signal;
        fn(cap::Notification) -> (WaitMessageInfo, Badge): cap::Notification::wait;
        fn(cap::Notification) -> Received: cap::Notification::poll;
        fn() -> (): r#yield;
        fn(usize) -> (): set_tls_base;
    }
    implement! {
        FastMessages: [Word; 0], [Word; 1], [Word; 2], [Word; 3], [Word; 4], &[Word];
        ConveysReplyAuthority: cap::Reply;
    }
    let _ = |received: RecvWithMRs| -> (MessageInfo, Badge, [Word; 4]) {
        (received.info, received.badge, received.msg)
    };
    let _ = |answer: CallWithMRs| -> (MessageInfo, [Word; 4]) { (answer.info, answer.msg) };
}

#[test]
fn invocations_of_untyped_memory_slots_and_threads() {
    use cap::{CNode, Granule, SchedContext, Tcb, VSpace};
    type Path = AbsoluteCPtr;
    has! {
        fn(cap::Untyped, &ObjectBlueprint, &Path, usize, usize) -> Result<()>: cap::Untyped::untyped_retype;
        fn(Path) -> Result<()>: Path::revoke;
        fn(Path) -> Result<()>: Path::delete;
        fn(Path) -> Result<()>: Path::cancel_badged_sends;
        fn(Path, &Path, CapRights) -> Result<()>: Path::copy;
        fn(Path, &Path, CapRights, Word) -> Result<()>: Path::mint;
        fn(Path, &Path) -> Result<()>: Path::move_;
        fn(Path, &Path, Word) -> Result<()>: Path::mutate;
        fn(Path, &Path, Word, &Path, Word) -> Result<()>: Path::rotate;
        fn(Tcb, bool, Word) -> Result<UserContext>: Tcb::tcb_read_registers;
        fn(Tcb, bool) -> Result<UserContext>: Tcb::tcb_read_all_registers;
        fn(Tcb, bool, Word, &mut UserContext) -> Result<()>: Tcb::tcb_write_registers;
        fn(Tcb, bool, &mut UserContext) -> Result<()>: Tcb::tcb_write_all_registers;
        fn(Tcb, Tcb, bool, bool, bool, bool) -> Result<()>: Tcb::tcb_copy_registers;
        fn(Tcb) -> Result<()>: Tcb::tcb_resume;
        fn(Tcb) -> Result<()>: Tcb::tcb_suspend;
        fn(Tcb, Tcb, Word) -> Result<()>: Tcb::tcb_set_priority;
        fn(Tcb, Tcb, Word) -> Result<()>: Tcb::tcb_set_mc_priority;
        fn(Tcb, Word, Word) -> Result<Word>: Tcb::tcb_set_flags;
        fn(Tcb, CNode, CNodeCapData, VSpace, Word, Granule) -> Result<()>: Tcb::tcb_configure;
        fn(Tcb, CPtr, CNode, CNodeCapData, VSpace) -> Result<()>: Tcb::tcb_set_space;
        fn(Tcb, Word, Granule) -> Result<()>: Tcb::tcb_set_ipc_buffer;
        fn(Tcb, Tcb, Word, Word, SchedContext, cap::Endpoint) -> Result<()>: Tcb::tcb_set_sched_params;
        fn(Tcb, cap::Endpoint) -> Result<()>: Tcb::tcb_set_timeout_endpoint;
        fn(Tcb, Word) -> Result<()>: Tcb::tcb_set_tls_base;
        fn(Tcb, cap::Notification) -> Result<()>: Tcb::tcb_bind_notification;
        fn(Tcb) -> Result<()>: Tcb::tcb_unbind_notification;
        fn(Tcb, &[u8]) -> (): Tcb::debug_name;
        fn(cap::SchedControl, SchedContext, Time, Time, Word, Badge, Word) -> Result<()>:
            cap::SchedControl::sched_control_configure_flags;
        fn(SchedContext) -> Result<()>: SchedContext::unbind;
        fn(SchedContext, Tcb) -> Result<()>: SchedContext::bind;
        fn(SchedContext, cap::Notification) -> Result<()>: SchedContext::unbind_object;
        fn(SchedContext) -> Result<Time>: SchedContext::consumed;
        fn(SchedContext) -> Result<Time>: SchedContext::yield_to;
    }
}

#[test]
fn invocations_of_interrupts_ports_and_address_spaces() {
    use cap::{
        AsidControl, AsidPool, DomainSet, IOPort, IOPortControl, IrqControl, IrqHandler, VSpace,
    };
    type Path = AbsoluteCPtr;
    type Map<T> = fn(T, VSpace, usize, VmAttributes) -> Result<()>;
    has! {
        fn(IrqControl, Word, &Path) -> Result<()>: IrqControl::irq_control_get;
        fn(IrqControl, Word, Word, Word, Word, Word, &Path) -> Result<()>: IrqControl::irq_control_get_ioapic;
        fn(IrqControl, Word, Word, Word, Word, Word, &Path) -> Result<()>: IrqControl::irq_control_get_msi;
        fn(IrqHandler) -> Result<()>: IrqHandler::irq_handler_ack;
        fn(IrqHandler, cap::Notification) -> Result<()>: IrqHandler::irq_handler_set_notification;
        fn(IrqHandler) -> Result<()>: IrqHandler::irq_handler_clear;
        fn(DomainSet, u8, cap::Tcb) -> Result<()>: DomainSet::domain_set_set;
        fn(DomainSet, Word, u8, Time) -> Result<()>: DomainSet::domain_set_schedule_configure;
        fn(DomainSet, Word) -> Result<()>: DomainSet::domain_set_schedule_set_start;
        fn(IOPortControl, Word, Word, &Path) -> Result<()>: IOPortControl::ioport_control_issue;
        fn(IOPort, u16) -> Result<u8>: IOPort::ioport_in8;
        fn(IOPort, u16) -> Result<u16>: IOPort::ioport_in16;
        fn(IOPort, u16) -> Result<u32>: IOPort::ioport_in32;
        fn(IOPort, u16, u8) -> Result<()>: IOPort::ioport_out8;
        fn(IOPort, u16, u16) -> Result<()>: IOPort::ioport_out16;
        fn(IOPort, u16, u32) -> Result<()>: IOPort::ioport_out32;
        fn(AsidControl, cap::Untyped, &Path) -> Result<()>: AsidControl::asid_control_make_pool;
        fn(AsidPool, VSpace) -> Result<()>: AsidPool::asid_pool_assign;
        fn(cap::UnspecifiedPage, VSpace, usize, CapRights, VmAttributes) -> Result<()>: cap::UnspecifiedPage::frame_map;
        fn(cap::_4k) -> Result<()>: cap::_4k::frame_unmap;
        fn(cap::HugePage) -> Result<usize>: cap::HugePage::frame_get_address;
        Map<cap::PDPT>: cap::PDPT::pdpt_map;
        Map<cap::PageDirectory>: cap::PageDirectory::page_directory_map;
        Map<cap::PageTable>: cap::PageTable::page_table_map;
        fn(cap::PDPT) -> Result<()>: cap::PDPT::pdpt_unmap;
        fn(cap::PageDirectory) -> Result<()>: cap::PageDirectory::page_directory_unmap;
        fn(cap::PageTable) -> Result<()>: cap::PageTable::page_table_unmap;
        fn(
            cap::UnspecifiedIntermediateTranslationTable, TranslationTableObjectType, VSpace, usize, VmAttributes,
        ) -> Result<()>: cap::UnspecifiedIntermediateTranslationTable::generic_intermediate_translation_table_map;
    }
}

/// The accessors of a fault.
macro_rules! accessors {
    ($($fault:ident: $($get:ident),*;)*) => { $(
        let _ = |fault: $fault| -> Vec<Word> { vec![$(fault.inner().$get()),*] };
    )* };
}

#[test]
fn faults() {
    has! { fn(&IpcBuffer, &MessageInfo) -> Fault: Fault::new; }
    let _ = |fault: Fault| match fault {
        Fault::NullFault(NullFault { .. }) | Fault::CapFault(_) | Fault::UnknownSyscall(_) => 0,
        Fault::UserException(_) | Fault::VmFault(_) | Fault::Timeout(_) | Fault::Other(_) => 1,
    };
    accessors! {
        CapFault: get_IP, get_Addr, get_InRecvPhase, get_LookupFailureType, get_MR4, get_MR5, get_MR6;
        UnknownSyscall: get_RAX, get_RBX, get_RCX, get_RDX, get_RSI, get_RDI, get_RBP, get_R8, get_R9, get_R10, get_R11,
            get_R12, get_R13, get_R14, get_R15, get_FaultIP, get_RSP, get_FLAGS, get_Syscall;
        UserException: get_FaultIP, get_Stack, get_FLAGS, get_Number, get_Code;
        VmFault: get_IP, get_Addr, get_PrefetchFault, get_FSR;
        Timeout: get_data, get_consumed;
    }
}

#[test]
fn the_initial_thread() {
    use init_thread::slot;
    has! {
        Slot<cap_type::Null>: slot::NULL;
        Slot<cap_type::Tcb>: slot::TCB;
        Slot<cap_type::CNode>: slot::CNODE;
        Slot<cap_type::VSpace>: slot::VSPACE;
        Slot<cap_type::IrqControl>: slot::IRQ_CONTROL;
        Slot<cap_type::AsidControl>: slot::ASID_CONTROL;
        Slot<cap_type::AsidPool>: slot::ASID_POOL;
        Slot<cap_type::IOPortControl>: slot::IO_PORT_CONTROL;
        Slot<cap_type::Granule>: slot::BOOT_INFO_FRAME;
        Slot<cap_type::Granule>: slot::IPC_BUFFER;
        Slot<cap_type::DomainSet>: slot::DOMAIN_SET;
        Slot<cap_type::SchedContext>: slot::SC;
        fn(usize) -> Slot: Slot::from_index;
        fn(&Slot) -> usize: Slot::index;
        fn(&Slot) -> CPtr: Slot::cptr;
        fn(&Slot) -> CPtrBits: Slot::cptr_bits;
        fn(&Slot) -> cap::Unspecified: Slot::cap;
        fn(&Slot) -> Slot<cap_type::Tcb>: Slot::cast;
        fn(&Slot<cap_type::Tcb>) -> Slot: Slot::<cap_type::Tcb>::upcast;
        fn(&Slot) -> Slot<cap_type::Tcb>: Slot::downcast;
        fn(&SlotRegion) -> usize: SlotRegion::start;
        fn(&SlotRegion) -> usize: SlotRegion::end;
        fn(&SlotRegion) -> Range<usize>: SlotRegion::range;
        fn(&SlotRegion) -> usize: SlotRegion::len;
        fn(&SlotRegion, usize) -> Slot: SlotRegion::index;
        fn() -> u8: init_thread::suspend_self::<u8>;
    }
}

#[test]
fn boot_information() {
    has! {
        unsafe fn(*const BootInfo) -> BootInfoPtr: BootInfoPtr::new;
        fn(&BootInfoPtr) -> *const BootInfo: BootInfoPtr::ptr;
        fn(&BootInfoPtr) -> usize: BootInfoPtr::footprint_size;
        fn(&BootInfo) -> *mut IpcBuffer: BootInfo::ipc_buffer;
        fn(&BootInfo) -> SlotRegion: BootInfo::empty;
        fn(&BootInfo) -> SlotRegion<cap_type::Granule>: BootInfo::user_image_frames;
        fn(&BootInfo) -> SlotRegion<cap_type::SchedControl>: BootInfo::sched_control;
        fn(&BootInfo) -> SlotRegion<cap_type::Untyped>: BootInfo::untyped;
        fn(&BootInfo) -> &[UntypedDesc]: BootInfo::untyped_list;
        fn(&BootInfo) -> Range<usize>: BootInfo::device_untyped_range;
        fn(&BootInfo) -> Range<usize>: BootInfo::kernel_untyped_range;
        fn(&UntypedDesc) -> usize: UntypedDesc::paddr;
        fn(&UntypedDesc) -> usize: UntypedDesc::size_bits;
        fn(&UntypedDesc) -> bool: UntypedDesc::is_device;
    }
    let _ = |boot_info: &BootInfoPtr| {
        // By way of `Deref`.
        let untyped: SlotRegion<cap_type::Untyped> = boot_info.untyped();
        let extra: Vec<(BootInfoExtraId, usize, usize)> = boot_info
            .extra()
            .map(|extra: BootInfoExtra<'_>| {
                (
                    extra.id,
                    extra.content().len(),
                    extra.content_with_header().len(),
                )
            })
            .collect();
        (untyped.len(), extra)
    };
}

#[test]
fn debugging_and_configuration() {
    has! {
        fn(u8) -> (): debug_put_char;
        fn() -> (): debug_halt;
        fn() -> (): debug_snapshot;
        DebugWrite: DebugWrite;
        bool: config::consts::KERNEL_MCS;
        bool: sel4_cfg_bool!(all(KERNEL_MCS, not(ARCH_IA32)));
        &str: sel4_cfg_str!(MAX_NUM_NODES);
        usize: sel4_cfg_usize!(WORD_SIZE);
        Word: sel4_cfg_word!(WORD_SIZE);
    }
    let _ = || {
        debug_print!("{}", 1);
        debug_println!("{}", 1);
    };
    sel4_cfg_if! {
        if #[sel4_cfg(PRINTING)] {
            let prints = true;
        } else {
            let prints = false;
        }
    }
    assert!(prints);
}

// Attributes are named by their use.
#[expect(
    unused_imports,
    reason = "that of a match needs a nightly compiler, so only its name is here"
)]
use sel4::sel4_cfg_match as _;

#[sel4_cfg_struct]
#[sel4_cfg_attr(KERNEL_MCS, derive(Clone, Copy))]
struct Thread {
    #[sel4_cfg(not(KERNEL_MCS))]
    _slice: u64,
}

#[sel4_cfg_enum]
#[derive(Clone, Copy)]
enum Table {
    Shadow,
    #[sel4_cfg(VTX)]
    Ept,
}

#[test]
#[sel4_cfg(KERNEL_MCS)]
fn attributes_ask_for_the_configuration() {
    let thread = Thread {};
    assert_eq!(size_of_val(&{ thread }), 0);
    let table = Table::Shadow;
    let name = sel4_cfg_wrap_match! {
        match table {
            Table::Shadow => "shadow",
            #[sel4_cfg(VTX)]
            Table::Ept => "ept",
        }
    };
    assert_eq!(name, "shadow");
}
