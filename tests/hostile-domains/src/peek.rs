//! Reads at addresses where other domains have something. A domain survives none of them.

use crate::report::{self, Found};
use protocol::layout;

/// Reads where the VM's name tells its hostile server to, and says so if it comes back. Whether the name tells it anything.
pub fn if_told(vm: &str) -> bool {
    let Some(address) = address(vm) else {
        return false;
    };
    let word = read(address);
    log::error!("{address:#x} holds {word:#x}");
    let found = Found::Address {
        slot: 0,
        label: 0,
        word,
    };
    report::line("peek", Err(found));
    true
}

/// Where to read.
fn address(vm: &str) -> Option<u64> {
    Some(match vm {
        "peek-guest-ram" => layout::GUEST_RAM,
        "peek-guest-files" => layout::GUEST_FILES,
        "peek-kernel" => 0xffff_ffff_8000_0000,
        "peek-physical" => 0xffff_8000_0000_0000,
        "peek-window" => 0x10_0000_0000 - 4096,
        _ => return None,
    })
}

/// Reads a word there.
fn read(address: u64) -> u64 {
    // SAFETY: nobody maps anything there for this domain, so the access ends it; if it does not, that is what the test is
    // for, and a word of memory is read and nothing written.
    unsafe { (address as *const u64).read_volatile() }
}
