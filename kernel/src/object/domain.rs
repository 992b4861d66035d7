//! Scheduling domains: there is one, number 0, which has the processor for ever. What may be asked of a domain schedule
//! can be asked, and is checked as if there were more.

use crate::cap::Cap;
use crate::kernel::{Done, Fail, Kernel, Message, Outcome};
use crate::machine::Machine;
use crate::mem::Ref;
use crate::object::Tcb;
use sel4_abi::{Error, label};

/// Number of domains.
const DOMAINS: u64 = 1;
/// Entries of the schedule: domain 0, then the end marker.
const SCHEDULE: u64 = 2;
/// Durations have 56 bits.
const MAX_DURATION: u64 = (1 << 56) - 1;

impl<M: Machine> Kernel<M> {
    pub(crate) fn invoke_domain_set(&mut self, msg: &Message) -> Outcome {
        match msg.label {
            label::DOMAIN_SET_SET => {
                let tcb = Self::decode_domain_set(msg)?;
                self.enter_domain(tcb);
                Ok(Done::Empty)
            }
            label::DOMAIN_SCHEDULE_CONFIGURE => Self::check_schedule_entry(msg),
            label::DOMAIN_SCHEDULE_SET_START => {
                Self::check_schedule_start(msg)?;
                self.reschedule_required();
                Ok(Done::Empty)
            }
            _ => Err(Fail::error(Error::IllegalOperation)),
        }
    }

    fn decode_domain_set(msg: &Message) -> Result<Ref<Tcb>, Fail> {
        msg.need(1, 0)?;
        if msg.word(0) >= DOMAINS {
            return Err(Fail::argument(0));
        }
        msg.need(1, 1)?;
        match msg.extra(0).cap() {
            Cap::Tcb { object } => Ok(object),
            _ => Err(Fail::argument(1)),
        }
    }

    /// A thread that enters a domain goes to the head of its queue, although it was in this one before.
    fn enter_domain(&mut self, tcb: Ref<Tcb>) {
        self.ready_remove(tcb);
        if tcb == self.current {
            self.reschedule_required();
        } else if self.is_schedulable(tcb) {
            self.ready_push_head(tcb);
        }
    }

    /// The one entry that can be written is in use from the beginning and never ends: nothing is to be remembered.
    fn check_schedule_entry(msg: &Message) -> Outcome {
        msg.need(3, 0)?;
        let [index, domain, duration] = [0, 1, 2].map(|n| msg.word(n));
        // The last entry stays the end marker.
        if index >= SCHEDULE - 1 {
            return Err(Fail::range(0, SCHEDULE - 2));
        }
        if domain >= DOMAINS {
            return Err(Fail::range(0, DOMAINS - 1));
        }
        // The schedule starts with this entry: it may not become an end marker.
        if duration > MAX_DURATION || duration == 0 {
            return Err(Fail::argument(2));
        }
        Ok(Done::Empty)
    }

    fn check_schedule_start(msg: &Message) -> Result<(), Fail> {
        msg.need(1, 0)?;
        match msg.word(0) {
            0 => Ok(()),
            // An end marker is no start.
            index if index < SCHEDULE => Err(Fail::argument(0)),
            _ => Err(Fail::range(0, SCHEDULE - 1)),
        }
    }
}
