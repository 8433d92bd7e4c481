//! What the user sees while a run goes on: a live line on a terminal, plain lines elsewhere.

use std::io::{IsTerminal, Write, stderr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::Metrics;
use super::format::{duration, grouped};

/// How progress is shown on stderr.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProgressMode {
    /// A live line on a terminal, plain lines elsewhere.
    #[default]
    Auto,
    /// One plain line per step, on a terminal too.
    Plain,
    /// Nothing.
    Hidden,
}

/// The progress line of a run.
pub(super) struct Progress {
    phases: Phases,
    steps: u64,
}

/// Shows what goes on in a run: in its live line, or in lines that stay. The default shows nothing.
#[derive(Clone, Default)]
pub struct Phases {
    shown: Shown,
    /// What goes on, for those who ask.
    current: Arc<Mutex<String>>,
}

impl Phases {
    /// Shows what goes on from now, such as `rollout`, with a clock of its own.
    pub fn show(&self, name: &str) {
        name.clone_into(&mut self.current.lock().unwrap_or_else(PoisonError::into_inner));
        if let Shown::Live(bar) = &self.shown {
            bar.set_prefix(name.to_owned());
            bar.reset_elapsed();
        }
    }

    /// Shows a line that stays, on a terminal above the live one.
    pub fn notice(&self, text: &str) {
        self.shown.message(text);
    }

    /// What goes on now; empty before anything does.
    pub fn current(&self) -> String {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[derive(Clone, Default)]
enum Shown {
    Live(ProgressBar),
    Plain,
    #[default]
    Nothing,
}

impl Shown {
    fn message(&self, text: &str) {
        match self {
            Shown::Live(bar) => bar.suspend(|| print(text)),
            Shown::Plain => print(text),
            Shown::Nothing => {}
        }
    }
}

impl Progress {
    /// Starts the line of a run of `steps` steps, of which `step` are done.
    pub(super) fn new(mode: ProgressMode, step: u64, steps: u64) -> Progress {
        let shown = match mode {
            ProgressMode::Hidden => Shown::Nothing,
            ProgressMode::Auto if stderr().is_terminal() => Shown::Live(bar(step, steps)),
            ProgressMode::Auto | ProgressMode::Plain => Shown::Plain,
        };
        Progress { phases: Phases { shown, ..Phases::default() }, steps }
    }

    /// Shows a finished step.
    pub(super) fn step(&self, step: u64, metrics: &Metrics, timings: &Metrics, remaining: Option<f64>) {
        let text = step_line(step, self.steps, metrics, timings, remaining);
        match &self.phases.shown {
            Shown::Live(bar) => {
                bar.set_position(step);
                bar.set_message(text);
            }
            Shown::Plain => print(&text),
            Shown::Nothing => {}
        }
    }

    /// Shows what goes on, in the live line if there is one.
    pub(super) fn phases(&self) -> Phases {
        self.phases.clone()
    }

    /// Shows a line that stays, above the live one.
    pub(super) fn message(&self, text: &str) {
        self.phases.notice(text);
    }

    /// Shows the result of an evaluation, which stays.
    pub(super) fn evaluation(&self, step: u64, metrics: &Metrics) {
        self.message(&evaluation_line(step, self.steps, metrics));
    }

    /// Takes the live line away.
    pub(super) fn close(&self) {
        if let Shown::Live(bar) = &self.phases.shown {
            bar.finish_and_clear();
        }
    }
}

fn bar(step: u64, steps: u64) -> ProgressBar {
    // 20 columns before the message, so that a step's line fits into 80.
    let style = ProgressStyle::with_template("{spinner:.cyan} {prefix:10} {elapsed:>4.dim}  {wide_msg}");
    let style = style.expect("the template is valid");
    let bar = ProgressBar::new(steps).with_style(style).with_position(step).with_prefix("starting");
    bar.set_message(format!("step {step}/{steps}"));
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}

/// A line on stderr. A closed stderr is no reason to stop training.
fn print(text: &str) {
    let _ = writeln!(stderr(), "{text}");
}

/// `step 3/50  reward 0.412  pass 31%  1,720 tok/s  eta 7m12s`; what is not known is left out.
fn step_line(step: u64, steps: u64, metrics: &Metrics, timings: &Metrics, remaining: Option<f64>) -> String {
    let parts = [
        Some(format!("step {step}/{steps}")),
        metrics.get("reward").map(|reward| format!("reward {reward:.3}")),
        metrics.get("exec/pass_rate").map(|rate| format!("pass {:.0}%", 100.0 * rate)),
        timings.get("rollout/tokens_per_second").map(|speed| format!("{} tok/s", grouped(speed))),
        remaining.map(|seconds| format!("eta {}", duration(seconds))),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join("  ")
}

/// `step 10/50  evaluation  pass@1 12.3 % [8.1, 17.0]`.
fn evaluation_line(step: u64, steps: u64, metrics: &Metrics) -> String {
    let mut line = format!("step {step}/{steps}  evaluation");
    let percent = |value: f64| format!("{:.1}", 100.0 * value);
    for (name, mean) in metrics.iter() {
        let interval = ["low", "high"].map(|end| metrics.get(&format!("{name}_{end}")));
        if let [Some(low), Some(high)] = interval {
            let short = name.trim_start_matches("eval/");
            line += &format!("  {short} {} % [{}, {}]", percent(mean), percent(low), percent(high));
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_read_well() {
        let (mut metrics, mut timings) = (Metrics::new(), Metrics::new());
        insta::assert_snapshot!(step_line(1, 50, &metrics, &timings, None), @"step 1/50");
        metrics.push("reward", 0.4123);
        metrics.push("exec/pass_rate", 0.3125);
        timings.push("rollout/tokens_per_second", 1720.3);
        insta::assert_snapshot!(
            step_line(3, 50, &metrics, &timings, Some(432.0)),
            @"step 3/50  reward 0.412  pass 31%  1,720 tok/s  eta 7m12s"
        );
        let mut results = Metrics::new();
        for (name, value) in [("pass@1", 0.1234), ("pass@8", 0.4)] {
            results.push(&format!("eval/{name}"), value);
            results.push(&format!("eval/{name}_low"), value - 0.05);
            results.push(&format!("eval/{name}_high"), value + 0.05);
        }
        insta::assert_snapshot!(
            evaluation_line(10, 50, &results),
            @"step 10/50  evaluation  pass@1 12.3 % [7.3, 17.3]  pass@8 40.0 % [35.0, 45.0]"
        );
    }

    #[test]
    fn the_template_of_the_live_line_is_valid() {
        let bar = bar(3, 50);
        assert_eq!((bar.position(), bar.length()), (3, Some(50)));
        bar.finish_and_clear();
    }
}
