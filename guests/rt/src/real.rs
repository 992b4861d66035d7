//! 16-bit code for real mode, which reaches the first MiB only.

/// Where the code is copied to, below 64 KiB.
pub const LOW: u64 = 0x8000;

/// Copies the code that lies between two symbols, and leads interrupt vectors to handlers in the copy.
pub fn install(
    first: unsafe extern "C" fn(),
    end: unsafe extern "C" fn(),
    vectors: &[(u64, unsafe extern "C" fn())],
) {
    let code = first as *const () as u64;
    let length = end as *const () as u64 - code;
    // SAFETY: the first 64 KiB is memory that neither loader nor image uses; the vector table is the firmware's, whose
    // services guests do not call.
    unsafe {
        for i in 0..length {
            ((LOW + i) as *mut u8)
                .write_volatile((code as *const u8).wrapping_add(i as usize).read());
        }
        for &(vector, handler) in vectors {
            let handler = handler as *const () as u64;
            ((4 * vector) as *mut u32).write_volatile((handler - code + LOW) as u32);
        }
    }
}
