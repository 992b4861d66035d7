//! Untyped memory: making objects.

use crate::{AbsoluteCPtr, InvocationContext, ObjectBlueprint, Result, Word, cap, sys::label};

impl<C: InvocationContext> cap::Untyped<C> {
    /// Makes `num_objects` objects, capabilities to them in the slots of the CNode `dst` from `dst_offset` on.
    /// libsel4: `seL4_Untyped_Retype`.
    pub fn untyped_retype(
        self,
        blueprint: &ObjectBlueprint,
        dst: &AbsoluteCPtr,
        dst_offset: usize,
        num_objects: usize,
    ) -> Result<()> {
        let words = [
            Word::from(blueprint.ty().into_sys()),
            blueprint.api_size_bits().unwrap_or(0) as Word,
            dst.path().bits(),
            dst.path().depth() as Word,
            dst_offset as Word,
            num_objects as Word,
        ];
        self.invoke(label::UNTYPED_RETYPE, &[dst.root().bits()], &words)
            .map(drop)
    }
}

#[cfg(test)]
mod tests {
    use crate::{ObjectBlueprint, cap, invocations::recorder::record};

    #[test]
    fn a_retype_names_type_size_destination_and_count() {
        let calls = record(0, &[], || {
            let into = cap::CNode::from_bits(2).absolute_cptr_for_self();
            cap::Untyped::from_bits(40)
                .untyped_retype(&ObjectBlueprint::CNode { size_bits: 12 }, &into, 99, 3)
                .unwrap();
        });
        assert_eq!(calls, [(40, 1, vec![2], vec![4, 12, 0, 0, 99, 3])]);
    }
}
