//! How good a verifier is, for people and curves.

use serde::{Deserialize, Serialize};

use super::{Forecast, Label};
use crate::critic::fault::Fault;
use crate::critic::outcome;
use crate::critic::quality::{BINS, Judged, Selection, accuracy, auroc, calibration_error};
use crate::telemetry::Metrics;

/// How forecasts compare with verdicts. What cannot be measured is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// Programs that it is measured on.
    pub programs: usize,
    /// Share that pass all tests.
    pub pass_rate: f64,
    /// Share of programs of which the likelier of passing and not came true.
    pub accuracy: Option<f64>,
    /// Share of programs whose likeliest class came true, for verifiers that name one.
    pub class_accuracy: Option<f64>,
    /// Area under the curve of the receiver operating characteristic.
    pub auroc: Option<f64>,
    /// Expected calibration error, in 15 bins.
    pub calibration_error: Option<f64>,
    /// Choosing one program of each group: share of groups whose choice passes.
    pub ranked: Option<f64>,
    /// Share of groups of which any program passes.
    pub oracle: Option<f64>,
    /// Mean share of a group's programs that pass.
    pub random: Option<f64>,
    /// `oracle - ranked`.
    pub selection_gap: Option<f64>,
}

impl Quality {
    /// Over groups of programs for one task each.
    pub fn of(groups: &[Vec<(Forecast, &Label)>]) -> Quality {
        let judged: Vec<Vec<Judged>> = groups
            .iter()
            .map(|group| group.iter().map(|(said, label)| said.judged(label)).collect())
            .collect();
        let all: Vec<Judged> = judged.concat();
        let classes: Vec<bool> =
            groups.iter().flatten().filter_map(|(said, label)| names(said, label)).collect();
        let selection = Selection::of(judged.iter().map(Vec::as_slice));
        let share = |part: usize, whole: usize| part as f64 / whole.max(1) as f64;
        let count = |right: &[bool]| right.iter().filter(|right| **right).count();
        Quality {
            programs: all.len(),
            pass_rate: share(all.iter().filter(|judged| judged.passed).count(), all.len()),
            accuracy: accuracy(&all),
            class_accuracy: (!classes.is_empty()).then(|| share(count(&classes), classes.len())),
            auroc: auroc(&all),
            calibration_error: calibration_error(&all, BINS),
            ranked: selection.map(|selection| selection.ranked),
            oracle: selection.map(|selection| selection.oracle),
            random: selection.map(|selection| selection.random),
            selection_gap: selection.map(|selection| selection.gap()),
        }
    }

    /// Its numbers by name.
    pub fn rows(&self) -> [(&'static str, Option<f64>); 9] {
        [
            ("pass_rate", Some(self.pass_rate)),
            ("accuracy", self.accuracy),
            ("class_accuracy", self.class_accuracy),
            ("auroc", self.auroc),
            ("calibration_error", self.calibration_error),
            ("ranked", self.ranked),
            ("oracle", self.oracle),
            ("random", self.random),
            ("selection_gap", self.selection_gap),
        ]
    }

    /// Adds its numbers under `verifier/`; those that cannot be measured are no numbers.
    pub fn push_to(&self, metrics: &mut Metrics) {
        for (name, value) in self.rows() {
            metrics.push(&format!("verifier/{name}"), value.unwrap_or(f64::NAN));
        }
    }
}

/// Whether the likeliest class came true; `None` where none is named.
fn names(said: &Forecast, label: &Label) -> Option<bool> {
    // CodeRL's verifiers weigh tokens, and name its classes; rankers name faults.
    let truth = match said.token_weights.is_empty() {
        false => outcome::place(label.class),
        true => Fault::place(label.fault()),
    };
    said.class.map(|class| class == truth)
}
