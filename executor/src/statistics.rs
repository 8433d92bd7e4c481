//! What an executor has done so far.

/// Counts since the executor was started, and what is under way. Unlike verdicts, these depend on the machine and its load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExecutorStatistics {
    /// Jobs that were handed in.
    pub submitted: u64,
    /// Of these, answered from memory.
    pub memory_hits: u64,
    /// Of these, answered from the disk.
    pub disk_hits: u64,
    /// Of these, the same as one under way, whose verdict they share.
    pub shared: u64,
    /// Of these, the ones that had to be run: neither known nor under way.
    pub misses: u64,
    /// Jobs taken back before they started.
    pub cancelled: u64,
    /// Jobs given to a second worker after the first was lost or failed with it.
    pub retries: u64,
    /// Jobs that ended without a verdict, through no fault of the program.
    pub failures: u64,
    /// Workers that were lost, could not be started, or were given up after a failure of the sandbox; servers that were lost.
    pub workers_lost: u64,
    /// Jobs that wait for a worker now.
    pub waiting: usize,
    /// Jobs that workers have now.
    pub running: usize,
}
