//! Random traffic of clients and servers, and a guest's exit with its answer, each done both ways.

use super::{
    UNKNOWN, compare_exception, compare_fault, compare_unknown, compare_until, compared_so_far,
};
use crate::machine::Next;
use crate::object::tcb::State as Doing;
use crate::tests::random::Random;
use crate::tests::vcpu::long_mode;
use crate::tests::world::{Thread, World};
use sel4_abi::object;

/// Comparisons of the test that is about them.
const MANY: u64 = 150;

/// Some threads have a budget that is less than their period, and some of those a sporadic one.
fn limit(w: &mut World, thread: Thread, random: &mut Random) {
    if random.below(2) == 0 {
        w.configure(thread.sc, 5000, 10_000, 3, 0);
        let sporadic = random.below(2) == 0;
        w.sched_context(thread.sc).sporadic.set(sporadic);
    }
}

/// Three servers, of which each calls those after it and the last handles everybody's faults, and three clients; priorities,
/// message lengths, which servers have time of their own, whose time is limited and who does what are random.
fn traffic(seed: u64) {
    let mut w = World::new();
    let mut random = Random(seed);
    let gate = w.gate();
    let endpoints = [0; 3].map(|_| w.make(object::ENDPOINT, 0));
    let badged = endpoints.map(|endpoint| w.mint(endpoint, 15, 9));
    let servers = endpoints.map(|endpoint| {
        let server = w.thread(100 + 10 * random.below(4), true);
        w.set_handler(server, badged[2]);
        w.serve(server, gate, endpoint);
        if random.below(3) == 0 {
            limit(&mut w, server, &mut random);
        } else {
            w.take_time(server);
        }
        server
    });
    for _ in 0..3 {
        let client = w.thread(100 + 10 * random.below(4), true);
        limit(&mut w, client, &mut random);
        w.set_handler(client, badged[2]);
        w.resume(client);
    }
    w.wait(gate);
    for _ in 0..60 {
        let current = w.current();
        if current.state.get() != Doing::Running {
            break;
        }
        let words: Vec<u64> = (0..random.below(9)).map(|n| n * 7).collect();
        w.kernel.machine.now += 10;
        let server = servers.iter().position(|server| server.tcb == current);
        let deepest = server.map_or(0, |n| n + 1);
        let choice = random.below(10);
        match server {
            Some(n) if choice < 6 || deepest > 2 => {
                let refuse = u64::from(random.below(20) == 0);
                w.reply_recv(endpoints[n], servers[n].reply, refuse, &words);
            }
            _ if choice < 8 => {
                let to = deepest + random.below(3 - deepest as u64) as usize;
                w.start_call(badged[to], random.below(3), &words, &[]);
            }
            _ if random.below(3) == 0 => {
                compare_unknown(&mut w);
                w.syscall(UNKNOWN);
            }
            _ => {
                let vector = random.pick(&[6, 7, 14]);
                current.context.entered_by.set(crate::context::entry::FULL);
                compare_exception(&mut w.kernel, vector, 4, 0x1000);
                w.kernel.handle_exception(vector, 4, 0x1000);
                w.settle();
            }
        }
        w.check();
    }
}

#[test]
fn the_short_ways_leave_what_the_long_one_does() {
    compare_until(MANY);
    let mut seed = 0;
    while compared_so_far() < MANY {
        assert!(seed < MANY, "only {} comparisons", compared_so_far());
        seed += 1;
        traffic(seed);
    }
}

#[test]
fn an_exit_and_its_answer_leave_what_the_long_way_does() {
    let mut machine = long_mode();
    compare_until(u64::MAX);
    machine.start();
    let w = &mut machine.guest.world;
    let time = w.sched_context(machine.vmm.sc);
    w.kernel.sc_unbind_tcb(time);
    w.kernel.decide();
    let class = exit_abi::ExitClass::Cpuid as u64;
    let words = [1, 2, 3, 4];
    let vcpu = machine.thread.tcb;
    assert_eq!(w.current(), vcpu, "the guest runs");
    for _ in 0..3 {
        assert!(compare_fault(w, class, &words), "the exit has no short way");
        let next = w
            .kernel
            .fast_fault(class, &words)
            .expect("as it had before");
        assert!(matches!(next, Next::User { .. }));
        let before = compared_so_far();
        let rip = exit_abi::Mask::default().with(exit_abi::Register::Rip).0;
        let next = w.reply_recv(machine.endpoint, machine.vmm.reply, 0, &[rip, 0x1234]);
        assert_eq!(compared_so_far(), before + 1, "the answer has no short way");
        assert!(matches!(next, Next::Guest { .. }));
    }
}
