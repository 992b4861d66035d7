//! Panics: one line, then a fault, so that root-task learns of it.

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    match info.location() {
        Some(place) => log::error!("panic at {place}: {}", info.message()),
        None => log::error!("panic: {}", info.message()),
    }
    crate::fail()
}
