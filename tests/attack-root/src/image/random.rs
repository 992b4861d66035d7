//! Random system calls, one at a time, of a thread that holds a capability of every kind.
//!
//! The hostile thread has an address space with one page of code and its IPC buffer, and a CSpace full of objects made from
//! one untyped. Its supervisor (this program, of lower priority) writes its registers and its buffer and lets it go: it
//! makes one system call, and an unknown one after it, whose fault message tells the registers. A thread that says
//! nothing is blocked. After each round the untyped is revoked, with everything that was made of it, and made anew.

use super::{
    heartbeat,
    kit::{self, Kit, Shown, at, path, retype},
    priority,
    report::Report,
};
use attack_root::{
    calls::{BUFFER, CNODE_BITS, CODE, Call, PORTS, slot},
    rng::Rng,
};
use root_kit::EXIT_PORT;
use sel4::{
    AbsoluteCPtr, CPtr, Cap, CapRights, CapType, CapTypeForObjectOfFixedSize,
    CapTypeForObjectOfVariableSize, ObjectBlueprint, RegisterFrame, Result, UserContext,
    VmAttributes, cap, cap_type,
    init_thread::{self, slot as initial},
    sys::{fault, message::MessageInfo, syscall},
};

/// `UMBRA_ATTACK_CALLS` at build time asks for others.
const CALLS: u64 = number(option_env!("UMBRA_ATTACK_CALLS"), 1_000_000);
const CALLS_A_ROUND: u64 = 500;
/// So many calls are to get past every check, or the others show little.
const LEAST_DONE: u64 = CALLS / 20;
/// `UMBRA_ATTACK_SEED` at build time asks for another.
const SEED: u64 = number(option_env!("UMBRA_ATTACK_SEED"), 0x5eed_0001);
/// log2 of the bytes that a round's objects are made of.
const ARENA_BITS: usize = 22;
const BADGE: u64 = 1;
/// `syscall; mov edx, 0x7fffffff; syscall; jmp` to itself.
const STUB: &[u8] = &[
    0x0f, 0x05, 0xba, 0xff, 0xff, 0xff, 0x7f, 0x0f, 0x05, 0xeb, 0xfe,
];
/// The second system call's address.
const DONE: u64 = CODE + 7;
/// An IOAPIC pin with no device, and a port with none.
const PIN: u64 = 13;
const PORT: u64 = 0x80;
/// The ports that are neither this one, nor the one that ends the run, nor the eight that the thread may have.
const TAKEN: [(u64, u64); 4] = [
    (0, PORT - 1),
    (PORT + 1, PORTS - 1),
    (PORTS + 8, 0xf3),
    (0xf5, 0xffff),
];
/// log2 of the bytes of untyped memory of no device.
const DEVICE_BITS: usize = 31;

/// A number given when this was built, or the usual one.
const fn number(given: Option<&str>, usual: u64) -> u64 {
    match given {
        None => usual,
        Some(text) => match u64::from_str_radix(text, 10) {
            Ok(number) => number,
            Err(_) => panic!("the number is no number"),
        },
    }
}

/// What came of the calls.
#[derive(Default)]
struct Tally {
    /// Calls of capabilities that were answered without error.
    done: u64,
    /// Calls that came back otherwise.
    answered: u64,
    /// Calls that ended in a fault.
    faults: u64,
    /// Calls that never came back.
    blocked: u64,
}

/// The hostile thread and what its supervisor needs.
struct Hostile {
    tcb: cap::Tcb,
    time: cap::SchedContext,
    faults: cap::Endpoint,
    /// The endpoint as the thread's faults come in by it.
    handler: cap::Endpoint,
    reply: cap::Reply,
    buffer: Shown,
    space: cap::VSpace,
    arena: cap::Untyped,
    /// Where objects are made before they move.
    workbench: usize,
    irq: cap::IrqHandler,
    port: cap::IOPort,
    sched_control: cap::SchedControl,
    /// Ports that the hostile thread's control cannot issue.
    ports: usize,
    device: cap::Untyped,
}

/// Makes all the calls.
pub(crate) fn attack(kit: &mut Kit, report: &mut Report) -> Result<()> {
    let hostile = Hostile::new(kit)?;
    let mut rng = Rng::new(SEED);
    let mut tally = Tally::default();
    let mut listener = heartbeat::Listener::new();
    for n in 0..CALLS {
        if n % CALLS_A_ROUND == 0 {
            hostile.refresh()?;
            // What the hostile thread started gets its time.
            kit::pause();
            if let Err(what) = listener.hears() {
                report.failure("random-syscalls", format_args!("{what} after {n} calls"));
                return Ok(());
            }
        }
        hostile.step(&Call::random(&mut rng), &mut tally)?;
    }
    hostile.tcb.tcb_suspend()?;
    path(hostile.arena).revoke()?;
    kit::pause();
    if let Err(what) = listener.hears() {
        report.failure("random-syscalls", format_args!("{what} at the end"));
        return Ok(());
    }
    let beats = listener.beats();
    // The thread may have printed half a line.
    sel4_root_task::debug_println!();
    if tally.done < LEAST_DONE {
        report.failure(
            "random-syscalls",
            format_args!("only {} calls did anything", tally.done),
        );
        return Ok(());
    }
    let Tally {
        done,
        answered,
        faults,
        blocked,
    } = tally;
    report.counted(
        "random-syscalls",
        format_args!(
            "calls={CALLS} seed={SEED:#x} done={done} answered={answered} faults={faults} blocked={blocked} beats={beats}"
        ),
    );
    Ok(())
}

impl Hostile {
    fn new(kit: &mut Kit) -> Result<Self> {
        let faults = kit.make::<cap_type::Endpoint>()?;
        let badged = kit.mint(faults, CapRights::all(), BADGE)?;
        let time = kit.time(5000, 5000)?;
        let tcb = kit.tcb(priority::HOSTILE, time, badged)?;
        tcb.debug_name(b"hostile");
        let (code, buffer) = (kit.show()?, kit.show()?);
        code.code(STUB);
        let space = address_space(kit, code, CODE)?;
        let (rights, attributes) = (CapRights::read_write(), VmAttributes::DEFAULT);
        let frame = kit.copy(buffer.frame)?;
        frame.frame_map(space, BUFFER as usize, rights, attributes)?;
        tcb.tcb_set_ipc_buffer(BUFFER, frame)?;
        let (irq, port) = (at(kit.slots(1)), at(kit.slots(1)));
        let irq_control = initial::IRQ_CONTROL.cap();
        irq_control.irq_control_get_ioapic(0, PIN, 0, 0, PIN, &path(irq))?;
        Ok(Self {
            tcb,
            time,
            faults,
            handler: badged,
            reply: kit.make()?,
            buffer,
            space,
            arena: kit.make_sized::<cap_type::Untyped>(ARENA_BITS)?,
            workbench: kit.slots(slot::END as usize),
            irq,
            port,
            sched_control: kit.sched_control(),
            ports: kit.slots(TAKEN.len()),
            device: kit.device(),
        })
    }

    /// Takes everything away and gives it anew.
    fn refresh(&self) -> Result<()> {
        self.tcb.tcb_suspend()?;
        self.take_back();
        path(self.arena).revoke()?;
        self.make()?;
        self.make_without_memory()?;
        self.arrange()?;
        self.hand_over()?;
        self.lend_time()
    }

    /// On the workbench, the capability that will be in this slot.
    fn piece<T: CapType>(&self, slot: u64) -> Cap<T> {
        at(self.workbench + slot as usize)
    }

    fn object<T: CapTypeForObjectOfFixedSize>(&self, slot: u64) -> Result<()> {
        self.blueprint(slot, T::object_blueprint())
    }

    fn sized<T: CapTypeForObjectOfVariableSize>(&self, slot: u64, bits: usize) -> Result<()> {
        self.blueprint(slot, T::object_blueprint(bits))
    }

    fn blueprint(&self, slot: u64, blueprint: ObjectBlueprint) -> Result<()> {
        retype(self.arena, &blueprint, self.workbench + slot as usize, 1)
    }

    /// Makes the objects; the largest first, so that they fit.
    fn make(&self) -> Result<()> {
        self.object::<cap_type::LargePage>(slot::LARGE_FRAME)?;
        self.sized::<cap_type::ShadowPool>(slot::POOL, 5)?;
        self.sized::<cap_type::Untyped>(slot::UNTYPED, 16)?;
        self.sized::<cap_type::CNode>(slot::CNODE, CNODE_BITS as usize)?;
        self.object::<cap_type::VCpu>(slot::VCPU)?;
        // The ASID pool is made of this.
        self.sized::<cap_type::Untyped>(0, 12)?;
        for frame in [slot::FRAME, slot::FRAME_MAPPED] {
            self.object::<cap_type::Granule>(frame)?;
        }
        self.object::<cap_type::PML4>(slot::PML4)?;
        self.object::<cap_type::PDPT>(slot::PDPT)?;
        self.object::<cap_type::PageDirectory>(slot::DIRECTORY)?;
        self.object::<cap_type::PageTable>(slot::TABLE)?;
        self.object::<cap_type::GuestPml4>(slot::GUEST_PML4)?;
        self.object::<cap_type::GuestPdpt>(slot::GUEST_PDPT)?;
        self.object::<cap_type::GuestPageDirectory>(slot::GUEST_DIRECTORY)?;
        self.object::<cap_type::GuestPageTable>(slot::GUEST_TABLE)?;
        self.object::<cap_type::Tcb>(slot::TCB)?;
        self.object::<cap_type::Tcb>(slot::TCB_IDLE)?;
        let time = sel4::sys::object::MIN_SCHED_CONTEXT_BITS as usize;
        self.sized::<cap_type::SchedContext>(slot::SC, time)?;
        self.sized::<cap_type::SchedContext>(slot::SC_IDLE, time)?;
        self.object::<cap_type::Endpoint>(slot::ENDPOINT)?;
        self.object::<cap_type::Notification>(slot::NOTIFICATION)?;
        self.object::<cap_type::Reply>(slot::REPLY)
    }

    /// Puts what is made of nothing beside it: ports nobody has, and the addresses of no device.
    fn make_without_memory(&self) -> Result<()> {
        let control = initial::IO_PORT_CONTROL.cap();
        // The control may have been deleted: there is one, ever. Then nobody can issue ports any more.
        let _ = control.ioport_control_issue(PORT, PORT, &path(self.port));
        let exit = path(CPtr::from_bits(EXIT_PORT).cast::<cap_type::IOPort>());
        let _ = control.ioport_control_issue(0xf4, 0xf4, &exit);
        for (n, (first, last)) in TAKEN.into_iter().enumerate() {
            let slot = path(at::<cap_type::IOPort>(self.ports + n));
            let _ = control.ioport_control_issue(first, last, &slot);
        }
        let part = cap_type::Untyped::object_blueprint(DEVICE_BITS);
        retype(
            self.device,
            &part,
            self.workbench + slot::DEVICE_UNTYPED as usize,
            1,
        )?;
        let huge = cap_type::HugePage::object_blueprint();
        retype(
            self.device,
            &huge,
            self.workbench + slot::HUGE_FRAME as usize,
            1,
        )?;
        for (badged, whole) in [
            (slot::BADGED_ENDPOINT, slot::ENDPOINT),
            (slot::BADGED_NOTIFICATION, slot::NOTIFICATION),
        ] {
            let (badged, whole) = (
                self.piece::<cap_type::Unspecified>(badged),
                self.piece::<cap_type::Unspecified>(whole),
            );
            path(badged).mint(&path(whole), CapRights::write_only(), BADGE)?;
        }
        Ok(())
    }

    /// Makes a small system of them, so that calls find things as they might be.
    fn arrange(&self) -> Result<()> {
        let pool = self.piece::<cap_type::AsidPool>(slot::ASID_POOL);
        let control = initial::ASID_CONTROL.cap();
        control.asid_control_make_pool(self.piece(0), &path(pool))?;
        let vspace = self.piece::<cap_type::PML4>(slot::PML4);
        pool.asid_pool_assign(vspace)?;
        let (rights, attributes) = (CapRights::read_write(), VmAttributes::DEFAULT);
        let code = CODE as usize;
        self.piece::<cap_type::PDPT>(slot::PDPT)
            .pdpt_map(vspace, code, attributes)?;
        self.piece::<cap_type::PageDirectory>(slot::DIRECTORY)
            .page_directory_map(vspace, code, attributes)?;
        self.piece::<cap_type::PageTable>(slot::TABLE)
            .page_table_map(vspace, code, attributes)?;
        let mapped = self.piece::<cap_type::Granule>(slot::FRAME_MAPPED);
        mapped.frame_map(vspace, code, rights, attributes)?;
        let space = self.piece::<cap_type::GuestPml4>(slot::GUEST_PML4);
        pool.asid_pool_assign_guest(space)?;
        let time = self.piece::<cap_type::SchedContext>(slot::SC);
        self.sched_control
            .sched_control_configure_flags(time, 100, 2000, 0, 0, 0)?;
        let tcb = self.piece::<cap_type::Tcb>(slot::TCB);
        tcb.tcb_set_sched_params(
            init_thread::slot::TCB.cap(),
            priority::GUEST,
            priority::GUEST,
            time,
            kit::none(),
        )?;
        let cspace = self.piece::<cap_type::CNode>(slot::CNODE);
        let guard = kit::guard(CNODE_BITS as usize);
        let nowhere = CPtr::from_bits(0);
        tcb.tcb_set_space(nowhere, cspace, guard, vspace)?;
        self.tcb
            .tcb_set_space(self.handler.cptr(), cspace, guard, self.space)
    }

    /// A slot of the hostile CSpace.
    fn theirs(&self, slot: u64) -> AbsoluteCPtr {
        let cnode = self.piece::<cap_type::CNode>(slot::CNODE);
        cnode.absolute_cptr_from_bits_with_depth(slot, CNODE_BITS as usize)
    }

    /// Takes back what cannot be made again, if it is still there.
    fn take_back(&self) {
        let _ = path(initial::IRQ_CONTROL.cap()).move_(&self.theirs(slot::IRQ_CONTROL));
        let ports = path(initial::IO_PORT_CONTROL.cap());
        let _ = ports.move_(&self.theirs(slot::IO_PORT_CONTROL));
        let _ = ports.revoke();
        let _ = path(self.device).revoke();
    }

    /// Moves the objects into the hostile CSpace, and puts copies of what is not made of memory there.
    fn hand_over(&self) -> Result<()> {
        let cnode = self.piece::<cap_type::CNode>(slot::CNODE);
        let to = |slot| self.theirs(slot);
        let rights = CapRights::all();
        to(slot::SCHED_CONTROL).copy(&path(self.sched_control), rights)?;
        to(slot::ASID_CONTROL).copy(&path(initial::ASID_CONTROL.cap()), rights)?;
        // There is one, ever: when the thread has deleted it, nobody has it.
        let _ = to(slot::IRQ_CONTROL).move_(&path(initial::IRQ_CONTROL.cap()));
        let _ = to(slot::IO_PORT_CONTROL).move_(&path(initial::IO_PORT_CONTROL.cap()));
        to(slot::IRQ_HANDLER).copy(&path(self.irq), rights)?;
        to(slot::IO_PORT).copy(&path(self.port), rights)?;
        to(slot::DOMAIN_SET).copy(&path(initial::DOMAIN_SET.cap()), rights)?;
        let made = (slot::UNTYPED..slot::SCHED_CONTROL).chain(slot::DEVICE_UNTYPED..slot::END);
        for slot in made {
            to(slot).move_(&path(self.piece::<cap_type::Unspecified>(slot)))?;
        }
        // With a guard, so that its addresses are those the thread uses.
        let guard = kit::guard(CNODE_BITS as usize).into_word();
        to(slot::CNODE).mint(&path(cnode), rights, guard)
    }

    /// The thread has its time again, wherever that went.
    fn lend_time(&self) -> Result<()> {
        // It may be bound to nothing.
        let _ = self.time.unbind();
        self.time.bind(self.tcb)
    }

    /// One call.
    fn step(&self, call: &Call, tally: &mut Tally) -> Result<()> {
        self.tcb.tcb_suspend()?;
        for (n, word) in call.buffer.iter().enumerate() {
            self.buffer.write(n, *word);
        }
        self.tcb
            .tcb_write_all_registers(true, &mut registers(call))?;
        let (info, badge) = self.faults.nb_recv(self.reply);
        if badge != BADGE {
            tally.blocked += 1;
            return self.lend_time();
        }
        let (rip, answer) = sel4::with_ipc_buffer(|buffer| {
            let words = buffer.msg_regs();
            (words[15], words[4])
        });
        let came_back = info.label() == fault::UNKNOWN_SYSCALL && rip == DONE;
        let count = if !came_back {
            &mut tally.faults
        } else if call.number == syscall::CALL && MessageInfo::from_word(answer).label() == 0 {
            &mut tally.done
        } else {
            &mut tally.answered
        };
        *count += 1;
        Ok(())
    }
}

fn registers(call: &Call) -> UserContext {
    let [r10, r8, r9, r15] = call.words;
    let [rax, rbx, rcx, rsp, rbp, r11, r14, fs_base, gs_base, rflags] = call.others;
    UserContext::from_inner(RegisterFrame {
        rip: call.rip,
        rsp,
        rflags,
        rax,
        rbx,
        rcx,
        rdx: call.number as u64,
        rsi: call.info,
        rdi: call.cap,
        rbp,
        r8,
        r9,
        r10,
        r11,
        r12: call.reply,
        r13: call.destination,
        r14,
        r15,
        fs_base,
        gs_base,
    })
}

/// An address space with one page.
fn address_space(kit: &mut Kit, page: Shown, address: u64) -> Result<cap::VSpace> {
    let space = kit.make::<cap_type::VSpace>()?;
    initial::ASID_POOL.cap().asid_pool_assign(space)?;
    let (address, attributes) = (address as usize, VmAttributes::DEFAULT);
    kit.make::<cap_type::PDPT>()?
        .pdpt_map(space, address, attributes)?;
    kit.make::<cap_type::PageDirectory>()?
        .page_directory_map(space, address, attributes)?;
    kit.make::<cap_type::PageTable>()?
        .page_table_map(space, address, attributes)?;
    let frame = kit.copy(page.frame)?;
    frame.frame_map(space, address, CapRights::read_only(), attributes)?;
    Ok(space)
}
