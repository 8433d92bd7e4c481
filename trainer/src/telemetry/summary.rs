//! The table at the end of a run.

use std::fmt;
use std::path::PathBuf;

use super::format::{duration, share, shell_word};
use super::{TimeTotals, sparkline};
use crate::eval::{PairedDifference, PassAtK};

/// Columns of the reward curve.
const CURVE_WIDTH: usize = 60;

/// What a finished run reached, and at what cost. Made by the session, shown by the command line.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunSummary {
    /// Held-out pass@k before training, for each `k`.
    pub before: Vec<PassAtK>,
    /// Held-out pass@k after training, for the same `k` in the same order.
    pub after: Vec<PassAtK>,
    /// After − before, for the same `k` in the same order.
    pub differences: Vec<PairedDifference>,
    /// Mean reward of every step.
    pub rewards: Vec<f64>,
    /// Where the time went.
    pub times: TimeTotals,
    /// The run folder.
    pub run: PathBuf,
    /// The newest checkpoint; its folder `model` is a Hugging Face folder.
    pub checkpoint: Option<PathBuf>,
}

/// The heads of the table of evaluations.
const HEADS: [&str; 4] = ["held-out", "before", "after", "difference"];

impl RunSummary {
    /// The same in Markdown, for `docs/results`.
    pub fn to_markdown(&self) -> String {
        let mut text = String::new();
        let mut row = |cells: &[String]| text += &format!("| {} |\n", cells.join(" | "));
        let rows = self.evaluation_rows();
        if !rows.is_empty() {
            row(&HEADS.map(str::to_owned));
            row(&["---", "---:", "---:", "---:"].map(str::to_owned));
            rows.iter().for_each(|cells| row(cells));
            text += "\nIntervals are 95 %; differences are in percentage points, their intervals of the paired bootstrap.\n\n";
        }
        if let Some(curve) = self.reward_curve() {
            text += &format!("Reward per step: `{curve}`\n\n");
        }
        let times: Vec<[String; 3]> = self.time_parts().collect();
        let line = |cells: Vec<&str>| format!("| {} |\n", cells.join(" | "));
        text += &line(times.iter().map(|[name, ..]| name.as_str()).chain(["total"]).collect());
        text += &line(vec!["---:"; times.len() + 1]);
        let spent: Vec<String> = times.iter().map(|[_, time, share]| format!("{time} ({share})")).collect();
        let total = duration(self.times.wall);
        text += &line(spent.iter().map(String::as_str).chain([total.as_str()]).collect());
        text
    }

    /// One row for each `k`, under [`HEADS`].
    fn evaluation_rows(&self) -> Vec<[String; 4]> {
        let percent = |value: f64| format!("{:.1}", 100.0 * value);
        let signed = |value: f64| format!("{:+.1}", 100.0 * value);
        let level = |pass: &PassAtK| {
            format!("{} % [{}, {}]", percent(pass.mean), percent(pass.low), percent(pass.high))
        };
        let pairs = self.before.iter().zip(&self.after).enumerate();
        pairs
            .map(|(index, (before, after))| {
                let difference = self.differences.get(index).map_or("unknown".to_owned(), |difference| {
                    let PairedDifference { mean, low, high } = *difference;
                    format!("{} [{}, {}]", signed(mean), signed(low), signed(high))
                });
                [format!("pass@{}", before.k), level(before), level(after), difference]
            })
            .collect()
    }

    /// The curve with the means of its first and last tenth.
    fn reward_curve(&self) -> Option<String> {
        let finite: Vec<f64> = self.rewards.iter().copied().filter(|reward| reward.is_finite()).collect();
        let tenth = finite.len().div_ceil(10);
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        (!finite.is_empty()).then(|| {
            let (first, last) = (mean(&finite[..tenth]), mean(&finite[finite.len() - tenth..]));
            format!("{}  {first:.3} → {last:.3}", sparkline(&self.rewards, CURVE_WIDTH))
        })
    }

    /// Name, time and share of each part; they add up to the total.
    fn time_parts(&self) -> impl Iterator<Item = [String; 3]> {
        let TimeTotals { rollout, execution, update, evaluation, wall } = self.times;
        let rest = (wall - rollout - execution - update - evaluation).max(0.0);
        let parts = [
            ("rollout", rollout),
            ("execution", execution),
            ("update", update),
            ("evaluation", evaluation),
            ("rest", rest),
        ];
        parts
            .into_iter()
            .map(move |(name, seconds)| [name.to_owned(), duration(seconds), share(seconds, wall)])
    }
}

impl fmt::Display for RunSummary {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.evaluation_rows();
        if !rows.is_empty() {
            let heads = HEADS.map(str::to_owned);
            let table: Vec<&[String; 4]> = std::iter::once(&heads).chain(&rows).collect();
            let width =
                |column: usize| table.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
            let widths = [0, 1, 2, 3].map(width);
            for [name, before, after, difference] in &table {
                let [a, b, c, d] = widths;
                writeln!(out, "{name:a$}   {before:>b$}   {after:>c$}   {difference:>d$}")?;
            }
            writeln!(out, "intervals are 95 %; the difference is in percentage points, paired by task\n")?;
        }
        if let Some(curve) = self.reward_curve() {
            writeln!(out, "reward      {curve}")?;
        }
        let times: Vec<[String; 3]> = self.time_parts().collect();
        let names: String = times.iter().map(|[name, ..]| format!("{name:>13}")).collect();
        let spent = times.iter().map(|[_, time, share]| format!("{:>13}", format!("{time} {share}")));
        let spent: String = spent.collect();
        writeln!(out, "time        {:>7}{names}", "total")?;
        writeln!(out, "            {:>7}{spent}\n", duration(self.times.wall))?;
        writeln!(out, "run folder  {}", self.run.display())?;
        let word = |path: PathBuf| shell_word(&path.to_string_lossy());
        if let Some(checkpoint) = &self.checkpoint {
            writeln!(out, "checkpoint  {}\n", checkpoint.display())?;
            writeln!(
                out,
                "try it      rltrain sample {} --prompt 'Write a function …'",
                word(checkpoint.join("model"))
            )?;
        }
        write!(out, "see it      tensorboard --logdir {}", word(self.run.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary() -> RunSummary {
        let pass = |k, mean| PassAtK { k, mean, low: mean - 0.04, high: mean + 0.05 };
        let run = PathBuf::from("runs/quick start");
        RunSummary {
            before: vec![pass(1, 0.0523), pass(8, 0.213)],
            after: vec![pass(1, 0.2012), pass(8, 0.4)],
            differences: vec![
                PairedDifference { mean: 0.1489, low: 0.101, high: 0.197 },
                PairedDifference { mean: 0.187, low: -0.002, high: 0.3 },
            ],
            rewards: (0..50).map(|step| 0.1 + 0.01 * f64::from(step)).collect(),
            times: TimeTotals {
                rollout: 300.0,
                execution: 12.0,
                update: 200.0,
                evaluation: 80.0,
                wall: 605.0,
            },
            checkpoint: Some(run.join("checkpoints/step-00000050")),
            run,
        }
    }

    #[test]
    fn the_table_reads_well() {
        insta::assert_snapshot!(summary(), @r"
        held-out                before                 after             difference
        pass@1       5.2 % [1.2, 10.2]   20.1 % [16.1, 25.1]   +14.9 [+10.1, +19.7]
        pass@8     21.3 % [17.3, 26.3]   40.0 % [36.0, 45.0]    +18.7 [-0.2, +30.0]
        intervals are 95 %; the difference is in percentage points, paired by task

        reward      ▁▁▁▁▁▁▁▂▂▂▂▂▂▃▃▃▃▃▃▄▄▄▄▄▄▅▅▅▅▅▅▆▆▆▆▆▆▇▇▇▇▇▇███████  0.120 → 0.570
        time          total      rollout    execution       update   evaluation         rest
                     10m05s   5m00s 50 %      12s 2 %   3m20s 33 %   1m20s 13 %      13s 2 %

        run folder  runs/quick start
        checkpoint  runs/quick start/checkpoints/step-00000050

        try it      rltrain sample 'runs/quick start/checkpoints/step-00000050/model' --prompt 'Write a function …'
        see it      tensorboard --logdir 'runs/quick start'
        ");
    }

    #[test]
    fn the_table_in_markdown() {
        insta::assert_snapshot!(summary().to_markdown(), @r"
        | held-out | before | after | difference |
        | --- | ---: | ---: | ---: |
        | pass@1 | 5.2 % [1.2, 10.2] | 20.1 % [16.1, 25.1] | +14.9 [+10.1, +19.7] |
        | pass@8 | 21.3 % [17.3, 26.3] | 40.0 % [36.0, 45.0] | +18.7 [-0.2, +30.0] |

        Intervals are 95 %; differences are in percentage points, their intervals of the paired bootstrap.

        Reward per step: `▁▁▁▁▁▁▁▂▂▂▂▂▂▃▃▃▃▃▃▄▄▄▄▄▄▅▅▅▅▅▅▆▆▆▆▆▆▇▇▇▇▇▇███████  0.120 → 0.570`

        | rollout | execution | update | evaluation | rest | total |
        | ---: | ---: | ---: | ---: | ---: | ---: |
        | 5m00s (50 %) | 12s (2 %) | 3m20s (33 %) | 1m20s (13 %) | 13s (2 %) | 10m05s |
        ");
    }

    #[test]
    fn a_run_without_evaluations_and_steps_has_a_table_too() {
        let empty = RunSummary { run: PathBuf::from("runs/x"), ..RunSummary::default() };
        insta::assert_snapshot!(empty, @r"
        time          total      rollout    execution       update   evaluation         rest
                         0s       0s 0 %       0s 0 %       0s 0 %       0s 0 %       0s 0 %

        run folder  runs/x
        see it      tensorboard --logdir runs/x
        ");
    }
}
