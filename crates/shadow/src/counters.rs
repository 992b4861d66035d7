//! What the engine counts, for the VM's statistics.

/// Counters since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Requests, of every kind.
    pub requests: u64,
    /// Shadow leaves filled.
    pub fills: u64,
    /// Page faults reflected to the guest.
    pub injected: u64,
    /// Faults on addresses with no memory.
    pub device: u64,
    /// Single-address flushes.
    pub flush_address: u64,
    /// Whole flushes.
    pub flush_all: u64,
    /// Shadow pages evicted for want of room.
    pub evictions: u64,
    /// Most guest table entries, shadow entries and page records touched by one request.
    pub max_touched: u64,
    /// Most tables made by one attempt at a request.
    pub max_tables: u64,
    /// Most times in a row that one fault came again after it was filled.
    pub max_repeats: u64,
    /// Shadow pages in use, most ever.
    pub pages_peak: u64,
}
