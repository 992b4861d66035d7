//! From a thread's first instruction to `main`.

use crate::{DomainInfo, MAX_THREADS, info};
use protocol::layout;
use sel4::{IpcBuffer, ThreadBlock, logging::Logger};
use words::addr::PAGE_SIZE;

static THREADS: [ThreadBlock; MAX_THREADS] = [const { ThreadBlock::new() }; MAX_THREADS];

/// Sets the thread up and runs `main`.
///
/// # Safety
///
/// Called once on each thread, with a number no other thread has, below [`MAX_THREADS`], in a domain built by root-task.
pub unsafe fn start(
    thread: usize,
    logger: &'static Logger,
    main: fn(usize, &DomainInfo) -> !,
) -> ! {
    let buffer = (layout::IPC_BUFFER + thread as u64 * PAGE_SIZE) as *mut IpcBuffer;
    // SAFETY: the caller promises that block and buffer are this thread's alone, and that root-task mapped the buffer.
    unsafe {
        sel4::install_thread_block(&THREADS[thread]);
        sel4::set_ipc_buffer(&mut *buffer);
    }
    logger.set();
    // SAFETY: root-task mapped the pages and wrote them before it started the domain.
    let info = unsafe { info::read(layout::INFO as *const u8) };
    match info {
        Ok(info) => main(thread, &info),
        Err(error) => {
            log::error!("the domain's information makes no sense: {error}");
            crate::fail()
        }
    }
}
