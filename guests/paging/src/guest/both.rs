//! What holds in long mode and in PAE paging alike.

mod bits;
mod large;
mod mapping;
mod rights;

use guest_script::script::Script;
use guest_script::space::Space;

/// Physical 2 MiB pages that nothing else uses.
const LARGE_FRAMES: [u64; 2] = [32 << 20, 34 << 20];

/// Writes a group's script.
pub type Group = fn(&mut Space, &mut Script);

/// The groups, in order.
pub const GROUPS: &[(&str, Group)] = &[
    ("map and unmap", mapping::map_and_unmap),
    ("remap with INVLPG", mapping::remap_with_invlpg),
    ("remap with a CR3 load", mapping::remap_with_cr3),
    ("write protection", rights::write_protection),
    ("no execute", rights::no_execute),
    ("user and supervisor", rights::user_and_supervisor),
    ("aliases", mapping::aliases),
    ("accessed and dirty", bits::accessed_and_dirty),
    ("large pages", large::large_pages),
    ("large page and table", large::large_page_and_table),
    ("reserved bits", bits::reserved_bits),
    ("page-crossing accesses", mapping::page_crossing),
    ("tables edited through their own mapping", mapping::self_map),
    ("global pages", bits::global_pages),
    ("directory entries", mapping::directory_entries),
];
