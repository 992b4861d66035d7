//! The serial port against `vm-superio`'s, an independent model: on what both model, every register shows the same.

use devices::uart16550::Uart;
use proptest::prelude::*;
use vm_superio::{Serial, Trigger};

struct NoInterrupt;

impl Trigger for NoInterrupt {
    type E = ();
    fn trigger(&self) -> Result<(), ()> {
        Ok(())
    }
}

const LOOP: u8 = 0x10;

#[derive(Clone, Copy, Debug)]
enum Step {
    Write(u8, u8),
    Read(u8),
    Receive(u8),
}

fn step() -> impl Strategy<Value = Step> {
    // Register 2 (identification) differs by design: the other model always has its FIFOs on and knows two causes.
    let writable = prop_oneof![Just(0u8), Just(1), Just(3), Just(4), Just(7)];
    let readable = prop_oneof![
        Just(0u8),
        Just(1),
        Just(3),
        Just(4),
        Just(5),
        Just(6),
        Just(7)
    ];
    prop_oneof![
        (writable, any::<u8>()).prop_map(|(register, value)| Step::Write(register, value)),
        readable.prop_map(Step::Read),
        any::<u8>().prop_map(Step::Receive),
    ]
}

proptest! {
    #[test]
    fn registers_and_bytes_agree(steps in proptest::collection::vec(step(), 0..400)) {
        let mut ours = Uart::new();
        let mut theirs = Serial::new(NoInterrupt, Vec::new());
        // They start as their firmware leaves the port.
        for (register, value) in [(2, 1), (3, 0x03), (4, 0x08)] {
            ours.write(register, value);
        }
        let mut sent = Vec::new();
        let mut waiting = 0;
        for step in steps {
            match step {
                // Theirs keeps reserved modem bits, and a loopback of 64 places.
                Step::Write(4, value) => {
                    ours.write(4, value & 0x1f);
                    theirs.write(4, value & 0x1f).unwrap();
                }
                Step::Write(0, _) if ours.read(4) & LOOP != 0 && waiting == 16 => {}
                Step::Write(register, value) => {
                    if register == 0 && ours.read(4) & LOOP != 0 && ours.read(3) & 0x80 == 0 {
                        waiting += 1;
                    }
                    ours.write(register, value);
                    theirs.write(register, value).unwrap();
                }
                Step::Read(register) => {
                    let (a, b) = (ours.read(register), theirs.read(register));
                    // They do not model changes of the modem lines.
                    let mask = if register == 6 { 0xf0 } else { 0xff };
                    prop_assert_eq!(a & mask, b & mask, "register {}", register);
                    if register == 0 && ours.read(3) & 0x80 == 0 {
                        waiting = usize::saturating_sub(waiting, 1);
                    }
                }
                Step::Receive(byte) if ours.has_room() => {
                    prop_assert!(ours.receive(byte));
                    prop_assert_eq!(theirs.enqueue_raw_bytes(&[byte]).unwrap(), 1);
                    waiting += 1;
                }
                Step::Receive(byte) => prop_assert!(!ours.receive(byte)),
            }
            sent.extend(std::iter::from_fn(|| ours.transmit()));
        }
        prop_assert_eq!(&sent, theirs.writer());
    }
}
