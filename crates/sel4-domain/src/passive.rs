//! How a server says that it is ready and waits for its first message.
//!
//! Both happen in one system call: when root-task hears of it, the server is waiting already, and root-task can take its
//! scheduling context away. From then on it runs on its callers'.

use protocol::slots::common;
use sel4::{Badge, MessageInfo, RecvWithMRs, cap};

const READY: cap::Notification = cap::Notification::from_bits(common::READY);

/// Says so and waits on `service`; message words are in the IPC buffer.
pub fn ready_and_receive(service: cap::Endpoint, reply: cap::Reply) -> (MessageInfo, Badge) {
    READY.nb_send_recv(MessageInfo::default(), service, reply)
}

/// Says so and waits on `service`; the first four message words are in the result.
pub fn ready_and_receive_with_mrs(service: cap::Endpoint, reply: cap::Reply) -> RecvWithMRs {
    READY.nb_send_recv_with_mrs(MessageInfo::default(), [], service, reply)
}
