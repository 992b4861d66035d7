//! Reads at addresses where other domains have something. A domain survives none of them.

use protocol::layout;

/// Where a VM's name tells its hostile server to read, if it does.
#[must_use]
pub fn address(vm: &str) -> Option<u64> {
    Some(match vm {
        "peek-guest-ram" => layout::GUEST_RAM,
        "peek-guest-files" => layout::GUEST_FILES,
        "peek-hpet" => layout::HPET,
        "peek-kernel" => 0xffff_ffff_8000_0000,
        "peek-physical" => 0xffff_8000_0000_0000,
        "peek-window" => 0x10_0000_0000 - 4096,
        _ => return None,
    })
}

/// Reads a word there.
pub fn read(address: u64) -> u64 {
    // SAFETY: nobody maps anything there for this domain, so the access ends it; if it does not, that is what the test is
    // for, and a word of memory is read and nothing written.
    unsafe { (address as *const u64).read_volatile() }
}
