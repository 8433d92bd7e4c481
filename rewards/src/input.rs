//! What rewards look at that not every attempt has.

/// Something that a reward cannot score without, and that not every recipe provides: who runs the programs looks here for what
/// to run beside them, and a recipe that can never provide it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Input {
    /// Fuel of the reference: [`Task::reference_run`](crate::Task::reference_run), counted by the runtime; with it, fuel level by
    /// level where the task has levels.
    ReferenceFuel,
    /// Memory of the reference: [`Task::reference_run`](crate::Task::reference_run).
    ReferenceMemory,
    /// What the tests say about the program that the attempt changes: [`Attempt::before`](crate::Attempt::before).
    Before,
    /// What came of tests that the attempt wrote: [`Attempt::written_tests`](crate::Attempt::written_tests).
    WrittenTests,
    /// A greedy attempt at the task: [`TaskHistory::greedy`](crate::TaskHistory::greedy).
    Greedy,
    /// A grammar of the language that programs are in.
    Grammar,
    /// Programs in Python.
    Python,
    /// [`Expected::output`](crate::Expected::output).
    Output,
    /// [`Expected::trace`](crate::Expected::trace).
    Trace,
    /// [`Expected::calls`](crate::Expected::calls).
    Calls,
    /// [`Expected::structure`](crate::Expected::structure).
    Structure,
}
