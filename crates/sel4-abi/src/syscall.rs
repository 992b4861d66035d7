//! System-call numbers (rdx) of the MCS configuration.

macro_rules! numbers {
    ($($(#[$doc:meta])* $name:ident = $value:literal,)*) => {
        $($(#[$doc])* pub const $name: i64 = $value;)*
    };
}

numbers! {
    /// Send and wait for the reply.
    CALL = -1,
    /// Reply, then receive.
    REPLY_RECV = -2,
    /// Send without blocking to r13, then receive.
    NB_SEND_RECV = -3,
    /// Send without blocking to r12, then wait.
    NB_SEND_WAIT = -4,
    /// Send.
    SEND = -5,
    /// Send without blocking.
    NB_SEND = -6,
    /// Receive; r12 names the reply object.
    RECV = -7,
    /// Receive without blocking.
    NB_RECV = -8,
    /// Receive without a reply object.
    WAIT = -9,
    /// Receive without a reply object and without blocking.
    NB_WAIT = -10,
    /// Give up the rest of the budget's head refill.
    YIELD = -11,
    /// Debug console: the character in rdi.
    DEBUG_PUT_CHAR = -12,
    /// Debug console: the scheduler's state.
    DEBUG_DUMP_SCHEDULER = -13,
    /// Stop the machine.
    DEBUG_HALT = -14,
    /// The kind of the capability rdi, in rdi.
    DEBUG_CAP_IDENTIFY = -15,
    /// Debug console: a snapshot of the capability state.
    DEBUG_SNAPSHOT = -16,
    /// Name the thread of the TCB capability rdi.
    DEBUG_NAME_THREAD = -17,
    /// Set the caller's FS base to rdi.
    SET_TLS_BASE = -33,
}
