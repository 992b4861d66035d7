//! What a shadow leaf grants, given what the guest's tables say and which access asked.

use crate::access::Access;
use crate::mutant::{Mutant, is};
use crate::tables::Rights;
use crate::walk::Translation;
use exit_abi::Mode;

/// The rights of the leaf that lets `access` go on. The real CR0.WP is always 1; the real SMEP and SMAP are the guest's.
///
/// A page is writable only when its guest entry is dirty, so that the first write to it faults and D gets set.
///
/// With the guest's CR0.WP clear, a supervisor may write a read-only page. A supervisor page simply becomes writable. A
/// user page becomes writable *and supervisor-only*, so that user code still cannot write it: the next user access faults
/// and turns it back. Executing it would then pass SMEP, so it gets NX. SMAP cannot be had there: until it is turned back,
/// the guest's kernel may read and write that page with RFLAGS.AC clear too, and so may implicit accesses. That needs a
/// guest that turns SMAP on and WP off together, and loosens nothing but that guest's protection from itself. To be exact
/// one would have to run each such store alone, or with the real WP clear, which protects what the guest must not write.
/// Nor can an instruction at CPL 3 be had that reads such a page as user and writes it implicitly: see
/// [`MAX_TURNS`](crate::bounds::MAX_TURNS).
#[must_use]
pub fn leaf_rights(mode: Mode, found: &Translation, access: Access) -> Rights {
    if !mode.has(Mode::PG) {
        return Rights::ALL;
    }
    let past_read_only = !mode.has(Mode::WP) && !found.writable && !is(Mutant::LeafIgnoresWp);
    let execute = found.executable || is(Mutant::LeafIgnoresNx);
    if past_read_only && found.user && access.is_write() && !access.user {
        let smep = mode.has(Mode::SMEP) && !is(Mutant::LeafPastReadOnlyEscapesSmep);
        return Rights {
            write: true,
            user: is(Mutant::LeafPastReadOnlyForUser),
            execute: execute && !smep,
        };
    }
    let writable =
        found.writable || (past_read_only && !found.user) || is(Mutant::LeafIgnoresReadOnly);
    Rights {
        write: writable && (found.dirty || is(Mutant::LeafWritableBeforeDirty)),
        user: found.user || is(Mutant::LeafIgnoresSupervisor),
        execute,
    }
}

/// Whether no leaf serves both user and supervisor, so that each of them takes the page from the other. What they take is
/// kept as small as it can be: an instruction may need one part of a large page as user and write another implicitly.
#[must_use]
pub const fn is_taken_in_turns(mode: Mode, found: &Translation) -> bool {
    mode.has(Mode::PG) && !mode.has(Mode::WP) && found.user && !found.writable
}
