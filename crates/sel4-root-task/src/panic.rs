//! Panics: one line, then the program stands still.

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    match info.location() {
        Some(place) => log::error!("panic at {place}: {}", info.message()),
        None => log::error!("panic: {}", info.message()),
    }
    crate::abort()
}
