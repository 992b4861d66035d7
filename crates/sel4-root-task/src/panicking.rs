//! What a panic does: the hook says it, then the program stands still. Nothing unwinds.

#![allow(unsafe_code)] // the hook's place is shared

use core::cell::UnsafeCell;
use core::panic::{PanicInfo, UnwindSafe};
use core::sync::atomic::{AtomicBool, Ordering};

use crate::Never;

/// What is called first at a panic.
pub type PanicHook = &'static (dyn Fn(&PanicInfo<'_>) + Send + Sync);

/// The hook, and whether someone is at it.
struct Place {
    held: AtomicBool,
    hook: UnsafeCell<PanicHook>,
}

// SAFETY: the hook is read and written only by the thread that has turned `held` on.
unsafe impl Sync for Place {}

static PLACE: Place = Place {
    held: AtomicBool::new(false),
    hook: UnsafeCell::new(&say),
};

impl Place {
    /// Calls `f` with the hook, unless another thread is at it.
    fn with<T>(&self, f: impl FnOnce(&mut PanicHook) -> T) -> Option<T> {
        if self.held.swap(true, Ordering::Acquire) {
            return None;
        }
        // SAFETY: this thread has turned `held` on, so no other is here.
        let answer = f(unsafe { &mut *self.hook.get() });
        self.held.store(false, Ordering::Release);
        Some(answer)
    }
}

/// Replaces what is called at a panic. A thread that is setting another hook at the same time wins.
pub fn set_hook(hook: PanicHook) {
    // A second thread at the place is setting a hook of its own, and one of the two is the last.
    let _ = PLACE.with(|place| *place = hook);
}

/// Calls `f`. A panic inside ends the program: with nothing unwinding, there is nothing to catch.
///
/// # Errors
/// None ever comes back; the type is that of rust-sel4's function.
pub fn catch_unwind<R>(f: impl FnOnce() -> R + UnwindSafe) -> Result<R, Never> {
    Ok(f())
}

/// The hook of a program that has set none: one line in the log.
fn say(info: &PanicInfo<'_>) {
    match info.location() {
        Some(place) => log::error!("panic at {place}: {}", info.message()),
        None => log::error!("panic: {}", info.message()),
    }
}

/// Somebody is in the hook.
#[cfg(target_os = "none")]
static PANICKING: AtomicBool = AtomicBool::new(false);

#[cfg(target_os = "none")]
#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    // A panic on the way of reporting one has nobody to go to.
    if !PANICKING.swap(true, Ordering::Relaxed) {
        let hook = PLACE.with(|hook| *hook).unwrap_or(&say);
        hook(info);
        PANICKING.store(false, Ordering::Relaxed);
    }
    crate::abort()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_hook_set_is_the_hook() {
        fn nothing(_: &PanicInfo<'_>) {}
        let address = || PLACE.with(|hook| core::ptr::from_ref(*hook).cast::<()>());
        let before = address();
        static HOOK: fn(&PanicInfo<'_>) = nothing;
        set_hook(&HOOK);
        assert_eq!(address(), Some(core::ptr::from_ref(&HOOK).cast()));
        assert_ne!(address(), before);
        // Someone at the place keeps others away.
        assert_eq!(PLACE.with(|_| PLACE.with(|_| ())), Some(None));
        assert!(catch_unwind(|| 5).is_ok_and(|five| five == 5));
    }
}
