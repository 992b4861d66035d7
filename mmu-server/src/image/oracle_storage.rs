//! Memory for the oracle.

use super::room::Room;
use oracle::{GhostBucket, Remnant, Storage, TableRecord};

/// Most pool pages whose leaves are judged: all of a pool of 8 MiB.
const TABLES: usize = 2048;
/// Most entries that are gone from the shadow and may be in the processor's TLB.
const REMNANTS: usize = 1024;
/// Buckets of the ghost TLB.
const GHOSTS: usize = 4096;

static TABLE_ROOM: Room<TableRecord, TABLES> = Room::new();
static REMNANT_ROOM: Room<Remnant, REMNANTS> = Room::new();
static GHOST_ROOM: Room<GhostBucket, GHOSTS> = Room::new();

/// Storage for a pool of `pages`, the first time it is called.
pub fn take(pages: usize) -> Option<Storage<'static>> {
    Some(Storage {
        tables: TABLE_ROOM.take(pages, &TableRecord::EMPTY)?,
        remnants: REMNANT_ROOM.take(REMNANTS, &Remnant::EMPTY)?,
        ghosts: GHOST_ROOM.take(GHOSTS, &GhostBucket::EMPTY)?,
    })
}
