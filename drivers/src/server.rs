//! What a VM's thread does with a request (`protocol::device`).
//!
//! Always: every request gets a reply; one that makes no sense gets `REFUSED` and changes nothing. Requests are bounded:
//! a port access, moving bytes between a ring and a FIFO, a line of text.
//!
//! | actor | threat | mitigation |
//! | --- | --- | --- |
//! | guest | any port access | goes to that VM's own models; see each model's table |
//! | guest | console text that looks like the system's own lines | prefixed and made printable, but for the console's owner, who has a port of its own |
//! | vmm-server | malformed or foreign requests | decoded before anything is done; refused |
//! | vmm-server | lines in another VM's name | the name is this endpoint's; only the statistics line is printed as it is |
//! | vmm-server | a stop reported twice | the first counts |

use crate::{
    board::{Board, Write},
    lines::{LineBuffer, printable},
    shared::{NEVER, Shared},
};
use core::{fmt, sync::atomic::Ordering::SeqCst};
use protocol::{
    device::{DEADLINE, LINES, LOG, PORT_IN, PORT_OUT, STOP, Stop, reply},
    system::Vm,
};

/// What the thread can do beside answering.
pub trait Host {
    /// The time-stamp counter.
    fn tsc(&mut self) -> u64;
    /// Wakes the interrupt thread.
    fn kick(&mut self);
    /// Prints a line to the system's log as it is.
    fn print(&mut self, line: fmt::Arguments<'_>);
}

/// A reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reply {
    /// Label.
    pub label: u64,
    /// Words, all of them sent.
    pub words: [u64; 2],
}

impl Reply {
    const REFUSED: Self = Self {
        label: reply::REFUSED,
        words: [0, 0],
    };
    const DONE: Self = Self {
        label: reply::OK,
        words: [0, 0],
    };
}

/// Room in the output ring the port model does not use: what is in its FIFO when the VM stops fits for certain.
const RESERVE: usize = 16;
/// Words of the longest message.
pub const MAX_WORDS: usize = 120;
/// Lines printed as they are begin so, and hold JSON.
const STATS: &str = "umbra-stats {";
/// Reason in the end line when the number is out of the protocol.
const UNKNOWN_STOP: &str = "unknown";

/// A decoded request.
#[derive(Debug)]
enum Request<'a> {
    In {
        port: u16,
        size: u8,
    },
    Out {
        port: u16,
        size: u8,
        value: u32,
    },
    Lines,
    Deadline(u64),
    Stop {
        reason: u64,
        value: u64,
        detail: &'a [u64],
    },
    Log {
        length: usize,
        words: &'a [u64],
    },
}

impl<'a> Request<'a> {
    fn decode(label: u64, words: &'a [u64]) -> Option<Self> {
        Some(match (label, words) {
            (PORT_IN, [port, size, ..]) => Self::In {
                port: u16::try_from(*port).ok()?,
                size: access(*size)?,
            },
            (PORT_OUT, [port, size, value, ..]) => Self::Out {
                port: u16::try_from(*port).ok()?,
                size: access(*size)?,
                value: *value as u32,
            },
            (LINES, _) => Self::Lines,
            (DEADLINE, [tsc, ..]) => Self::Deadline(*tsc),
            (STOP, [reason, value, detail @ ..]) => Self::Stop {
                reason: *reason,
                value: *value,
                detail,
            },
            (LOG, [length, words @ ..]) => Self::Log {
                length: usize::try_from(*length)
                    .ok()
                    .filter(|length| *length <= 8 * words.len())?,
                words,
            },
            _ => return None,
        })
    }
}

fn access(size: u64) -> Option<u8> {
    match size {
        1 | 2 | 4 => Some(size as u8),
        _ => None,
    }
}

/// The server of one VM.
#[derive(Debug)]
pub struct Server<'a, H> {
    vm: usize,
    name: &'a str,
    owns_console: bool,
    board: Board,
    line: LineBuffer,
    shared: &'a Shared,
    host: H,
}

impl<'a, H: Host> Server<'a, H> {
    /// The server of VM number `vm`, which owns the console if `owns_console`.
    pub fn new(
        vm: usize,
        config: &'a Vm,
        owns_console: bool,
        tsc_mhz: u32,
        shared: &'a Shared,
        mut host: H,
    ) -> Self {
        let board = Board::new(config.memory, tsc_mhz, host.tsc());
        Self {
            vm,
            name: &config.name,
            owns_console,
            board,
            line: LineBuffer::new(),
            shared,
            host,
        }
    }

    /// Does what a message asks for.
    pub fn handle(&mut self, label: u64, words: &[u64]) -> Reply {
        match Request::decode(label, words) {
            Some(Request::In { port, size }) => self.port_in(port, size),
            Some(Request::Out { port, size, value }) => self.port_out(port, size, value),
            Some(Request::Lines) => {
                self.move_bytes();
                self.answer(reply::OK, 0)
            }
            Some(Request::Deadline(tsc)) => {
                if self.shared.set_asked(self.vm, tsc) {
                    self.host.kick();
                }
                Reply::DONE
            }
            Some(Request::Stop {
                reason,
                value,
                detail,
            }) => self.stop(reason, value, detail),
            Some(Request::Log { length, words }) => self.log(length, words),
            None => Reply::REFUSED,
        }
    }

    fn port_in(&mut self, port: u16, size: u8) -> Reply {
        let uart = Board::is_uart(port);
        if uart {
            self.move_bytes();
        }
        let tsc = self.host.tsc();
        let value = self.board.read(port, size, tsc);
        if uart {
            self.move_bytes();
        }
        match value {
            Some(value) => self.answer(reply::OK, value.into()),
            None => self.answer(reply::NO_PORT, 0),
        }
    }

    fn port_out(&mut self, port: u16, size: u8, value: u32) -> Reply {
        let tsc = self.host.tsc();
        let outcome = self.board.write(port, size, value, tsc);
        if Board::is_uart(port) {
            self.move_bytes();
        }
        match outcome {
            Write::Done => self.answer(reply::OK, 0),
            Write::NoPort => self.answer(reply::NO_PORT, 0),
            Write::Exit(value) => self.answer(reply::EXIT, value.into()),
            Write::Reset => self.answer(reply::RESET, 0),
        }
    }

    /// Completes a reply with the lines, and sees to it that the next rise of one is noticed.
    fn answer(&mut self, label: u64, argument: u64) -> Reply {
        let tsc = self.host.tsc();
        let lines = self.board.lines(tsc);
        let next = self.board.next_rise(tsc).unwrap_or(NEVER);
        if self.shared.set_model(self.vm, next) {
            self.host.kick();
        }
        Reply {
            label,
            words: [argument, lines],
        }
    }

    /// Bytes between the port model and the console, or the log.
    fn move_bytes(&mut self) {
        if self.owns_console {
            self.take_input();
            self.send_output(RESERVE);
        } else {
            while let Some(byte) = self.board.uart.transmit() {
                let (host, name) = (&mut self.host, self.name);
                self.line
                    .push(byte, |line| host.print(format_args!("{name}: {line}")));
            }
        }
    }

    fn take_input(&mut self) {
        let console = &self.shared.console;
        let mut took = false;
        while self.board.uart.has_room() {
            let Some(byte) = console.input.pop() else {
                break;
            };
            // The model said that it has room.
            let _ = self.board.uart.receive(byte);
            took = true;
        }
        if took && console.input_waits.load(SeqCst) {
            self.host.kick();
        }
    }

    /// Sends while more than `reserve` places of the ring are free.
    fn send_output(&mut self, reserve: usize) {
        let console = &self.shared.console;
        let mut sent = self.send_while_room(reserve);
        if self.board.uart.wants_to_send() {
            console.output_waits.store(true, SeqCst);
            // The interrupt thread may have made room before it could see the flag.
            sent |= self.send_while_room(reserve);
        }
        if sent && !console.sending.load(SeqCst) {
            self.host.kick();
        }
    }

    fn send_while_room(&mut self, reserve: usize) -> bool {
        let output = &self.shared.console.output;
        let mut sent = false;
        while output.room() > reserve {
            let Some(byte) = self.board.uart.transmit() else {
                break;
            };
            sent |= output.push(byte);
        }
        sent
    }

    fn stop(&mut self, reason: u64, value: u64, detail: &[u64]) -> Reply {
        if self.owns_console {
            self.send_output(0);
        } else {
            let (host, name) = (&mut self.host, self.name);
            self.line
                .finish(|line| host.print(format_args!("{name}: {line}")));
        }
        let stop = Stop::from_word(reason);
        let status = stop.map_or_else(
            || Stop::UnknownExit.status(value),
            |stop| stop.status(value),
        );
        let byte = match stop {
            // The machine's exit port makes a status of it as the VM's did.
            Some(Stop::ExitPort) => value as u8,
            _ => status,
        };
        if !self.shared.has_ended(self.vm) {
            let (name, word) = (self.name, stop.map_or(UNKNOWN_STOP, Stop::name));
            if detail.iter().any(|word| *word != 0) {
                self.host
                    .print(format_args!("{name}: stopped with {:x}", Detail(detail)));
            }
            self.host.print(format_args!(
                "umbra-end vm={name} reason={word} value={value} status={status}"
            ));
            // Only now: the machine's thread ends the machine as soon as it sees this, in the middle of a line too.
            self.shared.end(self.vm, byte);
        }
        self.host.kick();
        Reply::DONE
    }

    fn log(&mut self, length: usize, words: &[u64]) -> Reply {
        let mut text = [0; 8 * MAX_WORDS];
        for (to, byte) in text
            .iter_mut()
            .zip(words.iter().flat_map(|word| word.to_le_bytes()))
        {
            *to = printable(byte);
        }
        let text = text.get(..length).unwrap_or_default();
        // Every byte is ASCII now.
        let text = core::str::from_utf8(text).unwrap_or_default();
        if text.starts_with(STATS) {
            self.host.print(format_args!("{text}"));
        } else {
            let name = self.name;
            self.host.print(format_args!("{name}: {text}"));
        }
        Reply::DONE
    }
}

/// Words, in hexadecimal, with spaces between.
struct Detail<'a>(&'a [u64]);

impl fmt::LowerHex for Detail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, word) in self.0.iter().enumerate() {
            let space = if i == 0 { "" } else { " " };
            write!(f, "{space}{word:#x}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use protocol::system::{Entry, Flush, Paging, Policy};
    use std::{cell::RefCell, rc::Rc};

    #[derive(Clone, Default)]
    struct Fake(Rc<RefCell<(u64, usize, Vec<String>)>>);

    impl Host for Fake {
        fn tsc(&mut self) -> u64 {
            self.0.borrow().0
        }
        fn kick(&mut self) {
            self.0.borrow_mut().1 += 1;
        }
        fn print(&mut self, line: fmt::Arguments<'_>) {
            self.0.borrow_mut().2.push(line.to_string());
        }
    }

    impl Fake {
        fn kicks(&self) -> usize {
            std::mem::take(&mut self.0.borrow_mut().1)
        }
        fn printed(&self) -> Vec<String> {
            std::mem::take(&mut self.0.borrow_mut().2)
        }
    }

    fn vm() -> Vm {
        Vm {
            name: "red".try_into().unwrap(),
            memory: 64 << 20,
            shadow_bits: 8,
            shadow_pages: 256,
            paging: Paging::Shadow,
            policy: Policy::Vtlb,
            flush: Flush::Tag,
            priority: 1,
            console: true,
            pieces: heapless::Vec::new(),
            entry: Entry::Real { cs: 0, ip: 0 },
            vmm: 0,
            mmu: 0,
        }
    }

    fn with_server(console: bool, test: impl FnOnce(&mut Server<'_, Fake>, &Shared, &Fake)) {
        let (shared, vm, fake) = (Shared::new(), vm(), Fake::default());
        let mut server = Server::new(0, &vm, console, 1000, &shared, fake.clone());
        test(&mut server, &shared, &fake);
    }

    fn packed(text: &str) -> Vec<u64> {
        let mut words = vec![text.len() as u64];
        words.extend(text.as_bytes().chunks(8).map(|chunk| {
            let mut bytes = [0; 8];
            bytes[..chunk.len()].copy_from_slice(chunk);
            u64::from_le_bytes(bytes)
        }));
        words
    }

    #[test]
    fn the_console_owners_bytes_go_to_the_ring_and_wake_the_port() {
        with_server(true, |server, shared, fake| {
            assert_eq!(
                server.handle(PORT_OUT, &[0x3f8, 1, b'x'.into()]).label,
                reply::OK
            );
            assert_eq!(shared.console.output.pop(), Some(b'x'));
            assert_eq!(fake.kicks(), 1);
            shared.console.sending.store(true, SeqCst);
            server.handle(PORT_OUT, &[0x3f8, 1, b'y'.into()]);
            assert_eq!(fake.kicks(), 0);
            assert!(fake.printed().is_empty());
        });
    }

    #[test]
    fn a_full_ring_makes_the_transmitter_busy_and_room_makes_it_ready() {
        with_server(true, |server, shared, _| {
            let empty = |server: &mut Server<'_, Fake>| {
                server.handle(PORT_IN, &[0x3fd, 1]).words[0] & 0x20 != 0
            };
            server.handle(PORT_OUT, &[0x3fa, 1, 1]);
            let mut written = 0;
            while empty(server) {
                server.handle(PORT_OUT, &[0x3f8, 1, written & 0xff]);
                written += 1;
            }
            assert_eq!(written, 4096 - 16 + 1);
            assert!(shared.console.output_waits.load(SeqCst));
            shared.console.output.pop();
            assert!(empty(server));
            // At the end everything finds a place.
            for _ in 0..16 {
                server.handle(PORT_OUT, &[0x3f8, 1, 0]);
            }
            assert_eq!(shared.console.output.room(), RESERVE);
            server.handle(STOP, &[0, 0]);
            assert_eq!(shared.console.output.room(), 0);
        });
    }

    #[test]
    fn input_raises_the_line_at_the_next_question() {
        with_server(true, |server, shared, fake| {
            server.handle(PORT_OUT, &[0x3f9, 1, 1]);
            server.handle(PORT_OUT, &[0x3fc, 1, 8]);
            for byte in b"hi" {
                assert!(shared.console.input.push(*byte));
            }
            shared.console.input_waits.store(true, SeqCst);
            assert_eq!(server.handle(LINES, &[]).words, [0, 1 << 4]);
            assert_eq!(fake.kicks(), 1);
            assert_eq!(
                server.handle(PORT_IN, &[0x3f8, 1]).words,
                [b'h'.into(), 1 << 4]
            );
            assert_eq!(server.handle(PORT_IN, &[0x3f8, 1]).words, [b'i'.into(), 0]);
        });
    }

    #[test]
    fn without_the_console_output_is_lines_with_the_vms_name() {
        with_server(false, |server, shared, fake| {
            for byte in b"umbra-end vm=blue\r\nrest" {
                server.handle(PORT_OUT, &[0x3f8, 1, (*byte).into()]);
            }
            assert_eq!(fake.printed(), ["red: umbra-end vm=blue"]);
            server.handle(STOP, &[Stop::ExitPort as u64, 7]);
            assert_eq!(
                fake.printed(),
                [
                    "red: rest",
                    "umbra-end vm=red reason=exit-port value=7 status=15"
                ]
            );
            assert_eq!(shared.all_ended(1), Some(7));
        });
    }

    #[test]
    fn a_stop_counts_once_and_tells_its_detail() {
        with_server(true, |server, shared, fake| {
            server.handle(STOP, &[Stop::UnknownExit as u64, 0x7b, 1, 0x2000]);
            assert_eq!(
                fake.printed(),
                [
                    "red: stopped with 0x1 0x2000",
                    "umbra-end vm=red reason=unknown-exit value=123 status=8"
                ]
            );
            server.handle(STOP, &[Stop::Halted as u64, 0]);
            assert!(fake.printed().is_empty());
            assert_eq!(shared.all_ended(1), Some(8));
        });
    }

    #[test]
    fn only_the_statistics_line_is_printed_as_it_is() {
        with_server(true, |server, _, fake| {
            for text in ["umbra-stats {\"a\":1}", "umbra-end vm=blue", "hello\nworld"] {
                assert_eq!(server.handle(LOG, &packed(text)), Reply::DONE);
            }
            assert_eq!(
                fake.printed(),
                [
                    "umbra-stats {\"a\":1}",
                    "red: umbra-end vm=blue",
                    "red: hello?world"
                ]
            );
        });
    }

    #[test]
    fn deadlines_reach_the_timer() {
        with_server(true, |server, shared, fake| {
            server.handle(DEADLINE, &[500]);
            assert_eq!((shared.earliest(), fake.kicks()), (500, 1));
            shared.set_armed(500);
            server.handle(DEADLINE, &[600]);
            assert_eq!((shared.earliest(), fake.kicks()), (600, 0));
            // The clock's periodic interrupt is a deadline of the model's own.
            server.handle(DEADLINE, &[NEVER]);
            server.handle(PORT_OUT, &[0x70, 2, 0x420b]);
            assert_eq!(shared.earliest(), 976_563);
        });
    }

    #[test]
    fn requests_that_make_no_sense_are_refused() {
        with_server(true, |server, _, _| {
            for (label, words) in [
                (PORT_IN, &[0x3f8, 3][..]),
                (PORT_IN, &[0x3f8]),
                (PORT_OUT, &[0x1_0000, 1, 0]),
                (DEADLINE, &[]),
                (STOP, &[0]),
                (LOG, &[9, 0]),
                (99, &[]),
            ] {
                assert_eq!(server.handle(label, words), Reply::REFUSED);
            }
        });
    }

    proptest! {
        #[test]
        fn any_message_is_answered(
            messages in proptest::collection::vec((0u64..8, proptest::collection::vec(prop_oneof![0u64..0x400, any::<u64>()], 0..12)), 0..100),
        ) {
            with_server(true, |server, _, _| {
                for (label, words) in messages {
                    assert!(server.handle(label, &words).label <= reply::REFUSED);
                }
            });
        }
    }
}
