//! The end of the run.

use sel4::{CPtr, cap_type, init_thread, init_thread::slot, logging::PLAIN};

/// A slot that nothing else uses: the last of the CNode.
pub const EXIT_PORT: u64 = (1 << init_thread::CNODE_SIZE_BITS) - 1;

/// Says how it went, to people and to the machine, and ends the run.
#[inline]
pub fn end(good: bool) {
    let value = u8::from(!good);
    let status = value << 1 | 1;
    log::info!(
        target: PLAIN,
        "umbra-end vm=root-task reason=exit-port value={value} status={status}"
    );
    let port = CPtr::from_bits(EXIT_PORT).cast::<cap_type::IOPort>();
    let path = slot::CNODE.cap().absolute_cptr(port);
    let control = slot::IO_PORT_CONTROL.cap();
    // Without the port the run ends by its time limit.
    let _ = control.ioport_control_issue(0xf4, 0xf4, &path);
    let _ = port.ioport_out8(0xf4, value);
}
