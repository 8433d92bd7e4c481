use super::content::{Series, rounded, thinned};
use super::tallies::Tallies;
use super::*;
use crate::telemetry::{Line, Metrics};

#[test]
fn thinning_keeps_the_ends_and_the_order() {
    assert_eq!(thinned(3, 5), [0, 1, 2]);
    assert_eq!(thinned(0, 5), [0_usize; 0]);
    for count in [5, 6, 7, 99, 1001, 54_321] {
        let kept = thinned(count, 5);
        assert_eq!((kept.len(), kept[0], kept[4]), (5, 0, count - 1));
        assert!(kept.windows(2).all(|pair| pair[0] < pair[1]), "{kept:?}");
    }
}

#[test]
fn a_metric_that_comes_late_or_is_not_a_number_leaves_holes() {
    let line = |step, values: &[(&str, f64)]| {
        let mut metrics = Metrics::new();
        values.iter().for_each(|(name, value)| metrics.push(name, *value));
        Line { step, metrics }
    };
    let series = Series::of(&[line(1, &[("reward", 0.25)]), line(2, &[("reward", f64::NAN), ("kl", 0.5)])]);
    assert_eq!(series.steps, [1, 2]);
    assert_eq!(series.columns["reward"], [Some(0.25), None]);
    assert_eq!(series.columns["kl"], [None, Some(0.5)]);
    assert_eq!(rounded(1.0 / 3.0), 0.333333);
}

#[test]
fn a_long_run_has_as_many_columns_as_there_is_room_for() {
    for steps in [1_u64, 99, 100, 101, 1000, 12_345] {
        let (_, _, buckets) = Tallies::over((1..=steps).collect::<Vec<u64>>().into_iter()).finish();
        assert!(buckets.len() <= MOST_BUCKETS && buckets[0] == 1, "{steps}: {}", buckets.len());
    }
}

/// What a model writes may look like markup: it is in the page as data alone.
#[test]
fn nothing_in_a_run_becomes_markup() {
    let run = tempfile::tempdir().unwrap();
    let folder = run.path().join("<b>&\"{{script}}");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("recipe.toml"), "# </script><script>alert(1)</script> {{data}}").unwrap();
    let made = page(&Content::read(&folder).unwrap(), Some(10)).unwrap();
    assert!(!made.contains("alert(1)") && made.contains("&lt;b>&amp;&quot;{{script}}"), "{}", &made[..400]);
    assert_eq!(made.matches("</script>").count(), 3);
    assert!(made.contains("data-refresh=\"10\""));
}

#[test]
fn a_folder_that_is_no_run_is_refused() {
    let run = tempfile::tempdir().unwrap();
    let error = Content::read(run.path()).unwrap_err().to_string();
    assert!(error.contains("is not the folder of a run"), "{error}");
}
