//! A curve in one line of text.

/// From lowest to highest.
const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// `values` as at most `width` blocks, each the mean of as many values as there are to a block.
///
/// The lowest block drawn is the lowest mean, the highest the highest; a flat curve is drawn in the middle. Values that
/// are not finite are left out of the means, and a block of nothing else is a space.
pub fn sparkline(values: &[f64], width: usize) -> String {
    let columns = values.len().min(width);
    let bounds = |column: usize| column * values.len() / columns;
    let means: Vec<Option<f64>> =
        (0..columns).map(|column| mean(&values[bounds(column)..bounds(column + 1)])).collect();
    let known = || means.iter().flatten().copied();
    let low = known().fold(f64::INFINITY, f64::min);
    let high = known().fold(f64::NEG_INFINITY, f64::max);
    let block = |value: f64| {
        if high > low {
            let height = (value - low) / (high - low) * BLOCKS.len() as f64;
            BLOCKS[(height as usize).min(BLOCKS.len() - 1)]
        } else {
            BLOCKS[BLOCKS.len() / 2 - 1]
        }
    };
    means.iter().map(|mean| mean.map_or(' ', block)).collect()
}

fn mean(values: &[f64]) -> Option<f64> {
    let finite = || values.iter().copied().filter(|value| value.is_finite());
    let count = finite().count();
    (count > 0).then(|| finite().sum::<f64>() / count as f64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn curves_look_like_themselves() {
        let ramp: Vec<f64> = (0..80).map(f64::from).collect();
        assert_eq!(sparkline(&ramp, 8), "▁▂▃▄▅▆▇█");
        assert_eq!(sparkline(&[0.0, 1.0], 60), "▁█");
        assert_eq!(sparkline(&[0.3, 0.3, 0.3], 60), "▄▄▄");
        assert_eq!(sparkline(&[0.0, f64::NAN, 1.0], 60), "▁ █");
        assert_eq!(sparkline(&[], 60), "");
        assert_eq!(sparkline(&[1.0], 0), "");
    }

    proptest! {
        #[test]
        fn it_fits_and_its_ends_are_drawn(values in prop::collection::vec(-1.0..1.0f64, 2..300), width in 2..80usize) {
            let drawn: Vec<char> = sparkline(&values, width).chars().collect();
            prop_assert_eq!(drawn.len(), values.len().min(width));
            let flat = drawn.iter().all(|block| *block == '▄');
            prop_assert!(flat || (drawn.contains(&'▁') && drawn.contains(&'█')));
        }
    }
}
