//! Who is evaluated, on what, and in which surroundings.

use crate::critic::verifier::Verifier;
use crate::environment::Environment;
use crate::policy::Policy;
use crate::tasks::TaskSet;

/// A policy that attempts tasks. Made by a run for its held-out tasks, and by `rltrain eval`; read by searches.
#[derive(Clone, Copy)]
pub struct Examinee<'a> {
    /// Who attempts.
    pub policy: &'a Policy,
    /// Prompts and the sandbox.
    pub environment: &'a Environment,
    /// Who foretells what comes of attempts, if anybody does.
    pub verifier: Option<&'a Verifier>,
    /// What is attempted.
    pub tasks: &'a TaskSet,
    /// Updates behind the policy, which random numbers derive from.
    pub step: u64,
}
