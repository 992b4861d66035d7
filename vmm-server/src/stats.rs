//! What a VM leaves behind when it stops: one line of JSON with counters of the kernel, mmu-server and this server.

use core::fmt::{self, Write};
use protocol::mmu::stats;

/// The guest's marker port: a write is recorded with the time, for measurements.
pub const MARKER_PORT: u16 = 0x5e0;
/// Most markers kept: the first ones.
const MOST_MARKERS: usize = 16;

/// Markers the guest wrote.
#[derive(Clone, Copy, Debug)]
pub struct Markers {
    kept: [(u32, u64); MOST_MARKERS],
    count: usize,
}

impl Default for Markers {
    fn default() -> Self {
        Self::new()
    }
}

impl Markers {
    /// None yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            kept: [(0, 0); MOST_MARKERS],
            count: 0,
        }
    }

    /// Keeps a marker with the host's TSC, while there is room.
    pub fn record(&mut self, value: u32, tsc: u64) {
        if let Some(slot) = self.kept.get_mut(self.count) {
            *slot = (value, tsc);
            self.count += 1;
        }
    }

    /// Those kept.
    #[must_use]
    pub fn kept(&self) -> &[(u32, u64)] {
        &self.kept[..self.count]
    }
}

/// Names of the kernel's exit counters in their order: the exit classes, what the kernel handles alone, and the class that
/// came last.
const EXITS: [&str; 18] = [
    "paging",
    "io",
    "msr",
    "cpuid",
    "cr",
    "invlpg",
    "hlt",
    "window",
    "exception",
    "shutdown",
    "instruction",
    "no_root",
    "invalid",
    "format_broken",
    "dr",
    "host_interrupt",
    "fpu",
    "nested_paging",
];
/// Kernel counters before the exits: IPCs, then address-space switches.
const BEFORE_EXITS: usize = 2;
/// Words of the kernel's counters.
pub const COUNTERS: usize = BEFORE_EXITS + EXITS.len();

/// Names of mmu-server's counters and where they stand.
const MMU: [(&str, usize); stats::COUNT] = [
    ("fills", stats::FILLS),
    ("injected", stats::INJECTED),
    ("device_faults", stats::DEVICE),
    ("flushes_address", stats::FLUSH_ADDRESS),
    ("flushes_all", stats::FLUSH_ALL),
    ("evictions", stats::EVICTIONS),
    ("max_touched", stats::MAX_TOUCHED),
    ("pages_peak", stats::PAGES_PEAK),
    ("mmu_requests", stats::REQUESTS),
    ("max_tables", stats::MAX_TABLES),
    ("max_repeats", stats::MAX_REPEATS),
    ("oracle_checks", stats::ORACLE_CHECKS),
    ("findings", stats::FINDINGS),
];

/// When the counters were taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Moment {
    /// As the guest wrote its first marker, which says that it is up.
    FirstMarker,
    /// As the VM stopped.
    End,
}

impl Moment {
    const fn name(self) -> &'static str {
        match self {
            Self::FirstMarker => "first_marker",
            Self::End => "end",
        }
    }
}

/// Everything the line says.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    /// When it was taken.
    pub moment: Moment,
    /// The VM's name; what is not a letter, a digit, `-`, `_` or `.` shows as `_`.
    pub vm: &'a str,
    /// The kernel's counters, [`COUNTERS`] at most.
    pub kernel: &'a [u64],
    /// mmu-server's.
    pub mmu: &'a [u64; stats::COUNT],
    /// Markers.
    pub markers: &'a Markers,
    /// The host's TSC now.
    pub tsc: u64,
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kernel = |index: usize| self.kernel.get(index).copied().unwrap_or(0);
        f.write_str("{\"vm\":\"")?;
        for c in self.vm.chars() {
            let plain = c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            f.write_char(if plain { c } else { '_' })?;
        }
        write!(f, "\",\"moment\":\"{}\",\"exits\":{{", self.moment.name())?;
        for (index, name) in EXITS.iter().enumerate() {
            let separator = if index == 0 { "" } else { "," };
            write!(f, "{separator}\"{name}\":{}", kernel(BEFORE_EXITS + index))?;
        }
        f.write_str("}")?;
        for (name, index) in MMU {
            write!(f, ",\"{name}\":{}", self.mmu[index])?;
        }
        write!(
            f,
            ",\"ipcs\":{},\"space_switches\":{}",
            kernel(0),
            kernel(1)
        )?;
        write!(f, ",\"tsc\":{},\"markers\":[", self.tsc)?;
        for (index, (value, tsc)) in self.markers.kept().iter().enumerate() {
            let separator = if index == 0 { "" } else { "," };
            write!(f, "{separator}[{value},{tsc}]")?;
        }
        f.write_str("]}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_one_json_object() {
        let mut markers = Markers::new();
        markers.record(1, 100);
        markers.record(2, 200);
        let kernel: Vec<u64> = (0..COUNTERS as u64).collect();
        let report = Report {
            moment: Moment::End,
            vm: "a\"b",
            kernel: &kernel,
            mmu: &core::array::from_fn(|n| 10 + n as u64),
            markers: &markers,
            tsc: 999,
        };
        let line = report.to_string();
        assert!(
            line.starts_with(
                "{\"vm\":\"a_b\",\"moment\":\"end\",\"exits\":{\"paging\":2,\"io\":3,"
            )
        );
        assert!(
            line.contains("\"host_interrupt\":17,\"fpu\":18,\"nested_paging\":19},\"fills\":10,")
        );
        assert!(line.contains(
            "\"oracle_checks\":21,\"findings\":22,\"ipcs\":0,\"space_switches\":1,\"tsc\":999,"
        ));
        assert!(line.ends_with("\"markers\":[[1,100],[2,200]]}"));
        assert_eq!(line.lines().count(), 1);
    }

    #[test]
    fn the_first_markers_are_kept() {
        let mut markers = Markers::new();
        for value in 0..100 {
            markers.record(value, u64::from(value));
        }
        assert_eq!(markers.kept().len(), MOST_MARKERS);
        assert_eq!(markers.kept()[15], (15, 15));
    }

    #[test]
    fn a_kernel_with_fewer_counters_reports_zeros() {
        let report = Report {
            moment: Moment::End,
            vm: "x",
            kernel: &[],
            mmu: &[0; stats::COUNT],
            markers: &Markers::new(),
            tsc: 0,
        };
        assert!(report.to_string().contains("\"paging\":0"));
    }
}
