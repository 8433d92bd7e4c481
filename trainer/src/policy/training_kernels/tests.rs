//! Each kernel beside libtorch's operations and their gradients, in f64.

use proptest::prelude::*;
use tch::{Device, Kind, Tensor};

use super::*;

/// Numbers that look random, the same in every run, exact in `kind`, and in f64, with a gradient to come.
fn numbers(shape: &[i64], seed: i64, kind: Kind) -> (Tensor, Tensor) {
    tch::manual_seed(seed);
    let stored = Tensor::randn(shape, (Kind::Float, Device::Cpu)).to_kind(kind);
    let exact = stored.to_kind(Kind::Double).set_requires_grad(true);
    (stored, exact)
}

/// Differs from what f64 computes by a rounding of the format of what was computed with, beside the largest number.
#[track_caller]
fn assert_near(found: &Tensor, wanted: &Tensor, kind: Kind) {
    let unit = if kind == Kind::BFloat16 { 2f64.powi(-7) } else { 3e-6 };
    assert_eq!(found.size(), wanted.size());
    let apart = (found.to_kind(Kind::Double) - wanted).abs().max().double_value(&[]);
    let largest = wanted.abs().max().double_value(&[]).max(1.0);
    assert!(apart <= unit * largest, "off by {apart} beside {largest}");
}

/// Sends `gradient` back from `output`.
fn backward(output: &Tensor, gradient: &Tensor) {
    (output * gradient.to_kind(Kind::Double)).sum(Kind::Double).backward();
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![Just(Kind::Float), Just(Kind::BFloat16)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn norms_and_their_gradients_are_libtorchs(
        kind in kinds(), rows in 1i64..200, width in 1i64..20, seed in 0i64..1000,
    ) {
        let shape = [rows, 16 * width];
        let ((x, exact_x), (y, exact_y)) = (numbers(&shape, seed, kind), numbers(&shape, seed + 1, kind));
        let ((w, exact_w), (g, _)) = (numbers(&[16 * width], seed + 2, kind), numbers(&shape, seed + 3, kind));
        let wanted = exact_x.rms_norm([16 * width], Some(&exact_w), 1e-5);
        let normed = normalise(&x, &w, 1e-5);
        assert_near(&normed.out_te, &wanted.detach(), kind);
        assert_eq!(normalise_again(&x, &w, &normed.scale_t), normed.out_te);
        backward(&wanted, &g);
        let mut gradient = x.zeros_like();
        let by_weight = normalise_backward(&x, &w, &normed.scale_t, &g, &mut gradient);
        assert_near(&gradient, &exact_x.grad(), kind);
        assert_near(&by_weight, &exact_w.grad(), Kind::Float);
        let (sum, of_sum) = add_and_normalise(&x, y.copy(), &w, 1e-5);
        assert_near(&sum, &(&exact_x + &exact_y).detach(), kind);
        assert_eq!(add(&x, y.copy()), sum);
        assert_eq!(of_sum.out_te, normalise(&sum, &w, 1e-5).out_te);
    }

    #[test]
    fn gates_and_their_gradients_are_libtorchs(
        kind in kinds(), rows in 1i64..200, width in 1i64..300, seed in 0i64..1000,
    ) {
        let (both, exact) = numbers(&[rows, 2 * width], seed, kind);
        let (g, _) = numbers(&[rows, width], seed + 1, kind);
        let halves = exact.chunk(2, -1);
        let wanted = halves[0].silu() * &halves[1];
        let inner = gate(&both);
        assert_near(&inner, &wanted.detach(), kind);
        backward(&wanted, &g);
        let (mut by_both, mut gradient) = (both.copy(), g.copy());
        gate_backward(&mut by_both, &mut gradient);
        assert_near(&by_both, &exact.grad(), kind);
        assert_eq!(gradient, inner);
    }

    #[test]
    fn what_turned_turns_back(
        kind in kinds(), rows in 1i64..100, heads in 1i64..5, half in 1i64..20, rest in 0i64..9, seed in 0i64..1000,
    ) {
        let width = 2 * half + rest;
        let (x, _) = numbers(&[rows, (heads + 2) * width], seed, kind);
        let angles = numbers(&[rows, half], seed + 1, Kind::Float).0;
        let angles = Tensor::cat(&[&angles, &angles], 1);
        let (cos, sin) = (angles.cos().to_kind(kind), angles.sin().to_kind(kind));
        let (shape, mut turned) = ((heads as usize, width as usize), x.copy());
        rotate(&mut turned, shape, (&cos, &sin), Direction::Forward);
        let column = |x: &Tensor| x.to_kind(Kind::Double).unsqueeze(1).narrow(2, 0, half);
        let (column_cos, column_sin) = (column(&cos), column(&sin));
        let wanted = |x: &Tensor, sin: &Tensor| {
            let by_head = x.narrow(1, 0, heads * width).view([rows, heads, width]).to_kind(Kind::Double);
            let (low, high) = (by_head.narrow(2, 0, half), by_head.narrow(2, half, half));
            let parts = [
                &low * &column_cos - &high * sin,
                &high * &column_cos + &low * sin,
                by_head.narrow(2, 2 * half, rest),
            ];
            Tensor::cat(&[Tensor::cat(&parts, 2).view([rows, -1]), x.narrow(1, heads * width, 2 * width)], 1)
        };
        assert_near(&turned, &wanted(&x, &column_sin), kind);
        let wanted_back = wanted(&turned, &column_sin.neg());
        rotate(&mut turned, shape, (&cos, &sin), Direction::Back);
        assert_near(&turned, &wanted_back, kind);
        // The squares of rounded cosines and sines do not add up to one in bf16.
        if kind == Kind::Float {
            assert_near(&turned, &x.to_kind(Kind::Double), kind);
        }
    }

    #[test]
    fn softmaxes_and_their_gradients_are_libtorchs(
        rows in 1i64..60, width in 2i64..6000, temperature in 0.3..2.0, by_more in any::<bool>(), seed in 0i64..1000,
    ) {
        let (logits, exact) = numbers(&[rows, width], seed, Kind::Float);
        let (logits, exact_logits) = (logits * 4.0, &exact * 4.0);
        let target: Vec<i64> = (0..rows).map(|row| (row * 7919 + seed) % width).collect();
        let scaled: Tensor = &exact_logits / temperature;
        let log_sum = scaled.logsumexp(-1, false);
        let log_softmax = scaled.log_softmax(-1, Kind::Double);
        let logprob = log_softmax.gather(-1, &Tensor::from_slice(&target).unsqueeze(-1), false).squeeze_dim(-1);
        let entropy = -(log_softmax.exp() * &log_softmax).sum_dim_intlist(-1, false, Kind::Double);
        let found = log_probabilities(&logits, &target, temperature);
        assert_near(&found.logprob_n, &logprob.detach(), Kind::Float);
        assert_near(&found.entropy_n, &entropy.detach(), Kind::Float);
        assert_near(&found.log_sum_n, &log_sum.detach(), Kind::Float);
        let [by_logprob, by_entropy, by_log_sum] = [1, 2, 3].map(|n| numbers(&[rows], seed + n, Kind::Float).0);
        let double = |x: &Tensor| x.to_kind(Kind::Double);
        let mut loss = &logprob * double(&by_logprob);
        if by_more {
            loss = loss + &entropy * double(&by_entropy) + &log_sum * double(&by_log_sum);
        }
        loss.sum(Kind::Double).backward();
        let mut gradient = logits.copy();
        let by = ByTarget {
            logprob_n: &by_logprob,
            entropy_n: by_more.then_some(&by_entropy),
            log_sum_n: by_more.then_some(&by_log_sum),
        };
        differentiate(&mut gradient, &target, temperature, (&found.entropy_n, &found.log_sum_n), &by);
        assert_near(&(gradient * 4.0), &exact.grad(), Kind::Float);
    }

    /// The definition: one masked square over everything.
    #[test]
    fn attention_and_its_gradient_are_those_of_a_masked_square(
        kind in kinds(), groups in prop::collection::vec((1usize..40, prop::collection::vec(1usize..60, 0..4)), 1..4),
        key_value_heads in 1usize..3, group in 1usize..4, head_dim in 1usize..40,
        window in prop::option::of(1usize..50), seed in 0i64..1000,
    ) {
        let (stretches, visible, t) = squares(&groups, window);
        let heads = Heads { heads: key_value_heads * group, key_value_heads, head_dim, scale: 0.3, window };
        let (h, k, d) = (heads.heads as i64, key_value_heads as i64, head_dim as i64);
        let (qkv, exact) = numbers(&[t, (h + 2 * k) * d], seed, kind);
        let by_head = exact.view([t, h + 2 * k, d]).transpose(0, 1);
        let shared = |first: i64| by_head.narrow(0, first, k).repeat_interleave_self_int(h / k, 0, None::<i64>);
        let scores = by_head.narrow(0, 0, h).matmul(&shared(h).transpose(1, 2)) * 0.3;
        let hidden = visible.logical_not();
        let weights = scores.masked_fill(&hidden, f64::NEG_INFINITY).softmax(-1, Kind::Double);
        let wanted = weights.matmul(&shared(h + k)).transpose(0, 1).reshape([t, h * d]);
        let attended = attend(&qkv, &stretches, &heads);
        assert_near(&attended.out_tq, &wanted.detach(), kind);
        let (g, _) = numbers(&[t, h * d], seed + 1, kind);
        backward(&wanted, &g);
        let by_qkv = attend_backward(&qkv, &attended, &g, &stretches, &heads);
        assert_near(&by_qkv, &exact.grad(), kind);
    }

    #[test]
    fn rows_are_added_where_the_index_says(
        kind in kinds(), index in prop::collection::vec(0i64..9, 1..40), width in 1i64..70, seed in 0i64..1000,
    ) {
        let (x, exact) = numbers(&[index.len() as i64, width], seed, kind);
        let mut sums = Tensor::ones([9, width], (Kind::Float, Device::Cpu));
        let wanted = sums.to_kind(Kind::Double).index_add(0, &Tensor::from_slice(&index), &exact.detach());
        add_rows(&mut sums, &index, &x);
        assert_near(&sums, &wanted, Kind::Float);
    }
}

/// Stretches of prompts with these lengths and their completions', which tokens see which, and how many there are.
fn squares(groups: &[(usize, Vec<usize>)], window: Option<usize>) -> (Vec<Stretch>, Tensor, i64) {
    let (mut stretches, mut next) = (Vec::new(), 0);
    for (prompt, completions) in groups {
        let prompt = next..next + prompt;
        next = prompt.end;
        stretches.push(Stretch { prompt: prompt.start..prompt.start, tokens: prompt.clone() });
        for completion in completions {
            stretches.push(Stretch { prompt: prompt.clone(), tokens: next..next + completion });
            next += completion;
        }
    }
    let mut visible = vec![false; next * next];
    for Stretch { prompt, tokens } in &stretches {
        for token in tokens.clone() {
            let seen: Vec<usize> = prompt.clone().chain(tokens.start..token + 1).collect();
            let first = window.map_or(0, |window| seen.len().saturating_sub(window));
            for other in &seen[first..] {
                visible[token * next + other] = true;
            }
        }
    }
    let t = next as i64;
    (stretches, Tensor::from_slice(&visible).view([t, t]), t)
}

/// What is not a number must not look like one.
#[test]
fn nan_stays_nan() {
    let nan = Tensor::full([3, 64], f64::NAN, (Kind::Float, Device::Cpu));
    let one = nan.ones_like();
    let is_nan = |x: &Tensor| x.isnan().all() == Tensor::from(true);
    assert!(is_nan(&normalise(&nan, &one.get(0), 1e-6).out_te) && is_nan(&gate(&nan)));
    let heads = Heads { heads: 2, key_value_heads: 1, head_dim: 16, scale: 1.0, window: None };
    let stretches = [Stretch { prompt: 0..0, tokens: 0..3 }];
    let attended = attend(&nan, &stretches, &heads);
    assert!(is_nan(&attended.out_tq));
    assert!(is_nan(&attend_backward(
        &nan,
        &attended,
        &one.narrow(1, 0, 32).contiguous(),
        &stretches,
        &heads
    )));
    let said = log_probabilities(&nan, &[0, 1, 2], 1.0);
    assert!(is_nan(&said.logprob_n) && is_nan(&said.entropy_n));
}

#[test]
fn a_kernel_that_gets_no_memory_is_exhaustion_and_not_the_end_of_the_process() {
    let work = |index| drop(pieces::zeros(if index == 5 { 1 << 58 } else { 1 << 10 }));
    let kernel = || super::super::row_kernels::threads::for_each(50, &work);
    let exhausted = crate::memory::or_exhausted(kernel).unwrap_err();
    assert_eq!(
        exhausted.message,
        format!("not enough memory: a kernel needs {} bytes to work in", 1_u64 << 60)
    );
    let small = || super::super::row_kernels::threads::for_each(5, &work);
    assert_eq!(crate::memory::or_exhausted(small), Ok(()));
}
