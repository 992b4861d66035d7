//! From the first instruction to `main`.

use core::fmt::Debug;
use sel4::{BootInfo, BootInfoPtr, ThreadBlock, logging::Logger};

/// The type `!`, by a name that stable Rust accepts.
pub type Never = <fn() -> ! as Function>::Output;

#[doc(hidden)]
pub trait Function {
    /// What the function returns.
    type Output;
}

impl<T> Function for fn() -> T {
    type Output = T;
}

/// What `main` may return.
pub trait Termination {
    /// Says what went wrong, if anything did.
    fn report(self);
}

impl Termination for Never {
    fn report(self) {
        self
    }
}

impl Termination for () {
    fn report(self) {}
}

impl<T, E: Debug> Termination for Result<T, E> {
    fn report(self) {
        if let Err(error) = self {
            log::error!("gave up: {error:?}");
        }
    }
}

static THREAD: ThreadBlock = ThreadBlock::new();

/// Sets the thread up and runs `main`; stops the thread when it returns.
///
/// # Safety
///
/// Called once, on the initial thread, with the address the kernel passed.
pub unsafe fn start<T: Termination>(
    boot_info: *const BootInfo,
    logger: &'static Logger,
    main: impl FnOnce(&BootInfoPtr) -> T,
) -> ! {
    // SAFETY: the caller promises that this is the kernel's boot information, and that this runs once on the only thread:
    // so nobody else uses the thread block or the IPC buffer.
    let boot_info = unsafe {
        sel4::install_thread_block(&THREAD);
        let boot_info = BootInfoPtr::new(boot_info);
        sel4::set_ipc_buffer(&mut *boot_info.ipc_buffer());
        boot_info
    };
    logger.set();
    main(&boot_info).report();
    crate::abort()
}
