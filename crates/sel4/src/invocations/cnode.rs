//! Slots: copying, moving, deleting capabilities.

use crate::{AbsoluteCPtr, CapRights, InvocationContext, Result, Word, sys::label};

impl<C: InvocationContext> AbsoluteCPtr<C> {
    fn invoke_on(self, operation: Word) -> Result<()> {
        let words = [self.path().bits(), self.path().depth() as Word];
        self.into_root().invoke(operation, &[], &words).map(drop)
    }
    /// Deletes what derives from the capability here. libsel4: `seL4_CNode_Revoke`.
    pub fn revoke(self) -> Result<()> {
        self.invoke_on(label::CNODE_REVOKE)
    }
    /// Empties this slot. libsel4: `seL4_CNode_Delete`.
    pub fn delete(self) -> Result<()> {
        self.invoke_on(label::CNODE_DELETE)
    }
    /// Restarts every sender that waits with the badge of the endpoint capability here.
    /// libsel4: `seL4_CNode_CancelBadgedSends`.
    pub fn cancel_badged_sends(self) -> Result<()> {
        self.invoke_on(label::CNODE_CANCEL_BADGED_SENDS)
    }
    /// Copies the capability at `src` to this slot, with `rights` at most. libsel4: `seL4_CNode_Copy`.
    pub fn copy(self, src: &AbsoluteCPtr, rights: CapRights) -> Result<()> {
        let words: [_; 5] = from(&self, src, [rights.into_inner().bits()]);
        self.into_root()
            .invoke(label::CNODE_COPY, &[src.root().bits()], &words)
            .map(drop)
    }
    /// Copies, giving an endpoint or notification a badge, or a CNode a guard. libsel4: `seL4_CNode_Mint`.
    pub fn mint(self, src: &AbsoluteCPtr, rights: CapRights, badge: Word) -> Result<()> {
        let words: [_; 6] = from(&self, src, [rights.into_inner().bits(), badge]);
        self.into_root()
            .invoke(label::CNODE_MINT, &[src.root().bits()], &words)
            .map(drop)
    }
    /// Moves the capability at `src` to this slot. libsel4: `seL4_CNode_Move`.
    pub fn move_(self, src: &AbsoluteCPtr) -> Result<()> {
        let words: [_; 4] = from(&self, src, []);
        self.into_root()
            .invoke(label::CNODE_MOVE, &[src.root().bits()], &words)
            .map(drop)
    }
    /// Moves, giving a CNode a guard. libsel4: `seL4_CNode_Mutate`.
    pub fn mutate(self, src: &AbsoluteCPtr, badge: Word) -> Result<()> {
        let words: [_; 5] = from(&self, src, [badge]);
        self.into_root()
            .invoke(label::CNODE_MUTATE, &[src.root().bits()], &words)
            .map(drop)
    }
    /// Moves the capability at `pivot` to this slot and the one at `src` to `pivot`, in one step.
    /// libsel4: `seL4_CNode_Rotate`.
    pub fn rotate(
        self,
        pivot: &AbsoluteCPtr,
        pivot_badge: Word,
        src: &AbsoluteCPtr,
        src_badge: Word,
    ) -> Result<()> {
        let words = [
            self.path().bits(),
            self.path().depth() as Word,
            pivot_badge,
            pivot.path().bits(),
            pivot.path().depth() as Word,
            src_badge,
            src.path().bits(),
            src.path().depth() as Word,
        ];
        let caps = [pivot.root().bits(), src.root().bits()];
        self.into_root()
            .invoke(label::CNODE_ROTATE, &caps, &words)
            .map(drop)
    }
}

/// Destination and source, then the operation's own words.
fn from<C, const N: usize, const M: usize>(
    dst: &AbsoluteCPtr<C>,
    src: &AbsoluteCPtr,
    own: [Word; N],
) -> [Word; M] {
    const { assert!(M == N + 4) };
    let mut words = [0; M];
    words[0] = dst.path().bits();
    words[1] = dst.path().depth() as Word;
    words[2] = src.path().bits();
    words[3] = src.path().depth() as Word;
    words[4..].copy_from_slice(&own);
    words
}

#[cfg(test)]
mod tests {
    use crate::{CPtr, CapRights, Error, cap, invocations::recorder::record};

    #[test]
    fn copying_and_minting_name_destination_then_source_then_rights() {
        let calls = record(0, &[], || {
            let (theirs, ours) = (cap::CNode::from_bits(50), cap::CNode::from_bits(2));
            let src = ours.absolute_cptr(CPtr::from_bits(77));
            theirs
                .absolute_cptr_from_bits_with_depth(6, 12)
                .copy(&src, CapRights::read_only())
                .unwrap();
            theirs
                .absolute_cptr_from_bits_with_depth(7, 12)
                .mint(&src, CapRights::all(), 9)
                .unwrap();
            theirs
                .absolute_cptr_from_bits_with_depth(8, 12)
                .move_(&src)
                .unwrap();
            ours.absolute_cptr(CPtr::from_bits(77)).delete().unwrap();
        });
        assert_eq!(
            calls,
            [
                (50, 21, vec![2], vec![6, 12, 77, 64, 2]),
                (50, 22, vec![2], vec![7, 12, 77, 64, 15, 9]),
                (50, 23, vec![2], vec![8, 12, 77, 64]),
                (2, 19, vec![], vec![77, 64]),
            ]
        );
    }

    #[test]
    fn an_error_label_is_an_error() {
        record(8, &[], || {
            let slot = cap::CNode::from_bits(2).absolute_cptr(CPtr::from_bits(77));
            assert_eq!(slot.copy(&slot, CapRights::all()), Err(Error::DeleteFirst));
        });
    }
}
