//! Memory, slots, invocations and threads for the behaviours. What a behaviour made is gone when it has ended.

use super::report::{self, Check, done};
use super::thread::{self, Args, Job, THREADS};
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use sel4::{BootInfoPtr, CPtr, MessageInfo, Word, cap_type::Unspecified, init_thread::slot};
use sel4_abi::{label, object};

/// The runner's priority while it works, and while it lets others run.
pub(crate) const WORKING: u64 = 200;
const RESTING: u64 = 1;
/// Below the runner and above it.
pub(crate) const LOW: u64 = 100;
pub(crate) const HIGH: u64 = 210;
/// log2 of the memory that a behaviour has.
const ARENA_BITS: u64 = 24;
/// Size of a huge frame.
const HUGE_BITS: usize = 30;
/// A behaviour that takes longer hangs.
const LIMIT_MS: u64 = 20_000;

/// The kernel's answer to a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    pub(crate) label: u64,
    pub(crate) length: usize,
    pub(crate) words: [u64; 24],
    pub(crate) info: MessageInfo,
}

/// The initial thread's capabilities, as words.
pub(crate) const TCB: u64 = slot::TCB.index() as u64;
pub(crate) const CNODE: u64 = slot::CNODE.index() as u64;
pub(crate) const VSPACE: u64 = slot::VSPACE.index() as u64;
/// CNode data that lets its addresses be whole words.
pub(crate) const GUARD: u64 = 64 - sel4::init_thread::CNODE_SIZE_BITS;

/// A thread's capabilities.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Thread {
    pub(crate) tcb: u64,
    pub(crate) sc: u64,
    pub(crate) reply: u64,
    /// Where its stack and buffer are.
    place: usize,
}

/// The tools.
pub(crate) struct Kit {
    arena: u64,
    first_slot: u64,
    next_slot: u64,
    buffers: [u64; THREADS],
    places: usize,
    pub(crate) sched_control: u64,
    mhz: u64,
    pub(crate) device: u64,
    /// An untyped of RAM that holds a huge frame, if the machine has one.
    pub(crate) huge: Option<u64>,
    watch: Option<Thread>,
    pub(crate) boot: BootInfoPtr,
}

static NAME: AtomicUsize = AtomicUsize::new(0);
static NAME_LENGTH: AtomicUsize = AtomicUsize::new(0);
static BEGAN: AtomicU64 = AtomicU64::new(0);

/// Calls any capability.
pub(crate) fn invoke(cap: u64, label: u64, words: &[u64], caps: &[u64]) -> Answer {
    sel4::with_ipc_buffer_mut(|buffer| {
        buffer.msg_regs_mut()[..words.len()].copy_from_slice(words);
        buffer.caps_or_badges_mut()[..caps.len()].copy_from_slice(caps);
    });
    let info = MessageInfo::new(label, 0, caps.len(), words.len());
    let info = at(cap).call(info);
    received(info)
}

/// The message in the buffer.
pub(crate) fn received(info: MessageInfo) -> Answer {
    sel4::with_ipc_buffer(|buffer| Answer {
        label: info.label(),
        length: info.length(),
        words: core::array::from_fn(|n| buffer.msg_regs()[n]),
        info,
    })
}

/// A capability by its address.
pub(crate) const fn at(cap: u64) -> sel4::Cap<Unspecified> {
    sel4::Cap::from_bits(cap)
}

/// An endpoint by its address.
pub(crate) const fn endpoint(cap: u64) -> sel4::cap::Endpoint {
    sel4::Cap::from_bits(cap)
}

/// A notification by its address.
pub(crate) const fn notification(cap: u64) -> sel4::cap::Notification {
    sel4::Cap::from_bits(cap)
}

/// A reply object by its address.
pub(crate) const fn reply(cap: u64) -> sel4::cap::Reply {
    sel4::Cap::from_bits(cap)
}

/// Whether nobody's message waits in an endpoint.
pub(crate) fn is_silent(ep: u64, object: u64) -> bool {
    let message = endpoint(ep).nb_recv_with_mrs(reply(object));
    message.info.into_inner().word() == 0
}

/// A short message's information.
pub(crate) const fn info(label: Word, length: usize) -> MessageInfo {
    MessageInfo::new(label, 0, 0, length)
}

/// An operation on a slot of the root CNode.
pub(crate) fn cnode(label: u64, slot: u64, words: &[u64], caps: &[u64]) -> Answer {
    let mut all = [0; 16];
    all[..2].copy_from_slice(&[slot, 64]);
    all[2..2 + words.len()].copy_from_slice(words);
    invoke(CNODE, label, &all[..2 + words.len()], caps)
}

/// Empties a slot.
pub(crate) fn delete(slot: u64) -> Check {
    done!(cnode(label::CNODE_DELETE, slot, &[], &[]));
    Ok(())
}

/// Deletes what derives from a slot's capability.
pub(crate) fn revoke(slot: u64) -> Check {
    done!(cnode(label::CNODE_REVOKE, slot, &[], &[]));
    Ok(())
}

/// The kind of a capability, by the debug call's number; 0 for none.
pub(crate) fn kind(cap: u64) -> u64 {
    sel4::debug_cap_identify(CPtr::from_bits(cap))
}

/// Whether the slot is empty.
pub(crate) fn is_empty(slot: u64) -> bool {
    kind(slot) == 0
}

/// Retypes from `untyped` into one slot.
pub(crate) fn retype(untyped: u64, ty: u64, bits: u64, slot: u64) -> Answer {
    invoke(
        untyped,
        label::UNTYPED_RETYPE,
        &[ty, bits, 0, 0, slot, 1],
        &[CNODE],
    )
}

fn own_priority(priority: u64) {
    let _ = invoke(TCB, label::TCB_SET_PRIORITY, &[priority], &[TCB]);
}

/// Lets every other thread run until none can.
pub(crate) fn rest() {
    own_priority(RESTING);
    own_priority(WORKING);
}

impl Kit {
    pub(crate) fn new(boot_info: &BootInfoPtr) -> Check<Self> {
        let mut kit = Self {
            arena: 0,
            first_slot: boot_info.empty().start() as u64,
            next_slot: boot_info.empty().start() as u64,
            buffers: [0; THREADS],
            places: 0,
            sched_control: boot_info.sched_control().start() as u64,
            mhz: mhz(boot_info),
            device: 0,
            huge: None,
            watch: None,
            boot: same(boot_info),
        };
        let (mut largest, mut device) = ((0, 0), (0, 0));
        for (n, untyped) in boot_info.untyped_list().iter().enumerate() {
            let found = (
                untyped.size_bits(),
                (boot_info.untyped().start() + n) as u64,
            );
            let best = if untyped.is_device() {
                &mut device
            } else if untyped.size_bits() >= HUGE_BITS {
                // Left whole for the one behaviour that needs it.
                kit.huge = Some(found.1);
                continue;
            } else {
                &mut largest
            };
            *best = (*best).max(found);
        }
        kit.device = device.1;
        kit.arena = largest.1;
        kit.show_buffers()?;
        kit.watch()?;
        let bits = ARENA_BITS;
        let arena = kit.slot();
        done!(retype(kit.arena, object::UNTYPED, bits, arena));
        kit.arena = arena;
        kit.first_slot = kit.next_slot;
        kit.places = 1;
        own_priority(WORKING);
        Ok(kit)
    }

    /// IPC buffers for all threads, mapped for good.
    fn show_buffers(&mut self) -> Check {
        for (ty, map) in [
            (object::X86_PAGE_DIRECTORY, label::X86_PAGE_DIRECTORY_MAP),
            (object::X86_PAGE_TABLE, label::X86_PAGE_TABLE_MAP),
        ] {
            let table = self.make(ty, 0)?;
            done!(invoke(table, map, &[thread::BUFFERS, 0], &[VSPACE]));
        }
        for place in 0..THREADS {
            let frame = self.make(object::X86_4K, 0)?;
            let words = [thread::buffer(place), 3, 0];
            done!(invoke(frame, label::X86_PAGE_MAP, &words, &[VSPACE]));
            self.buffers[place] = frame;
        }
        Ok(())
    }

    /// A thread above all that ends the run when a behaviour takes too long.
    fn watch(&mut self) -> Check {
        let limit = LIMIT_MS * 1000 * self.mhz;
        let watch = self.thread(254, [limit, 0, 0, 0, 0, 0], |args| {
            loop {
                let began = BEGAN.load(SeqCst);
                if began != 0 && thread::now().saturating_sub(began) > args[0] {
                    report::hangs(name());
                }
                sel4::r#yield();
            }
        })?;
        self.configure(watch.sc, 10_000, 250_000, 0, 0, 0)?;
        self.bind(watch.sc, watch.tcb)?;
        self.watch = Some(watch);
        self.resume(watch)
    }

    /// From here on the launcher's time limit is all that ends a behaviour: the watch does not wait any more.
    pub(crate) fn stop_watching(&mut self) -> Check {
        self.watch
            .take()
            .map_or(Ok(()), |watch| self.suspend(watch))
    }

    /// A behaviour begins.
    pub(crate) fn begin(&mut self, name: &'static str) {
        NAME.store(name.as_ptr().addr(), SeqCst);
        NAME_LENGTH.store(name.len(), SeqCst);
        BEGAN.store(thread::now(), SeqCst);
        let _ = thread::take_marks();
        thread::COUNTERS.iter().for_each(|n| n.store(0, SeqCst));
    }

    /// A behaviour has ended: everything it made goes away.
    pub(crate) fn clean(&mut self) {
        own_priority(WORKING);
        let _ = cnode(label::CNODE_REVOKE, self.arena, &[], &[]);
        for slot in self.first_slot..self.next_slot {
            let _ = cnode(label::CNODE_DELETE, slot, &[], &[]);
        }
        self.next_slot = self.first_slot;
        self.places = 1;
    }

    /// The last thread is not needed any more: its place is another's.
    pub(crate) const fn again(&mut self) {
        self.places -= 1;
    }

    /// An empty slot.
    pub(crate) const fn slot(&mut self) -> u64 {
        self.next_slot += 1;
        self.next_slot - 1
    }

    /// Empty slots in a row; the first.
    pub(crate) const fn slots(&mut self, count: u64) -> u64 {
        self.next_slot += count;
        self.next_slot - count
    }

    /// An object.
    pub(crate) fn make(&mut self, ty: u64, bits: u64) -> Check<u64> {
        let slot = self.slot();
        done!(retype(self.arena, ty, bits, slot));
        Ok(slot)
    }

    pub(crate) fn ep(&mut self) -> Check<u64> {
        self.make(object::ENDPOINT, 0)
    }

    pub(crate) fn ntfn(&mut self) -> Check<u64> {
        self.make(object::NOTIFICATION, 0)
    }

    pub(crate) fn reply(&mut self) -> Check<u64> {
        self.make(object::REPLY, 0)
    }

    /// A second capability, with these rights and this badge (or CNode data).
    pub(crate) fn mint(&mut self, source: u64, rights: u64, badge: u64) -> Check<u64> {
        let slot = self.slot();
        done!(cnode(
            label::CNODE_MINT,
            slot,
            &[source, 64, rights, badge],
            &[CNODE]
        ));
        Ok(slot)
    }

    /// A second capability, with these rights.
    pub(crate) fn copy(&mut self, source: u64, rights: u64) -> Check<u64> {
        let slot = self.slot();
        done!(cnode(
            label::CNODE_COPY,
            slot,
            &[source, 64, rights],
            &[CNODE]
        ));
        Ok(slot)
    }

    /// A scheduling context without parameters.
    pub(crate) fn sc(&mut self) -> Check<u64> {
        self.make(object::SCHED_CONTEXT, 9)
    }

    /// Parameters as the kernel is told them: microseconds, extra refills, badge, flags.
    pub(crate) fn configure(
        &self,
        sc: u64,
        budget: u64,
        period: u64,
        extra: u64,
        badge: u64,
        flags: u64,
    ) -> Check {
        let words = [budget, period, extra, badge, flags];
        done!(invoke(
            self.sched_control,
            label::SCHED_CONTROL_CONFIGURE_FLAGS,
            &words,
            &[sc]
        ));
        Ok(())
    }

    /// Gives a thread, or a notification, a scheduling context.
    pub(crate) fn bind(&self, sc: u64, object: u64) -> Check {
        done!(invoke(sc, label::SCHED_CONTEXT_BIND, &[], &[object]));
        Ok(())
    }

    /// Takes a scheduling context from everything.
    pub(crate) fn unbind(&self, sc: u64) -> Check {
        done!(invoke(sc, label::SCHED_CONTEXT_UNBIND, &[], &[]));
        Ok(())
    }

    /// A thread of this program, not started, without time.
    pub(crate) fn thread(&mut self, priority: u64, args: Args, job: Job) -> Check<Thread> {
        let (tcb, sc, reply) = (self.make(object::TCB, 0)?, self.sc()?, self.reply()?);
        let place = self.places;
        self.places += 1;
        let words = [GUARD, 0, thread::buffer(place)];
        let caps = [CNODE, VSPACE, self.buffers[place]];
        done!(invoke(tcb, label::TCB_CONFIGURE, &words, &caps));
        done!(invoke(tcb, label::TCB_SET_PRIORITY, &[priority], &[TCB]));
        done!(invoke(tcb, label::TCB_SET_MC_PRIORITY, &[255], &[TCB]));
        let [rip, rsp, rdi] = thread::prepare(place, tcb, args, job);
        let mut words = [0; 11];
        words[1] = 9;
        words[2..4].copy_from_slice(&[rip, rsp]);
        words[10] = rdi;
        done!(invoke(tcb, label::TCB_WRITE_REGISTERS, &words, &[]));
        Ok(Thread {
            tcb,
            sc,
            reply,
            place,
        })
    }

    /// The same, with time: 5 ms, round robin.
    pub(crate) fn active(&mut self, priority: u64, args: Args, job: Job) -> Check<Thread> {
        let thread = self.thread(priority, args, job)?;
        self.configure(thread.sc, 5000, 5000, 0, 0, 0)?;
        self.bind(thread.sc, thread.tcb)?;
        Ok(thread)
    }

    /// The same, started.
    pub(crate) fn spawn(&mut self, priority: u64, args: Args, job: Job) -> Check<Thread> {
        let thread = self.active(priority, args, job)?;
        self.resume(thread)?;
        Ok(thread)
    }

    pub(crate) fn resume(&self, thread: Thread) -> Check {
        done!(invoke(thread.tcb, label::TCB_RESUME, &[], &[]));
        Ok(())
    }

    pub(crate) fn suspend(&self, thread: Thread) -> Check {
        done!(invoke(thread.tcb, label::TCB_SUSPEND, &[], &[]));
        Ok(())
    }

    /// A thread's buffer: the frame, and where it is mapped.
    pub(crate) fn buffer(&self, thread: Thread) -> (u64, u64) {
        let place = thread.place;
        (self.buffers[place], thread::buffer(place))
    }

    /// Fails unless the thread is stopped: a blocked one may not be given a context without parameters.
    pub(crate) fn is_stopped(&mut self, thread: Thread) -> Check {
        self.unbind(thread.sc)?;
        let sc = self.sc()?;
        self.bind(sc, thread.tcb)
    }

    /// Sets a thread's fault endpoint.
    pub(crate) fn set_handler(&self, thread: Thread, endpoint: u64) -> Check {
        let caps = [endpoint, CNODE, VSPACE];
        done!(invoke(thread.tcb, label::TCB_SET_SPACE, &[GUARD, 0], &caps));
        Ok(())
    }

    /// TSC ticks a microsecond.
    pub(crate) const fn mhz(&self) -> u64 {
        self.mhz
    }

    /// Ticks of so many microseconds.
    pub(crate) const fn ticks(&self, microseconds: u64) -> u64 {
        microseconds * self.mhz
    }

    /// Microseconds of so many ticks.
    pub(crate) const fn microseconds(&self, ticks: u64) -> u64 {
        ticks / self.mhz
    }

    /// Lets others run for so long, and longer if they do not stop.
    pub(crate) fn sleep(&self, microseconds: u64) {
        own_priority(RESTING);
        let end = thread::now() + self.ticks(microseconds);
        while thread::now() < end {
            core::hint::spin_loop();
        }
        own_priority(WORKING);
    }
}

#[expect(unsafe_code, reason = "the same boot information, under another name")]
fn same(boot_info: &BootInfoPtr) -> BootInfoPtr {
    // SAFETY: what holds of the one holds of the other; nothing unmaps or changes it.
    unsafe { BootInfoPtr::new(boot_info.ptr()) }
}

/// TSC ticks a microsecond, from the boot information's chunk 5.
fn mhz(boot_info: &BootInfoPtr) -> u64 {
    let chunk = boot_info
        .extra()
        .find(|extra| extra.id == sel4::BootInfoExtraId::X86TscFreq);
    chunk.map_or(1000, |extra| {
        let bytes = extra.content();
        u64::from(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    })
}

#[expect(
    unsafe_code,
    reason = "a name passes from thread to thread as two words"
)]
fn name() -> &'static str {
    // SAFETY: `begin` stored the address and length of a static text.
    unsafe {
        let bytes =
            core::slice::from_raw_parts(NAME.load(SeqCst) as *const u8, NAME_LENGTH.load(SeqCst));
        core::str::from_utf8_unchecked(bytes)
    }
}
