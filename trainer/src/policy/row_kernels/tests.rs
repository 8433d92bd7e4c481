//! Each kernel beside the libtorch operations that it stands for.

use proptest::prelude::*;
use tch::{Device, Kind, Tensor};

use super::*;

/// Numbers that look random, the same in every run, exact in `kind`, and in f32.
fn numbers(shape: &[i64], seed: i64, kind: Kind) -> (Tensor, Tensor) {
    tch::manual_seed(seed);
    let stored = Tensor::randn(shape, (Kind::Float, Device::Cpu)).to_kind(kind);
    let exact = stored.to_kind(Kind::Double);
    (stored, exact)
}

/// Differs from what f64 computes by one rounding of the format, or a few of f32.
#[track_caller]
fn assert_near(found: &Tensor, wanted: &Tensor) {
    let unit = if found.kind() == Kind::BFloat16 { 2f64.powi(-8) } else { 2e-6 };
    let apart = (found.to_kind(Kind::Double) - wanted).abs() - wanted.abs() * unit;
    let largest = apart.max().double_value(&[]);
    assert!(largest <= unit * 0.5, "off by {largest}");
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![Just(Kind::Float), Just(Kind::BFloat16)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn norms_and_sums_are_libtorchs(kind in kinds(), rows in 1i64..40, width in 1i64..300, seed in 0i64..1000) {
        let ((x, exact), (w, exact_w)) =
            (numbers(&[rows, 1, width], seed, kind), numbers(&[width], seed + 1, kind));
        let wanted = &exact * (exact.square().mean_dim(-1, true, Kind::Double) + 1e-5).rsqrt() * exact_w;
        assert_near(&root_mean_square_norm(&x, &w, 1e-5), &wanted);
        let (y, exact_y) = numbers(&[rows, 1, width], seed + 2, kind);
        assert_near(&add(&x, &y), &(exact + exact_y));
    }

    #[test]
    fn norms_of_heads_are_taken_head_by_head(kind in kinds(), rows in 1i64..20, heads in 1i64..6, seed in 0i64..1000) {
        let ((x, exact), (w, exact_w)) = (numbers(&[rows, heads + 3, 1, 32], seed, kind), numbers(&[32], seed + 1, kind));
        let (x, exact) = (x.narrow(1, 1, heads), exact.narrow(1, 1, heads));
        let wanted = &exact * (exact.square().mean_dim(-1, true, Kind::Double) + 1e-5).rsqrt() * exact_w;
        assert_near(&root_mean_square_norm(&x, &w, 1e-5), &wanted);
    }

    #[test]
    fn gates_are_libtorchs(kind in kinds(), rows in 1i64..40, width in 1i64..300, seed in 0i64..1000) {
        let (both, exact) = numbers(&[rows, 1, 2 * width], seed, kind);
        let halves = (exact * 4.0).chunk(2, -1);
        assert_near(&silu_gate(&(both * 4.0)), &(halves[0].silu() * &halves[1]));
    }

    #[test]
    fn rotations_turn_pairs_and_keep_the_rest(kind in kinds(), rows in 1i64..20, heads in 1i64..6, half in 1i64..20, rest in 0i64..9, seed in 0i64..1000) {
        let (x, exact) = numbers(&[rows, heads + 2, 1, 2 * half + rest], seed, kind);
        let (x, exact) = (x.narrow(1, 0, heads), exact.narrow(1, 0, heads));
        let ((cos, exact_cos), (sin, exact_sin)) =
            (numbers(&[rows, 1, 1, 2 * half], seed + 1, kind), numbers(&[rows, 1, 1, 2 * half], seed + 2, kind));
        let turning = exact.narrow(3, 0, 2 * half);
        let (low, high) = (turning.narrow(3, 0, half), turning.narrow(3, half, half));
        let turned = &turning * exact_cos + Tensor::cat(&[-high, low], -1) * exact_sin;
        assert_near(&rotate(&x, &cos, &sin), &Tensor::cat(&[turned, exact.narrow(3, 2 * half, rest)], 3));
    }

    /// Columns behind a row's position may hold anything.
    #[test]
    fn attention_is_that_over_what_a_row_sees(
        kind in kinds(), lengths in prop::collection::vec(1i64..40, 1..9), heads in 1i64..4, group in 1i64..4, width in 1i64..10,
        window in prop::option::of(1i64..40), biased in any::<bool>(), seed in 0i64..1000,
    ) {
        let (b, d) = (lengths.len() as i64, 16 * width);
        let positions: Vec<i64> = lengths.iter().map(|length| length - 1).collect();
        let (query, exact_q) = numbers(&[b, heads * group, 1, d], seed, kind);
        let (mut keys, _) = numbers(&[b + 1, 40, heads, d], seed + 1, kind);
        let (mut values, _) = numbers(&[b + 1, 40, heads, d], seed + 2, kind);
        for (row, length) in (0..).zip(&lengths) {
            for cache in [&keys, &values] {
                let _ = cache.get(row).narrow(0, *length, 40 - length).fill_(f64::NAN);
            }
        }
        let ((new_key, _), (new_value, _)) =
            (numbers(&[b, heads, 1, d], seed + 3, kind), numbers(&[b, heads, 1, d], seed + 4, kind));
        store(&mut keys, &positions, &new_key);
        store(&mut values, &positions, &new_value);
        let scale = 0.2;
        let bias_hl = Tensor::randn([heads * group, 40], (Kind::Float, Device::Cpu));
        let bias = biased.then_some(&bias_hl);
        let rows = DecodeRows { keys: &keys, values: &values, positions: &positions, window, scale, bias_hl: bias };
        let found = attend(&query, &rows);
        for (row, length) in (0..).zip(&lengths) {
            let new = |cache: &Tensor| cache.get(row).get(length - 1);
            prop_assert_eq!(new(&keys), new_key.get(row).squeeze_dim(1));
            prop_assert_eq!(new(&values), new_value.get(row).squeeze_dim(1));
            let begin = window.map_or(0, |window| (length - window).max(0));
            let seen = |cache: &Tensor| {
                let seen = cache.get(row).narrow(0, begin, length - begin).to_kind(Kind::Double);
                seen.repeat_interleave_self_int(group, 1, None::<i64>).transpose(0, 1)
            };
            let mut scores = exact_q.get(row).matmul(&seen(&keys).transpose(1, 2)) * scale;
            if let Some(bias_hl) = bias {
                scores += bias_hl.narrow(1, 0, length - begin).flip([1]).unsqueeze(1);
            }
            let weights = scores.softmax(-1, Kind::Double);
            assert_near(&found.get(row), &weights.matmul(&seen(&values)));
        }
    }
}

/// What is not a number must not look like one.
#[test]
fn nan_stays_nan() {
    let nan = Tensor::full([2, 1, 64], f64::NAN, (Kind::BFloat16, Device::Cpu));
    let one = nan.ones_like();
    let is_nan = |x: &Tensor| x.isnan().all() == Tensor::from(true);
    assert!(is_nan(&add(&nan, &one)) && is_nan(&silu_gate(&nan)));
    assert!(is_nan(&root_mean_square_norm(&nan, &one.get(0).flatten(0, -1), 1e-6)));
    let (query, cache) = (nan.view([2, 1, 1, 64]), one.view([2, 1, 1, 64]));
    let rows = DecodeRows {
        keys: &cache,
        values: &cache,
        positions: &[0, 0],
        window: None,
        scale: 1.0,
        bias_hl: None,
    };
    assert!(is_nan(&attend(&query, &rows)));
}
