//! Where an invocation finds the IPC buffer it needs when a message does not fit in registers.

use crate::IpcBuffer;
use core::cell::RefCell;

/// Access to an IPC buffer: the calling thread's, however it is kept.
pub trait InvocationContext {
    /// Calls `f` with the buffer.
    fn with_context<T>(&mut self, f: impl FnOnce(&mut IpcBuffer) -> T) -> T;
}

/// No buffer: such a capability can be named, copied and sent, but not invoked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NoInvocationContext;

/// The calling thread's buffer, see [`set_ipc_buffer`](crate::set_ipc_buffer).
pub use crate::state::ImplicitInvocationContext;

/// The context of a capability type written without one.
pub type NoExplicitInvocationContext = ImplicitInvocationContext;

impl InvocationContext for &mut IpcBuffer {
    fn with_context<T>(&mut self, f: impl FnOnce(&mut IpcBuffer) -> T) -> T {
        f(self)
    }
}

impl<U: InvocationContext> InvocationContext for &mut U {
    fn with_context<T>(&mut self, f: impl FnOnce(&mut IpcBuffer) -> T) -> T {
        (**self).with_context(f)
    }
}

impl<U: InvocationContext> InvocationContext for &RefCell<U> {
    fn with_context<T>(&mut self, f: impl FnOnce(&mut IpcBuffer) -> T) -> T {
        self.borrow_mut().with_context(f)
    }
}
