//! Which bytes of the archive go where in the guest's memory before it starts.

use protocol::system::{Piece, Vm};

/// A copy to make: everything in it lies inside memory and archive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Copy {
    /// Guest-physical address.
    pub to: u64,
    /// Offset into the archive.
    pub from: u64,
    /// Bytes.
    pub length: u64,
}

/// A piece that does not fit the guest's memory or the archive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Misplaced(pub Piece);

/// The copies that the VM's pieces ask for.
pub fn copies(vm: &Vm, archive_length: u64) -> impl Iterator<Item = Result<Copy, Misplaced>> {
    vm.pieces
        .iter()
        .map(move |piece| checked(piece, vm.memory, archive_length).ok_or(Misplaced(*piece)))
}

fn checked(piece: &Piece, memory: u64, archive_length: u64) -> Option<Copy> {
    let length = piece.data.length;
    let fits = |first: u64, end: u64| first.checked_add(length).is_some_and(|last| last <= end);
    (fits(piece.gpa, memory) && fits(piece.data.offset, archive_length)).then_some(Copy {
        to: piece.gpa,
        from: piece.data.offset,
        length,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::system::Blob;

    fn piece(gpa: u64, offset: u64, length: u64) -> Piece {
        Piece {
            gpa,
            data: Blob { offset, length },
        }
    }

    #[test]
    fn a_piece_may_end_where_memory_and_archive_end() {
        let copy = Copy {
            to: 0x1000,
            from: 0x3000,
            length: 0x1000,
        };
        assert_eq!(
            checked(&piece(0x1000, 0x3000, 0x1000), 0x2000, 0x4000),
            Some(copy)
        );
    }

    #[test]
    fn a_piece_past_either_end_is_misplaced() {
        for bad in [
            piece(0x1001, 0, 0x1000),
            piece(0, 0x3001, 0x1000),
            piece(!0, 0, 2),
            piece(0, !0, 2),
        ] {
            assert_eq!(checked(&bad, 0x2000, 0x4000), None);
        }
    }
}
