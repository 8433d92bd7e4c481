//! Laws of recipes: any that resolves reads back as itself, and no text makes the reader panic.

use std::num::{NonZeroU64, NonZeroUsize};

use proptest::prelude::*;
use rltrain::algorithm::AdvantageEstimator::{DrGrpo, Gae, Grpo, Rloo};
use rltrain::algorithm::{Aggregation, Preset};
use rltrain::critic::CriticConfig;
use rltrain::optim::Schedule;
use rltrain::policy::{Compute, DeviceChoice};
use rltrain::recipe::{Recipe, RecipeError};
use rltrain_rewards::BrevityConfig;

use super::keys::full;
use super::render;

prop_compose! {
    fn rollout_and_model()(
        (seed, steps) in (0..=i64::MAX as u64, 1..=i64::MAX as u64),
        (group_size, max_batch) in (2..1000usize, 1..1000usize),
        temperature in 1e-300..1e300f64,
        stop in prop::collection::vec(".+", 0..4),
        compute in prop::sample::select(vec![Compute::Auto, Compute::Bf16, Compute::F32]),
        device in prop::sample::select(vec![DeviceChoice::Auto, DeviceChoice::Cpu, DeviceChoice::Cuda(3)]),
        path in "[^\0]+",
    ) -> Recipe {
        let mut recipe = full();
        (recipe.seed, recipe.steps) = (seed, steps);
        recipe.rollout.group_size = NonZeroUsize::new(group_size).unwrap();
        recipe.rollout.max_batch = NonZeroUsize::new(max_batch).unwrap();
        recipe.rollout.temperature = temperature;
        recipe.rollout.stop = stop;
        (recipe.model.compute, recipe.model.device, recipe.model.path) = (compute, device, path.into());
        recipe
    }
}

prop_compose! {
    fn any_recipe()(
        mut recipe in rollout_and_model(),
        clip in (f64::MIN_POSITIVE..1.0, f64::MIN_POSITIVE..10.0),
        advantage in prop::sample::select(vec![Grpo, DrGrpo, Rloo]),
        preset in prop::option::of(prop::sample::select(Preset::EVERY.to_vec())),
        aggregation in prop::sample::select(vec![Aggregation::TokenMean, Aggregation::SequenceMeanTokenMean]),
        schedule in prop::sample::select(vec![Schedule::Constant, Schedule::Linear, Schedule::Cosine]),
        learning_rate in 1e-300..1.0f64,
        betas in (0.0..1.0f64, 0.0..1.0f64),
        samples in 1..100usize,
        every in 1..=i64::MAX as u64,
        brevity in prop::option::of(Just(BrevityConfig::default())),
    ) -> Recipe {
        match preset {
            Some(preset) => recipe.algorithm = preset.config(),
            None => {
                (recipe.algorithm.clip_low, recipe.algorithm.clip_high) = clip;
                (recipe.algorithm.advantage, recipe.algorithm.aggregation) = (advantage, aggregation);
            }
        }
        if recipe.algorithm.advantage != Gae {
            // Nothing reads it.
            recipe.critic = CriticConfig::default();
        }
        (recipe.optimizer.schedule, recipe.optimizer.learning_rate) = (schedule, learning_rate);
        (recipe.optimizer.beta1, recipe.optimizer.beta2) = betas;
        recipe.eval.samples = NonZeroUsize::new(samples).unwrap();
        recipe.eval.k = (1..=samples).rev().step_by(7).collect();
        recipe.checkpoint.keep_best = Some(format!("eval/pass@{samples}"));
        recipe.checkpoint.every = NonZeroU64::new(every).unwrap();
        recipe.rewards.brevity = brevity;
        recipe
    }
}

/// Texts that are nearly recipes: real lines with one thing wrong.
fn nearly_a_recipe() -> impl Strategy<Value = String> {
    let lines: Vec<String> = full().resolved().lines().map(str::to_owned).collect();
    let count = lines.len();
    (prop::sample::subsequence(lines, 0..=count), any::<prop::sample::Index>(), "\\PC{0,8}").prop_map(
        |(mut lines, place, junk)| {
            if !lines.is_empty() {
                let line = place.index(lines.len());
                let middle =
                    lines[line].char_indices().map(|(at, _)| at).nth(lines[line].chars().count() / 2);
                lines[line].insert_str(middle.unwrap_or(0), &junk);
            }
            lines.join("\n")
        },
    )
}

proptest! {
    #[test]
    fn a_resolved_recipe_reads_back_as_the_same_recipe(recipe in any_recipe()) {
        let resolved = recipe.resolved();
        let again = Recipe::parse("resolved.toml", &resolved);
        let again = again.unwrap_or_else(|error| panic!("{}\n{resolved}", render(&error)));
        prop_assert_eq!(again.hash(), recipe.hash());
        prop_assert_eq!(again, recipe);
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in any::<String>()) {
        if let Err(error) = Recipe::parse("any.toml", &text) {
            prop_assert!(!render(&error).is_empty());
        }
    }

    #[test]
    fn what_is_nearly_a_recipe_is_read_or_explained(text in nearly_a_recipe()) {
        if let Err(RecipeError::Invalid(invalid)) = Recipe::parse("nearly.toml", &text) {
            prop_assert!(!invalid.problems.is_empty());
            prop_assert!(!render(&*invalid).is_empty());
        }
    }
}
