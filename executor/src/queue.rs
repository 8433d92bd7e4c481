//! Which waiting job is next: a policy without clocks, threads or workers.
//!
//! Two wishes pull apart. A step ends with its last verdict, so that long jobs should start first and short ones fill the end
//! (longest first, whose makespan is within a third of the best). And nobody should wait behind one task's many slow jobs.
//! So the work that is handed out, in fuel, goes by two accounts that are kept level:
//!
//! - *longest first*: the task whose jobs are expected to take most;
//! - *fair share*: the task that has been given least so far, by either account.
//!
//! A task's jobs leave in the order in which they came. What a job will take is the mean of what its task's latest jobs took,
//! or of everybody's where the task is new. Half of the work is shared out evenly, so a task with jobs waiting gets at
//! least half of an even share whatever the others hand in; and a long job waits for no more than its own length of fair
//! share. Fuel is the same on every machine, and so is this order.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io;

use crate::Job;

/// What a job of a task nobody knows is expected to take before anything was seen: the median of HumanEval's solutions.
const FIRST_GUESS: u64 = 5_000_000;

/// Latest jobs of a task that its mean is over.
const TASK_MEMORY: u64 = 16;

/// Latest jobs of all tasks that the mean for new tasks is over.
const OVERALL_MEMORY: u64 = 256;

/// Tasks whose costs are remembered. Those met first go first.
const MOST_REMEMBERED: usize = 16_384;

/// What jobs have in common that are expected to take alike, and that share a turn: attempts at one task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskKey([u8; 16]);

impl TaskKey {
    /// The key of everything that is called by this name.
    pub fn named(name: &str) -> Self {
        Self::of_bytes(name.as_bytes())
    }

    /// The key of jobs with these tests.
    pub(crate) fn of_tests(job: &Job) -> io::Result<Self> {
        Ok(Self::of_bytes(&serde_json::to_vec(&job.tests)?))
    }

    fn of_bytes(bytes: &[u8]) -> Self {
        let mut key = [0; 16];
        key.copy_from_slice(&blake3::hash(bytes).as_bytes()[..16]);
        Self(key)
    }
}

/// Where a waiting job stands, for taking it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    task: TaskKey,
    number: u64,
}

/// A job that left the queue to be run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Started<T> {
    pub(crate) job: T,
    /// To be handed to [`Queue::finished`] with what the job took.
    pub(crate) ticket: Ticket,
}

/// What a started job was expected to take, and who paid for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    place: Place,
    expected: u64,
    payer: Option<Payer>,
    share: u64,
    /// What its task had been given before, and since when that waited.
    service: u64,
    since: u64,
    /// Which accounts were charged.
    closings: u64,
    /// Whether jobs of its task are not known to be longer than most.
    pub(crate) is_short: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Payer {
    LongestFirst,
    FairShare,
}

/// Jobs that wait.
pub(crate) struct Queue<T> {
    /// Tasks with jobs that wait.
    tasks: HashMap<TaskKey, Waiting<T>>,
    /// The same tasks, the one with the longest jobs first; where jobs are alike, the one that was given least.
    by_cost: BTreeSet<(Reverse<u64>, u64, u64, TaskKey)>,
    /// The same tasks, the one that was given least first; where they were given the same, the one with the shortest jobs.
    by_service: BTreeSet<(u64, u64, u64, TaskKey)>,
    costs: Costs,
    /// Work handed out by each account since the queue was last empty.
    longest_first: u64,
    fair_share: u64,
    /// What a task that is not behind has been given: newcomers start here, neither ahead of all nor behind.
    even_share: u64,
    /// How often the queue was emptied.
    closings: u64,
    length: usize,
    numbers: u64,
}

struct Waiting<T> {
    jobs: VecDeque<(u64, T)>,
    /// Number of the job with which the task began to wait.
    since: u64,
    cost: u64,
    service: u64,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            tasks: HashMap::new(),
            by_cost: BTreeSet::new(),
            by_service: BTreeSet::new(),
            costs: Costs::default(),
            longest_first: 0,
            fair_share: 0,
            even_share: 0,
            closings: 0,
            length: 0,
            numbers: 0,
        }
    }
}

impl<T> Queue<T> {
    /// How many jobs wait.
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// Adds a job.
    pub(crate) fn push(&mut self, task: TaskKey, job: T) -> Place {
        let number = self.numbers;
        self.numbers += 1;
        self.length += 1;
        if let Some(waiting) = self.tasks.get_mut(&task) {
            waiting.jobs.push_back((number, job));
        } else {
            let waiting = Waiting {
                jobs: VecDeque::from([(number, job)]),
                since: number,
                cost: self.costs.expected(task),
                service: self.even_share,
            };
            self.insert(task, waiting);
        }
        Place { task, number }
    }

    /// Takes back a job that has not started.
    pub(crate) fn remove(&mut self, place: Place) -> Option<T> {
        let waiting = self.tasks.get_mut(&place.task)?;
        let at = waiting.jobs.binary_search_by_key(&place.number, |(number, _)| *number).ok()?;
        let (_, job) = waiting.jobs.remove(at)?;
        let is_idle = waiting.jobs.is_empty();
        if is_idle {
            self.take(place.task);
        }
        self.left();
        Some(job)
    }

    /// The next job, which starts now.
    pub(crate) fn pop(&mut self) -> Option<Started<T>> {
        let (task, payer) = self.next_task()?;
        let share = self.tasks.len() as u64;
        let mut waiting = self.take(task)?;
        let (number, job) = waiting.jobs.pop_front()?;
        let expected = waiting.cost;
        let ticket = Ticket {
            place: Place { task, number },
            expected,
            payer,
            share: expected / share,
            service: waiting.service,
            since: waiting.since,
            closings: self.closings,
            is_short: self.costs.is_short(task),
        };
        if let Some(account) = self.account(ticket.payer) {
            *account = account.saturating_add(expected);
        }
        self.even_share = self.even_share.saturating_add(ticket.share);
        waiting.service = waiting.service.saturating_add(expected);
        if !waiting.jobs.is_empty() {
            self.insert(task, waiting);
        }
        self.left();
        Some(Started { job, ticket })
    }

    /// The next job, unless its task's are known to be long, or nothing is known of them and that is not enough.
    pub(crate) fn pop_short(&mut self, may_be_unknown: bool) -> Option<Started<T>> {
        let (task, _) = self.next_task()?;
        let is_short = self.costs.is_short(task) && (may_be_unknown || self.costs.is_known(task));
        if is_short { self.pop() } else { None }
    }

    /// The task whose turn it is, and which account pays for it.
    fn next_task(&self) -> Option<(TaskKey, Option<Payer>)> {
        let (longest, fairest) = (self.by_cost.first()?.3, self.by_service.first()?.3);
        Some(if longest == fairest {
            // Where both accounts want the same task, neither pays for it.
            (longest, None)
        } else if self.longest_first <= self.fair_share {
            (longest, Some(Payer::LongestFirst))
        } else {
            (fairest, Some(Payer::FairShare))
        })
    }

    /// Takes a job in again that was not started after all: nobody has paid for it, and it stands where it stood.
    pub(crate) fn put_back(&mut self, started: Started<T>) -> Place {
        let Started { job, ticket } = started;
        let Ticket { place, expected, .. } = ticket;
        // Accounts that were closed meanwhile have forgotten it.
        let is_owed = ticket.closings == self.closings;
        if is_owed {
            if let Some(account) = self.account(ticket.payer) {
                *account = account.saturating_sub(expected);
            }
            self.even_share = self.even_share.saturating_sub(ticket.share);
        }
        let mut waiting = match self.take(place.task) {
            Some(mut waiting) => {
                if is_owed {
                    waiting.service = waiting.service.saturating_sub(expected);
                }
                waiting
            }
            // It was the last of its task, which was forgotten with it.
            None => Waiting {
                jobs: VecDeque::new(),
                since: ticket.since,
                cost: self.costs.expected(place.task),
                service: if is_owed { ticket.service } else { self.even_share },
            },
        };
        let at = waiting.jobs.partition_point(|(number, _)| *number < place.number);
        waiting.jobs.insert(at, (place.number, job));
        self.insert(place.task, waiting);
        self.length += 1;
        place
    }

    /// Learns what a job took.
    pub(crate) fn finished(&mut self, ticket: Ticket, fuel: u64) {
        let task = ticket.place.task;
        self.costs.learn(task, fuel);
        if let Some(mut waiting) = self.take(task) {
            waiting.cost = self.costs.expected(task);
            waiting.service = waiting.service.saturating_sub(ticket.expected).saturating_add(fuel);
            self.insert(task, waiting);
        }
    }

    fn account(&mut self, payer: Option<Payer>) -> Option<&mut u64> {
        Some(match payer? {
            Payer::LongestFirst => &mut self.longest_first,
            Payer::FairShare => &mut self.fair_share,
        })
    }

    /// Takes all jobs out.
    pub(crate) fn drain(&mut self) -> Vec<T> {
        let jobs = std::iter::from_fn(|| self.pop()).map(|started| started.job);
        jobs.collect()
    }

    fn insert(&mut self, task: TaskKey, waiting: Waiting<T>) {
        let Waiting { cost, service, since, .. } = waiting;
        self.by_cost.insert((Reverse(cost), service, since, task));
        self.by_service.insert((service, cost, since, task));
        self.tasks.insert(task, waiting);
    }

    fn take(&mut self, task: TaskKey) -> Option<Waiting<T>> {
        let waiting = self.tasks.remove(&task)?;
        let Waiting { cost, service, since, .. } = waiting;
        self.by_cost.remove(&(Reverse(cost), service, since, task));
        self.by_service.remove(&(service, cost, since, task));
        Some(waiting)
    }

    /// Counts a job that left. Accounts are closed when all are gone: what was owed to others is owed to nobody.
    fn left(&mut self) {
        self.length -= 1;
        if self.length == 0 {
            (self.longest_first, self.fair_share, self.even_share) = (0, 0, 0);
            self.closings += 1;
        }
    }
}

/// What jobs took, by task.
#[derive(Default)]
struct Costs {
    of_task: HashMap<TaskKey, Mean>,
    ages: VecDeque<TaskKey>,
    overall: Mean,
}

#[derive(Clone, Copy, Default)]
struct Mean {
    value: u64,
    seen: u64,
}

impl Mean {
    fn add(&mut self, value: u64, memory: u64) {
        self.seen = (self.seen + 1).min(memory);
        let (old, weight) = (u128::from(self.value), u128::from(self.seen));
        let mean = (old * (weight - 1) + u128::from(value)) / weight;
        self.value = u64::try_from(mean).unwrap_or(u64::MAX);
    }
}

impl Costs {
    fn expected(&self, task: TaskKey) -> u64 {
        let known = self.of_task.get(&task).copied().unwrap_or(self.overall);
        // Nothing takes nothing, or accounts would not move.
        if known.seen == 0 { FIRST_GUESS } else { known.value.max(1) }
    }

    fn is_known(&self, task: TaskKey) -> bool {
        self.of_task.contains_key(&task)
    }

    /// Whether nothing speaks against a task's jobs being as short as most are.
    fn is_short(&self, task: TaskKey) -> bool {
        self.of_task.get(&task).is_none_or(|known| known.value <= FIRST_GUESS)
    }

    fn learn(&mut self, task: TaskKey, fuel: u64) {
        self.overall.add(fuel, OVERALL_MEMORY);
        if !self.of_task.contains_key(&task) {
            if self.ages.len() >= MOST_REMEMBERED
                && let Some(oldest) = self.ages.pop_front()
            {
                self.of_task.remove(&oldest);
            }
            self.ages.push_back(task);
        }
        self.of_task.entry(task).or_default().add(fuel, TASK_MEMORY);
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
