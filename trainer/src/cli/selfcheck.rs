//! `rltrain selfcheck RECIPE`: whether gradients depend on how they are computed.

use std::path::PathBuf;

use clap::Args;

use super::failure::Failure;
use super::print_line;
use crate::recipe::Recipe;
use crate::selfcheck::{SelfCheck, selfcheck};
use crate::session::{Session, Start};

/// Tensors that are named for each way to compute the gradient: the ones that differ most.
const NAMED: usize = 3;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The recipe whose first batch is sampled, executed, scored and differentiated
    #[arg(value_name = "RECIPE")]
    recipe: PathBuf,
    /// Print the difference of every tensor
    #[arg(long)]
    all: bool,
}

/// Samples, compares, prints, and leaves nothing behind.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut recipe = Recipe::load(&arguments.recipe).map_err(Failure::input)?;
    let folder = tempfile::tempdir().map_err(Failure::world)?;
    recipe.run = folder.path().join("run");
    let mut session = Session::start_or_resume(&recipe, &Start::default())?;
    let Some(check) = selfcheck(&mut session, &recipe)? else {
        return Err(Failure::world(NothingToCheck));
    };
    print(&check, arguments.all);
    if check.holds() { Ok(()) } else { Err(Failure::world(Differs)) }
}

fn print(check: &SelfCheck, all: bool) {
    let SelfCheck { attempts, tokens, made_up, ways, bounds: (gradients, nats), logprobs: (mean, most) } =
        check;
    print_line(format_args!("{attempts} attempts, {tokens} trained tokens"));
    if *made_up {
        print_line("no group had attempts of different rewards: advantages of 1 and -1 were made up");
    }
    print_line(format_args!(
        "\nlogprobs of the rollout and of the update: {mean:.1e} nats apart on average, {most:.1e} at most (bound {nats:.0e} on average)"
    ));
    for way in ways {
        let worst = way.differences.first().map_or(0.0, |(_, difference)| *difference);
        print_line(format_args!(
            "\n{}: tensors differ by at most {worst:.1e} of what was added up (bound {gradients:.0e}), {:.1e} of what came of it",
            way.name, way.of_sum
        ));
        let shown = if all { way.differences.len() } else { NAMED };
        for (name, difference) in way.differences.iter().take(shown) {
            print_line(format_args!("  {difference:.1e}  {name}"));
        }
    }
}

/// Every attempt was lost to the infrastructure.
#[derive(Debug, thiserror::Error)]
#[error("no attempt of the first step has a verdict, so there is no gradient to compare")]
struct NothingToCheck;

/// A bug of ours, or of the libraries below.
#[derive(Debug, thiserror::Error)]
#[error(
    "the gradient depends on how it is computed by more than rounding explains; please report the lines above with your recipe"
)]
struct Differs;
