//! How much one request does, and how few pages of the pool suffice.

/// Most entries of the guest's tables, entries of the shadow and records of its pages that a request looks at or changes.
/// A table made empty counts once here; how many of these a request makes is bounded by [`MAX_TABLES`].
pub const MAX_TOUCHED: u64 = 512;
/// Most tables that one attempt at a request makes: the four directories and the root of a PAE shadow, and a page table.
pub const MAX_TABLES: u64 = 6;
/// More than one attempt at a request touches: a walk that starts again as often as it may (16 times, four entries read and
/// four marked), one search for the way (31 records), three tables made, each in the place of an evicted one (40 records
/// and entries), a root with its directories (30), one table taken away (35), and one leaf.
pub(crate) const ATTEMPT: u64 = 360;
/// Tables below the root that one address needs.
pub(crate) const TABLES_BELOW_ROOT: usize = 3;
/// Most times in a row that a program and the processor on its behalf take one page from each other.
///
/// With CR0.WP clear a user page that is read-only has two leaves, of which one stands at a time (see `policy`). An
/// instruction at CPL 3 that reads that page as user and writes it implicitly (a descriptor's A bit, a busy TSS, the frame
/// that a gate pushes) needs both, and would meet the one fault and the other for ever. It is answered with
/// [`Error::Endless`](crate::Error::Endless). The engine sees no progress, only requests: a guest whose program and processor
/// did use such a page in turn, this many times with no other request between, would be stopped too.
pub const MAX_TURNS: u64 = 1 << 16;
/// Times a request is tried before the guest is sent back to try: the kernel may make the pool stale at any moment.
pub(crate) const ATTEMPTS: u32 = 4;

/// Fewest pages with which every instruction and every delivery of an event gets done.
///
/// The processor makes no progress unless all that one instruction, or one event on its way to its handler, touches is
/// mapped at once. What it touches falls into a few spans of less than 2 MiB each; a span crosses at most one boundary of
/// any level, so it lies under at most two tables of levels 1, 2 and 3 each, and below the shared root nothing else is
/// shared in the worst case: both sides of a 512 GiB boundary. So a span costs six pages.
///
/// | in long mode | spans | |
/// | --- | --: | --- |
/// | far CALL through memory and a call gate to an inner ring | 6 | code, operand, LDT (the gate), GDT (the code segment), TSS, new stack |
/// | INT n, or an exception, to an inner ring | 5 | code, IDT, GDT or LDT, TSS, new stack |
/// | an external event | 4 | IDT, GDT or LDT, TSS, new stack |
/// | IRET, RETF to an outer ring | 4 | code, stack, GDT, LDT |
/// | MOVS, CMPS; PUSH, POP, CALL with an operand in memory | 3 | code, two operands |
/// | ENTER with nesting | 3 | code, old frame, new frame with its far end |
/// | INS, OUTS with the I/O permission map | 3 | code, operand, TSS |
/// | load of a segment register, LTR, LLDT | 3 | code, operand, GDT or LDT |
/// | XSAVE and its like, gathers (done an element at a time) | 2 | code, operand |
///
/// (APM vol. 2, 4.6 for descriptors, 8.9 for delivery; an event that meets a page fault is delivered again from the start.)
/// Outside long mode only page tables are made on demand, and tables of 64 KiB, stacks and operands need at most two each:
/// code, operand, GDT, LDT, TSS, old and new stack make 14 with the root's five pages, 19.
///
/// That this is enough: of the tables outside the way in use, eviction takes the one filled longest ago, so those filled since
/// the instruction was tried first go last; were one of them taken, the pool would hold nothing but such tables, and the
/// one to be made, more than the instruction needs. So each of its tables is made at most once, each page filled at most
/// once for each kind of access, and then it runs.
pub const MIN_PAGES: usize = 1 + 6 * 2 * TABLES_BELOW_ROOT;
