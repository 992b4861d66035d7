//! The crate `uart_16550`, a driver written for real ports, against our serial port.
// The driver's back-end trait has unsafe methods; here they touch a model in ordinary memory.
#![allow(unsafe_code)]

use devices::uart16550::Uart;
use std::{cell::RefCell, rc::Rc};
use uart_16550::{Config, Uart16550, backend::Backend};

#[derive(Clone, Default)]
struct Port(Rc<RefCell<(Uart, Vec<u8>)>>);

impl Backend for Port {
    unsafe fn read(&mut self, register_offset: u8) -> u8 {
        self.0.borrow_mut().0.read(register_offset)
    }
    unsafe fn write(&mut self, register_offset: u8, value: u8) {
        let (uart, sent) = &mut *self.0.borrow_mut();
        uart.write(register_offset, value);
        sent.extend(std::iter::from_fn(|| uart.transmit()));
    }
}

fn driver(port: &Port) -> Uart16550<Port> {
    // SAFETY: the registers are the model's.
    let mut driver = unsafe { Uart16550::new_with_backend(port.clone()) };
    driver.init(Config::default()).expect("a 16550A answers");
    driver
}

#[test]
fn the_driver_finds_initialises_and_loops_the_port() {
    let port = Port::default();
    let mut driver = driver(&port);
    driver.test_loopback().expect("what is sent comes back");
    driver.check_connected().expect("the other end is ready");
}

#[test]
fn a_text_goes_out_whole() {
    let port = Port::default();
    let mut driver = driver(&port);
    let text: Vec<u8> = (0..=255).cycle().take(1000).collect();
    driver.send_bytes_exact(&text);
    assert_eq!(port.0.borrow().1, text);
}

#[test]
fn a_text_comes_in_whole_however_slowly_it_is_read() {
    let port = Port::default();
    let mut driver = driver(&port);
    let text: Vec<u8> = (0..=255).cycle().take(1000).collect();
    let (mut given, mut taken) = (0, Vec::<u8>::new());
    while taken.len() < text.len() {
        while given < text.len() && port.0.borrow_mut().0.receive(text[given]) {
            given += 1;
        }
        let mut buffer = [0; 5];
        let count = driver.receive_bytes(&mut buffer);
        taken.extend(&buffer[..count]);
    }
    assert_eq!(taken, text);
}
