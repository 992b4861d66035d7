//! What the checker can complain of: one complaint for each rule that is broken.
//!
//! A complaint is made in one place ([`complain!`] does not compile twice), and `corrupted` has a damage that makes it.

use core::fmt;

macro_rules! complaints {
    ($(#[doc = $text:literal] $name:ident,)*) => {
        /// What is wrong.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Complaint {
            $(#[doc = $text] $name,)*
        }

        impl Complaint {
            /// Every one.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            fn text(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

complaints! {
    // The derivation lists.
    /// an empty slot is linked
    EmptySlotLinked,
    /// the next slot is empty
    NextEmpty,
    /// the next slot does not point back
    NextPointsElsewhere,
    /// the previous slot does not point here
    PreviousPointsElsewhere,
    /// slots are in no list
    InNoList,
    /// a capability does not follow the other descendants of what it is derived from
    DescendantsApart,
    /// an untyped's watermark is outside of it
    WatermarkOutside,
    /// a capability has rights that what it is derived from has not
    RightsGrew,
    /// a capability and what it is derived from are not the same kind of memory
    KindOfMemoryChanged,
    /// an object lies above the watermark of its untyped
    AboveWatermark,

    // Memory.
    /// an object reaches over the end of another
    ReachesOver,
    /// an object lies inside one that is no untyped memory
    InsideObject,
    /// several objects are in one place
    SeveralObjects,

    // The scheduler's queues.
    /// the scheduler has something left to do
    ActionLeft,
    /// the bitmap is wrong about a priority
    Bitmap,
    /// a thread is in the ready queues twice
    ReadyTwice,
    /// a ready queue is not linked both ways
    ReadyLink,
    /// a thread is in another priority's ready queue
    ReadyPriority,
    /// a thread is ready-queued that cannot run
    ReadyStopped,
    /// a ready queue has a wrong tail
    ReadyTail,
    /// a thread is in the release queue twice
    ReleaseTwice,
    /// the release queue is not linked both ways
    ReleaseLink,
    /// a thread that is stopped waits for a refill
    ReleaseStopped,
    /// a thread waits for a refill of no context
    ReleaseWithoutContext,
    /// the release queue is not sorted
    ReleaseOrder,
    /// a thread waits for a refill that is due
    ReleaseDue,
    /// a deleted thread is in a queue of the scheduler
    ScheduledDeleted,
    /// a thread's mark and its place in the ready queues disagree
    ReadyMark,
    /// a thread's mark and its place in the release queue disagree
    ReleaseMark,
    /// a thread that can run is in no queue
    Lost,
    /// the running thread cannot run
    RunningStopped,
    /// the running thread is ready-queued
    RunningReady,
    /// the current context is not the running thread's
    RunningContext,
    /// the highest ready priority is another
    HighestReady,
    /// the idle thread runs though others are ready
    IdleThoughReady,
    /// a thread of higher priority is ready
    NotHighest,

    // What threads are bound to.
    /// a thread has a reply in a state without one
    ThreadReplyState,
    /// a thread's reply is another's
    ThreadReply,
    /// a thread awaits a reply without object
    ThreadWithoutReply,
    /// a thread's context is another's
    ThreadContext,
    /// a thread's notification is another's
    ThreadNotification,
    /// a thread yields to a context that does not know it
    ThreadYield,
    /// a thread's vCPU is another's
    ThreadVcpu,

    // The queues of endpoints and notifications.
    /// a thread is queued in a state that does not wait there
    WaiterState,
    /// a thread is in a queue it does not wait in
    WaiterElsewhere,
    /// a thread is queued twice
    WaiterTwice,
    /// a queue is not linked both ways
    WaiterLink,
    /// senders and receivers are in one queue
    SendersAndReceivers,
    /// a queue is not in order of priority
    WaiterOrder,
    /// a queue has a wrong tail
    WaiterTail,
    /// a signalled notification has waiters
    SignalledWithWaiters,
    /// a notification's thread is bound elsewhere
    NotificationThread,
    /// a notification's context is bound elsewhere
    NotificationContext,
    /// a thread waits in no queue
    WaiterLost,
    /// a deleted thread is queued
    WaiterDeleted,

    // Scheduling contexts.
    /// a context has no refill, or more than it may
    RefillCount,
    /// a context's budget is too short
    ShortBudget,
    /// a round-robin context has not two refills
    RoundRobinRefills,
    /// refills overlap
    RefillsOverlap,
    /// a context's thread is deleted
    ContextThreadDeleted,
    /// a context's thread has another
    ContextThread,
    /// a context's notification has another
    ContextNotification,
    /// a deleted thread yields to a context
    ContextYieldDeleted,
    /// a context is yielded to by a thread that yields elsewhere
    ContextYield,
    /// the top of a context's call stack does not know it
    ContextStack,

    // Reply objects and the call stacks they make.
    /// a reply is on top of a stack that has another top
    ReplyTop,
    /// the reply above is deleted
    ReplyAboveDeleted,
    /// the reply above does not know the one below
    ReplyAbove,
    /// the reply below is deleted
    ReplyBelowDeleted,
    /// the reply below does not know the one above
    ReplyBelow,
    /// a reply's thread is deleted
    ReplyThreadDeleted,
    /// a reply's thread has another
    ReplyThread,
    /// a reply is on a stack whose thread has not called
    ReplyWithoutCall,
    /// a reply is on a stack without thread
    ReplyWithoutThread,

    // Address spaces.
    /// an ASID pool is deleted
    AsidPoolDeleted,
    /// an ASID's root is no live table
    RootTableDeleted,
    /// a space has a table that no capability names
    TableDeleted,
    /// a frame outlives its capability's mapping
    FrameUnmapped,
    /// a space lists a deleted vCPU
    SpaceVcpuDeleted,
    /// a space lists a vCPU that is not its own
    SpaceVcpu,
    /// a space lists a vCPU twice
    SpaceVcpuTwice,
    /// a space lists a deleted pool
    SpacePoolDeleted,
    /// a space lists a pool that is not its own
    SpacePool,
    /// a space lists a pool twice
    SpacePoolTwice,

    // vCPUs.
    /// a vCPU's thread has another
    VcpuThread,
    /// a vCPU that is not under nested paging has a space
    VcpuSpaceWithoutUse,
    /// a vCPU has a space and a pool
    VcpuSpaceAndPool,
    /// a vCPU's space does not list it
    VcpuUnlisted,
    /// a vCPU's pool is deleted
    VcpuPoolDeleted,
    /// a vCPU has a root without pool
    VcpuRootWithoutPool,

    // Shadow pools.
    /// a pool's space does not list it
    PoolUnlisted,
    /// a pool lists a deleted vCPU
    PoolVcpuDeleted,
    /// a pool lists a vCPU that is not its own
    PoolVcpu,
    /// a pool lists a vCPU twice
    PoolVcpuTwice,
    /// a pool does not list all of its vCPUs
    PoolVcpuMissing,

    // Their pages.
    /// something is in an entry that is not present
    EntryNotPresent,
    /// a PAE root has more than four entries
    PaeEntries,
    /// a PDPTE has rights bits
    PaeRights,
    /// a link leads out of the pool
    LinkOutside,
    /// a link leads to a page of another epoch
    LinkStale,
    /// a link skips a level
    LinkLevel,
    /// a page has a leaf whose level has none
    LeafLevel,
    /// the space does not grant a leaf
    LeafNotGranted,
    /// a leaf has bits that no leaf has
    LeafBits,
    /// a page's links are counted wrongly
    LinkCount,
    /// a page's uses as root are counted wrongly
    RootCount,
    /// a vCPU's root is no page of this epoch
    RootStale,
}

/// A rule that does not hold, and where.
#[derive(Debug)]
pub struct Broken {
    /// Which one.
    pub complaint: Complaint,
    place: String,
}

impl Broken {
    /// At this place. Only [`complain!`] makes these.
    pub fn new(_: impl MadeOnce, complaint: Complaint, place: String) -> Self {
        Self { complaint, place }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.complaint.text().trim_start(), self.place)
    }
}

/// Whether something is as it must be.
pub type Check<T = ()> = Result<T, Broken>;

/// The line of the checker that makes the complaint with this number.
pub struct Line<const COMPLAINT: usize>;

/// That line is the only one: there cannot be two implementations for one.
pub trait MadeOnce {}

/// Makes the complaint, saying where.
macro_rules! complain {
    ($complaint:ident, $($place:tt)*) => {{
        use $crate::tests::invariants::complaint as made;
        const NUMBER: usize = made::Complaint::$complaint as usize;
        #[expect(non_local_definitions, reason = "a second one anywhere does not compile")]
        impl made::MadeOnce for made::Line<NUMBER> {}
        return Err(made::Broken::new(
            made::Line::<NUMBER>,
            made::Complaint::$complaint,
            format!($($place)*),
        ));
    }};
}

/// Complains unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($complaint:tt)*) => {
        if !$condition {
            $crate::tests::invariants::complaint::complain!($($complaint)*);
        }
    };
}

pub(super) use {complain, ensure};
