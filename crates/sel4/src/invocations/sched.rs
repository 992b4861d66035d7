//! Scheduling contexts.

use crate::{
    Badge, Cap, CapType, InvocationContext, Result, Time, Word, cap, cap_type, sys::label,
};

/// Flags of a scheduling context.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SchedFlags(Word);

impl SchedFlags {
    /// Constant bandwidth.
    pub const NONE: Self = Self(0);
    /// Sporadic.
    pub const SPORADIC: Self = Self(1);
    /// The word.
    #[must_use]
    pub const fn into_word(self) -> Word {
        self.0
    }
}

impl<C: InvocationContext> cap::SchedControl<C> {
    /// Gives a scheduling context `budget` of every `period` microseconds; equal ones mean round robin.
    /// libsel4: `seL4_SchedControl_ConfigureFlags`.
    pub fn sched_control_configure_flags(
        self,
        sched_context: cap::SchedContext,
        budget: Time,
        period: Time,
        extra_refills: Word,
        badge: Badge,
        flags: Word,
    ) -> Result<()> {
        let words = [budget, period, extra_refills, badge, flags];
        self.invoke(
            label::SCHED_CONTROL_CONFIGURE_FLAGS,
            &[sched_context.bits()],
            &words,
        )
        .map(drop)
    }
}

/// What a scheduling context can be bound to: a thread or a notification.
pub trait Bindable: CapType {}

impl Bindable for cap_type::Tcb {}
impl Bindable for cap_type::Notification {}

impl<C: InvocationContext> cap::SchedContext<C> {
    /// Binds a thread or a notification. libsel4: `seL4_SchedContext_Bind`.
    pub fn bind<T: Bindable>(self, object: Cap<T>) -> Result<()> {
        self.invoke(label::SCHED_CONTEXT_BIND, &[object.bits()], &[])
            .map(drop)
    }
    /// Unbinds everything. libsel4: `seL4_SchedContext_Unbind`.
    pub fn unbind(self) -> Result<()> {
        self.invoke(label::SCHED_CONTEXT_UNBIND, &[], &[]).map(drop)
    }
    /// Unbinds one object. libsel4: `seL4_SchedContext_UnbindObject`.
    pub fn unbind_object<T: Bindable>(self, object: Cap<T>) -> Result<()> {
        self.invoke(label::SCHED_CONTEXT_UNBIND_OBJECT, &[object.bits()], &[])
            .map(drop)
    }
    /// Microseconds used since last asked. libsel4: `seL4_SchedContext_Consumed`.
    pub fn consumed(self) -> Result<Time> {
        self.invoke(label::SCHED_CONTEXT_CONSUMED, &[], &[])
            .map(|words| words[0])
    }
    /// Lets its thread run next if priorities allow; the result is as [`consumed`](Self::consumed)'s.
    /// libsel4: `seL4_SchedContext_YieldTo`.
    pub fn yield_to(self) -> Result<Time> {
        self.invoke(label::SCHED_CONTEXT_YIELD_TO, &[], &[])
            .map(|words| words[0])
    }
}

#[cfg(test)]
mod tests {
    use crate::{cap, invocations::recorder::record};

    #[test]
    fn a_budget_is_five_words_and_the_context_an_extra_capability() {
        let calls = record(0, &[], || {
            let context = cap::SchedContext::from_bits(30);
            cap::SchedControl::from_bits(16)
                .sched_control_configure_flags(context, 5000, 5000, 0, 7, 0)
                .unwrap();
            context.bind(cap::Notification::from_bits(31)).unwrap();
        });
        assert_eq!(
            calls,
            [
                (16, 33, vec![30], vec![5000, 5000, 0, 7, 0]),
                (30, 34, vec![31], vec![])
            ]
        );
    }
}
