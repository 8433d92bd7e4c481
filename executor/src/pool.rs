//! The parent's side: jobs in, verdicts out, worker processes in between.

use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::mpsc::{Receiver, Sender};
use tokio::sync::{Mutex, mpsc, watch};

use crate::module_cache::{ModuleCache, Prepared};
use crate::protocol;
use crate::verdict_cache::{Key, Slot, VerdictCache, key};
use crate::worker_process::{WorkerCommand, WorkerProcess};
use crate::{ExecutorConfig, InfraError, Job, Limits, Runtime, RuntimeFiles, Verdict};

/// Jobs that may wait for a worker.
const MOST_WAITING: usize = 65_536;

/// Workers that a job is tried on.
const ATTEMPTS: usize = 2;

/// Runs programs in sandboxes, on as many worker processes as the machine has cores.
///
/// Started once per run and shared by reference. When it is dropped, its workers are killed, and jobs still under way end
/// with [`InfraError::Stopped`].
pub struct Executor {
    runtime: Runtime,
    orders: Sender<Order>,
    verdicts: Arc<VerdictCache>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

/// A verdict to come.
#[must_use = "a job that nobody waits for is run in vain"]
pub struct Pending {
    slot: Arc<Slot>,
}

/// What to start an executor with, where the defaults of [`Executor::start`] do not fit.
pub struct StartOptions {
    /// Where compiled modules are kept.
    pub cache: ModuleCache,
    /// How workers are started.
    pub worker: WorkerCommand,
}

/// A job on its way. Whatever happens to it, its slot gets decided.
struct Order {
    key: Key,
    slot: Arc<Slot>,
    verdicts: Arc<VerdictCache>,
    request: Vec<u8>,
    limits: Limits,
}

impl Drop for Order {
    fn drop(&mut self) {
        // Does nothing after a decision.
        self.slot.decide(Err(InfraError::Stopped));
    }
}

impl Executor {
    /// Starts the workers: this program again, with the argument `exec-worker`. Compiles the runtime first if this machine
    /// has not done so yet, and says so on stderr.
    ///
    /// # Errors
    ///
    /// If the runtime's files are missing or damaged, or a worker cannot be started.
    pub fn start(config: &ExecutorConfig, files: &RuntimeFiles) -> Result<Self, InfraError> {
        let options = StartOptions { cache: ModuleCache::of_user()?, worker: WorkerCommand::this_program()? };
        Self::start_with(config, files, &options, &mut |message| {
            // Progress is a courtesy; a closed stderr must not stop a run.
            let _ = writeln!(io::stderr(), "{message}");
        })
    }

    /// Starts the workers; `progress` is told before and after something that takes long.
    ///
    /// # Errors
    ///
    /// As [`Executor::start`].
    pub fn start_with(
        config: &ExecutorConfig,
        files: &RuntimeFiles,
        options: &StartOptions,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Self, InfraError> {
        let prepared = options.cache.prepare(config.runtime, files, progress)?;
        let count = config.workers.or_else(|| std::thread::available_parallelism().ok());
        let count = count.unwrap_or(NonZeroUsize::MIN).get();
        let (orders, waiting) = mpsc::channel(MOST_WAITING);
        let (stop, stopped) = watch::channel(false);
        let (report, started) = std::sync::mpsc::channel();
        let command = options.worker.clone();
        let thread = std::thread::Builder::new().name("executor".to_owned()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            match runtime {
                Ok(runtime) => {
                    runtime.block_on(supervise(
                        count,
                        Arc::new((command, prepared)),
                        waiting,
                        stopped,
                        report,
                    ));
                }
                Err(error) => _ = report.send(Err(not_ready(&error))),
            }
        });
        let thread = thread.map_err(|error| not_ready(&error))?;
        started.recv().map_err(|_| InfraError::Stopped)??;
        Ok(Self { runtime: config.runtime, orders, verdicts: Arc::default(), stop, thread: Some(thread) })
    }

    /// Hands in a job and returns at once. A duplicate of a job that is under way or decided is not run again.
    pub fn submit(&self, job: Job) -> Pending {
        let key = match key(self.runtime, &job) {
            Ok(key) => key,
            Err(error) => {
                let slot = Arc::<Slot>::default();
                slot.decide(Err(InfraError::TooLarge(error.to_string())));
                return Pending { slot };
            }
        };
        let (slot, is_new) = self.verdicts.slot(key);
        if is_new && let Err(error) = self.enqueue(key, &slot, &job) {
            self.verdicts.decide(&key, &slot, Err(error));
        }
        Pending { slot }
    }

    fn enqueue(&self, key: Key, slot: &Arc<Slot>, job: &Job) -> Result<(), InfraError> {
        if job.tests.is_empty() {
            return Err(InfraError::NoTests);
        }
        let request = protocol::encode(job).map_err(|error| InfraError::TooLarge(error.to_string()))?;
        // Made only once nothing can fail but the sending: it decides its slot when dropped.
        let permit = self.orders.try_reserve().map_err(|error| match error {
            mpsc::error::TrySendError::Full(()) => InfraError::QueueFull(MOST_WAITING),
            mpsc::error::TrySendError::Closed(()) => InfraError::Stopped,
        })?;
        permit.send(Order {
            key,
            slot: Arc::clone(slot),
            verdicts: Arc::clone(&self.verdicts),
            request,
            limits: job.limits,
        });
        Ok(())
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported by itself.
            let _ = thread.join();
        }
    }
}

impl Pending {
    /// Waits for the verdict.
    ///
    /// # Errors
    ///
    /// If there is none, through no fault of the program.
    pub fn wait(self) -> Result<Verdict, InfraError> {
        self.slot.wait()
    }
}

type Launch = Arc<(WorkerCommand, Prepared)>;

/// Starts the workers, reports, and keeps them busy until told to stop.
async fn supervise(
    count: usize,
    launch: Launch,
    waiting: Receiver<Order>,
    mut stopped: watch::Receiver<bool>,
    report: std::sync::mpsc::Sender<Result<(), InfraError>>,
) {
    let mut starting = tokio::task::JoinSet::new();
    for _ in 0..count {
        let launch = Arc::clone(&launch);
        starting.spawn(async move { WorkerProcess::start(&launch.0, &launch.1).await });
    }
    let mut workers = Vec::with_capacity(count);
    while let Some(started) = starting.join_next().await {
        match started.unwrap_or(Err(InfraError::Stopped)) {
            Ok(worker) => workers.push(worker),
            Err(error) => {
                // Nobody listens if the caller is gone.
                let _ = report.send(Err(error));
                return;
            }
        }
    }
    if report.send(Ok(())).is_err() {
        return;
    }
    let waiting = Arc::new(Mutex::new(waiting));
    let mut serving = tokio::task::JoinSet::new();
    for worker in workers {
        serving.spawn(serve(worker, Arc::clone(&launch), Arc::clone(&waiting)));
    }
    // Dropping the set ends its tasks, which kills their workers and decides their orders.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

/// Gives jobs to one worker, and replaces it when it is lost.
async fn serve(worker: WorkerProcess, launch: Launch, waiting: Arc<Mutex<Receiver<Order>>>) {
    let mut worker = Some(worker);
    loop {
        let next = waiting.lock().await.recv().await;
        let Some(order) = next else { return };
        let decision = judge(&mut worker, &launch, &order).await;
        order.verdicts.decide(&order.key, &order.slot, decision);
    }
}

/// Has an order judged, on a fresh worker if the first is lost.
async fn judge(
    worker: &mut Option<WorkerProcess>,
    launch: &Launch,
    order: &Order,
) -> Result<Verdict, InfraError> {
    let mut loss = String::new();
    for _ in 0..ATTEMPTS {
        let mut live = match worker.take() {
            Some(live) => live,
            None => match WorkerProcess::start(&launch.0, &launch.1).await {
                Ok(started) => started,
                Err(error) => {
                    loss = error.to_string();
                    continue;
                }
            },
        };
        match live.judge(&order.request, order.limits).await {
            Ok(decision) => {
                *worker = Some(live);
                return decision;
            }
            Err(error) => loss = error.to_string(),
        }
    }
    Err(InfraError::WorkerLost(loss))
}

fn not_ready(error: &io::Error) -> InfraError {
    InfraError::WorkerNotReady(error.to_string())
}
