//! Doing an [`Operation`].
//!
//! Works on a copy of the registers: the caller drops it when memory refuses.

use super::alu::{self, Binary, BitAction};
use super::flags::{DF, RF, ZF};
use super::operation::{Operand, Operation, RegisterOperand, StringAction, StringOperation};
use super::{Memory, Registers};
use crate::instruction::{Instruction, Repeat};
use crate::operand::{Gpr, MemoryOperand, Segment, Width};

/// Everything an operation may change.
pub(super) struct Machine<'a, M> {
    pub instruction: &'a Instruction,
    pub registers: &'a mut Registers,
    pub memory: &'a mut M,
}

impl<M: Memory> Machine<'_, M> {
    /// The operation, and RIP.
    pub(super) fn perform(&mut self, operation: Operation) -> Result<(), M::Error> {
        match operation {
            Operation::Move { to, from, width } => {
                let value = self.load(from, width)?;
                self.store(to, width, value)?;
            }
            Operation::Extend {
                to,
                width,
                from,
                from_width,
                signed,
            } => {
                let value = self.load(from, from_width)?;
                self.store(
                    to,
                    width,
                    if signed {
                        from_width.sign_extend(value)
                    } else {
                        value
                    },
                )?;
            }
            Operation::Binary {
                action,
                to,
                from,
                width,
            } => self.binary(action, to, from, width)?,
            Operation::Unary { action, at, width } => {
                let outcome = action.apply(width, self.load(at, width)?, self.registers.rflags);
                self.store(at, width, outcome.value)?;
                self.registers.rflags = outcome.rflags;
            }
            Operation::Exchange { at, with, width } => {
                let (old, new) = (self.load(at, width)?, self.load(with, width)?);
                self.store(at, width, new)?;
                self.store(with, width, old)?;
            }
            Operation::ExchangeAdd { at, with, width } => self.exchange_add(at, with, width)?,
            Operation::CompareExchange { at, with, width } => {
                self.compare_exchange(at, with, width)?
            }
            Operation::Bit {
                action,
                at,
                index,
                width,
            } => self.bit(action, at, index, width)?,
            Operation::Push { from, width } => {
                let value = self.load(from, width)?;
                self.push(width, value)?;
            }
            Operation::Pop { to, width } => {
                // An address made with rSP uses the value behind the pop (APM vol. 3, POP).
                let value = self.pop(width)?;
                self.store(to, width, value)?;
            }
            Operation::String(string) => return self.string(string),
        }
        self.finish();
        Ok(())
    }

    fn finish(&mut self) {
        self.registers.rip = self.instruction.next_rip(self.registers.rip);
        self.registers.rflags &= !RF;
    }

    fn binary(
        &mut self,
        action: Binary,
        to: Operand,
        from: Operand,
        width: Width,
    ) -> Result<(), M::Error> {
        let (left, right) = (self.load(to, width)?, self.load(from, width)?);
        let outcome = action.apply(width, left, right, self.registers.rflags);
        if action.writes() {
            self.store(to, width, outcome.value)?;
        }
        self.registers.rflags = outcome.rflags;
        Ok(())
    }

    fn exchange_add(&mut self, at: Operand, with: Operand, width: Width) -> Result<(), M::Error> {
        let (old, addend) = (self.load(at, width)?, self.load(with, width)?);
        let outcome = Binary::Add.apply(width, old, addend, self.registers.rflags);
        // The address of `at` may use the register `with`; of two equal registers the sum wins.
        match at {
            Operand::Memory(_) => {
                self.store(at, width, outcome.value)?;
                self.store(with, width, old)?;
            }
            Operand::Register(_) | Operand::Immediate(_) => {
                self.store(with, width, old)?;
                self.store(at, width, outcome.value)?;
            }
        }
        self.registers.rflags = outcome.rflags;
        Ok(())
    }

    /// The destination is written in any case (APM vol. 3, CMPXCHG).
    fn compare_exchange(
        &mut self,
        at: Operand,
        with: Operand,
        width: Width,
    ) -> Result<(), M::Error> {
        let (old, new) = (self.load(at, width)?, self.load(with, width)?);
        let accumulator = self.registers.read(Gpr::RAX, width);
        let outcome = Binary::Cmp.apply(width, accumulator, old, self.registers.rflags);
        if accumulator == old {
            self.store(at, width, new)?;
        } else {
            self.store(at, width, old)?;
            self.registers.write(Gpr::RAX, width, old);
        }
        self.registers.rflags = outcome.rflags;
        Ok(())
    }

    fn bit(
        &mut self,
        action: BitAction,
        at: Operand,
        index: Operand,
        width: Width,
    ) -> Result<(), M::Error> {
        let number = self.load(index, width)?;
        let at = match (at, index) {
            // A bit number in a register reaches all memory around the operand (APM vol. 3, BT).
            (Operand::Memory(operand), Operand::Register(_)) => {
                let element = width.sign_extend(number) as i64 >> width.bits().trailing_zeros();
                let distance = element.wrapping_mul(i64::from(width.bytes()));
                let displacement = operand.displacement.wrapping_add(distance);
                Operand::Memory(MemoryOperand {
                    displacement,
                    ..operand
                })
            }
            _ => at,
        };
        let outcome = action.apply(
            self.load(at, width)?,
            number as u32 & (width.bits() - 1),
            self.registers.rflags,
        );
        if action != BitAction::Keep {
            self.store(at, width, outcome.value)?;
        }
        self.registers.rflags = outcome.rflags;
        Ok(())
    }

    fn push(&mut self, width: Width, value: u64) -> Result<(), M::Error> {
        let stack = self.registers.stack;
        let top = self
            .registers
            .read(Gpr::RSP, stack)
            .wrapping_sub(u64::from(width.bytes()))
            & stack.mask();
        self.memory.write(Segment::Ss, top, width, value)?;
        self.registers.write(Gpr::RSP, stack, top);
        Ok(())
    }

    fn pop(&mut self, width: Width) -> Result<u64, M::Error> {
        let stack = self.registers.stack;
        let top = self.registers.read(Gpr::RSP, stack);
        let value = self.memory.read(Segment::Ss, top, width)? & width.mask();
        self.registers
            .write(Gpr::RSP, stack, top.wrapping_add(u64::from(width.bytes())));
        Ok(value)
    }

    /// One iteration. RIP moves on when there is no other.
    fn string(&mut self, string: StringOperation) -> Result<(), M::Error> {
        let count = self.registers.read(Gpr::RCX, string.address_size);
        if string.repeat.is_some() && count == 0 {
            self.finish();
            return Ok(());
        }
        self.string_iteration(&string)?;
        let Some(repeat) = string.repeat else {
            self.finish();
            return Ok(());
        };
        self.registers
            .write(Gpr::RCX, string.address_size, count.wrapping_sub(1));
        let equal = self.registers.rflags & ZF != 0;
        let compares = matches!(string.action, StringAction::Compare | StringAction::Scan);
        let differs = compares && equal != (repeat == Repeat::Equal);
        if count == 1 || differs {
            self.finish();
        }
        Ok(())
    }

    fn string_iteration(&mut self, string: &StringOperation) -> Result<(), M::Error> {
        let width = string.width;
        match string.action {
            StringAction::Move => {
                let value = self.load_element(string, Gpr::RSI)?;
                self.store_element(string, value)?;
            }
            StringAction::Store => {
                self.store_element(string, self.registers.read(Gpr::RAX, width))?
            }
            StringAction::Load => {
                let value = self.load_element(string, Gpr::RSI)?;
                self.registers.write(Gpr::RAX, width, value);
            }
            StringAction::Compare => {
                let left = self.load_element(string, Gpr::RSI)?;
                let right = self.load_element(string, Gpr::RDI)?;
                self.compare(width, left, right);
            }
            StringAction::Scan => {
                let right = self.load_element(string, Gpr::RDI)?;
                self.compare(width, self.registers.read(Gpr::RAX, width), right);
            }
        }
        Ok(())
    }

    fn compare(&mut self, width: Width, left: u64, right: u64) {
        self.registers.rflags = alu::subtract(width, left, right, 0, self.registers.rflags).rflags;
    }

    /// The element at `[rSI]` or `[rDI]`; the register moves on.
    fn load_element(&mut self, string: &StringOperation, pointer: Gpr) -> Result<u64, M::Error> {
        let segment = if pointer == Gpr::RSI {
            string.source
        } else {
            Segment::Es
        };
        let offset = self.registers.read(pointer, string.address_size);
        let value = self.memory.read(segment, offset, string.width)? & string.width.mask();
        self.step(string, pointer);
        Ok(value)
    }

    fn store_element(&mut self, string: &StringOperation, value: u64) -> Result<(), M::Error> {
        let offset = self.registers.read(Gpr::RDI, string.address_size);
        self.memory
            .write(Segment::Es, offset, string.width, value)?;
        self.step(string, Gpr::RDI);
        Ok(())
    }

    fn step(&mut self, string: &StringOperation, pointer: Gpr) {
        let element = u64::from(string.width.bytes());
        let old = self.registers.read(pointer, string.address_size);
        let down = self.registers.rflags & DF != 0;
        let new = if down {
            old.wrapping_sub(element)
        } else {
            old.wrapping_add(element)
        };
        self.registers.write(pointer, string.address_size, new);
    }

    fn offset(&self, operand: &MemoryOperand) -> u64 {
        operand.effective_address(
            |gpr| self.registers.get(gpr),
            self.instruction.next_rip(self.registers.rip),
        )
    }

    fn load(&mut self, operand: Operand, width: Width) -> Result<u64, M::Error> {
        Ok(match operand {
            Operand::Register(RegisterOperand { gpr, high: true }) => {
                self.registers.get(gpr) >> 8 & 0xff
            }
            Operand::Register(RegisterOperand { gpr, high: false }) => {
                self.registers.read(gpr, width)
            }
            Operand::Memory(operand) => {
                self.memory
                    .read(operand.segment, self.offset(&operand), width)?
                    & width.mask()
            }
            Operand::Immediate(value) => value & width.mask(),
        })
    }

    /// A constant is no destination of any operation; it would swallow the value.
    fn store(&mut self, operand: Operand, width: Width, value: u64) -> Result<(), M::Error> {
        match operand {
            Operand::Register(RegisterOperand { gpr, high: true }) => {
                let kept = self.registers.get(gpr) & !0xff00;
                self.registers
                    .write(gpr, Width::Qword, kept | (value & 0xff) << 8);
            }
            Operand::Register(RegisterOperand { gpr, high: false }) => {
                self.registers.write(gpr, width, value)
            }
            Operand::Memory(operand) => {
                let offset = self.offset(&operand);
                self.memory
                    .write(operand.segment, offset, width, value & width.mask())?;
            }
            Operand::Immediate(_) => {}
        }
        Ok(())
    }
}
