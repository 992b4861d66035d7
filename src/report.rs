//! What a run leaves behind: the counters of its VMs, as `--stats` wants them.
//!
//! Nothing in it depends on the host's time: two deterministic runs write the same bytes.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::error::Failure;
use crate::verdict::{End, Verdict};

/// Counters and ends, as they come in.
#[derive(Default)]
pub struct Report {
    /// Counters that do not name their VM; the next end does.
    pending: Map<String, Value>,
    vms: Map<String, Value>,
}

impl Report {
    /// Takes counters.
    pub fn stats(&mut self, counters: Map<String, Value>) {
        match counters.get("vm").and_then(Value::as_str) {
            Some(vm) => {
                let vm = vm.to_owned();
                self.add(&vm, counters);
            }
            None => self.pending = counters,
        }
    }

    /// Takes the end of a VM.
    pub fn end(&mut self, end: &End) {
        let mut facts = std::mem::take(&mut self.pending);
        facts.insert("reason".into(), json!(end.reason));
        facts.insert("value".into(), json!(end.value));
        facts.insert("status".into(), json!(end.status));
        self.add(&end.vm, facts);
    }

    fn add(&mut self, vm: &str, mut facts: Map<String, Value>) {
        facts.remove("vm");
        // Counters of another moment than the end stand under its name.
        if let Some(Value::String(moment)) = facts.remove("moment")
            && moment != "end"
        {
            facts = Map::from_iter([(moment, Value::Object(facts))]);
        }
        let entry = self.vms.entry(vm.to_owned()).or_insert_with(|| json!({}));
        if let Some(entry) = entry.as_object_mut() {
            entry.extend(facts);
        }
    }

    /// Writes the file.
    pub fn write(&self, path: &Path, verdict: &Verdict) -> Result<(), Failure> {
        let all = json!({ "end": verdict.word(), "status": verdict.status(), "vms": self.vms });
        fs::write(path, format!("{all:#}\n"))
            .map_err(|error| Failure::Machine(format!("{}: {error}", path.display())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Line;

    #[test]
    fn counters_go_to_the_vm_they_name_or_the_one_that_ends_next() {
        let mut report = Report::default();
        let take = |report: &mut Report, line: &str| match Line::read(line) {
            Line::Stats(counters) => report.stats(counters),
            Line::End(end) => report.end(&end),
            other => panic!("{other:?}"),
        };
        take(&mut report, r#"umbra-stats {"vm":"b","fills":1}"#);
        take(&mut report, r#"umbra-stats {"fills":2}"#);
        take(&mut report, "umbra-end vm=a reason=halted value=0 status=0");
        assert_eq!(
            report.vms["a"],
            json!({"fills": 2, "reason": "halted", "value": 0, "status": 0})
        );
        assert_eq!(report.vms["b"], json!({"fills": 1}));
        take(
            &mut report,
            r#"umbra-stats {"vm":"b","moment":"first_marker","fills":3}"#,
        );
        take(
            &mut report,
            r#"umbra-stats {"vm":"b","moment":"end","fills":4}"#,
        );
        assert_eq!(
            report.vms["b"],
            json!({"fills": 4, "first_marker": {"fills": 3}})
        );
    }
}
