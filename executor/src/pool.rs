//! The parent's side: jobs in, verdicts out, worker processes in between.

use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::foreman::Foreman;
use crate::intake::Intake;
use crate::launcher::Launcher;
use crate::module_cache::{ModuleCache, Prepared};
use crate::pending::{Pending, block_on};
use crate::protocol::Work;
use crate::remote::{self, Fleet, RemoteConfig, RemoteKind, RuntimeIdentity};
use crate::submission::Submission;
use crate::verdict_cache::Identity;
use crate::verdict_store::VerdictStore;
use crate::worker_process::WorkerCommand;
use crate::{ExecutorConfig, ExecutorStatistics, InfraError, RuntimeFiles};

/// Jobs that may wait for a worker, where nothing else is configured.
const MOST_WAITING: usize = 65_536;

/// Runs programs in sandboxes, on as many worker processes as the machine has cores.
///
/// Started once per run and shared by reference. When it is dropped, its workers are killed, and jobs still under way end
/// with [`InfraError::Stopped`].
pub struct Executor {
    intake: Arc<Intake>,
    identity: RuntimeIdentity,
    workers: usize,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

/// What to start an executor with, where the defaults of [`Executor::start`] do not fit.
pub struct StartOptions {
    /// Where compiled modules are kept.
    pub cache: ModuleCache,
    /// How workers are started.
    pub worker: WorkerCommand,
}

impl Executor {
    /// Starts the workers: this program again, with the argument `exec-worker`. Compiles the runtime first if this machine
    /// has not done so yet, and says so on stderr. With [`ExecutorConfig::remote`], connects to servers instead.
    ///
    /// # Errors
    ///
    /// If the runtime's files are missing or damaged, or a worker cannot be started; of servers, see [`Executor::connect`].
    pub fn start(config: &ExecutorConfig, files: &RuntimeFiles) -> Result<Self, InfraError> {
        let mut progress = |message: &str| {
            // Progress is a courtesy; a closed stderr must not stop a run.
            let _ = writeln!(io::stderr(), "{message}");
        };
        if let Some(remote) = &config.remote {
            return Self::connect(config, remote, &mut progress);
        }
        let options = StartOptions { cache: ModuleCache::of_user()?, worker: WorkerCommand::this_program()? };
        Self::start_with(config, files, &options, &mut progress)
    }

    /// Connects to servers that run the programs. Nothing of the runtime is wanted on this machine. `progress` is told of servers
    /// that cannot be reached now; they are tried again.
    ///
    /// # Errors
    ///
    /// If a server refuses the token or judges otherwise than this build, or none of them can be reached.
    pub fn connect(
        config: &ExecutorConfig,
        remote: &RemoteConfig,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Self, InfraError> {
        let identity = RuntimeIdentity::wanted(config.runtime);
        let intake = Arc::new(remote_intake(config, remote, &identity)?);
        let fleet = Arc::new(Fleet::new(Arc::clone(&intake), remote, config.runtime)?);
        let (report, started) = std::sync::mpsc::channel();
        let closing = Closing(Arc::clone(&intake));
        let executor = Self::run(intake, identity, 0, move |stopped| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            match runtime {
                Ok(runtime) => runtime.block_on(remote::supervise(fleet, closing, stopped, report)),
                Err(error) => _ = report.send(Err(not_ready(&error))),
            }
        })?;
        for silent in started.recv().map_err(|_| InfraError::Stopped)?? {
            progress(&silent);
        }
        Ok(executor)
    }

    /// Starts the thread of an executor.
    fn run(
        intake: Arc<Intake>,
        identity: RuntimeIdentity,
        workers: usize,
        serve: impl FnOnce(watch::Receiver<bool>) + Send + 'static,
    ) -> Result<Self, InfraError> {
        let (stop, stopped) = watch::channel(false);
        let thread = std::thread::Builder::new().name("executor".to_owned()).spawn(move || serve(stopped));
        let thread = Some(thread.map_err(|error| not_ready(&error))?);
        Ok(Self { intake, identity, workers, stop, thread })
    }

    /// Starts the workers; `progress` is told before and after something that takes long.
    ///
    /// # Errors
    ///
    /// As [`Executor::start`], and if the folder of verdicts cannot be used.
    pub fn start_with(
        config: &ExecutorConfig,
        files: &RuntimeFiles,
        options: &StartOptions,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Self, InfraError> {
        let prepared = options.cache.prepare(config.runtime, files, &config.process, progress)?;
        let intake = Arc::new(intake(config, &prepared, &options.worker)?);
        let count = config.workers.or_else(|| std::thread::available_parallelism().ok());
        let count = count.unwrap_or(NonZeroUsize::MIN).get();
        // Programs that are compiled first are too long for one to wait behind another.
        let identity = RuntimeIdentity::prepared(config.runtime, &prepared.work);
        let has_use_of_more = matches!(prepared.work, Work::Python(_) | Work::JavaScript(_) | Work::Toys(_));
        let launcher = Arc::new(Launcher::new(options.worker.clone(), prepared));
        let foreman =
            Arc::new(Foreman::new(Arc::clone(&intake), Arc::clone(&launcher), count, has_use_of_more));
        let (report, started) = std::sync::mpsc::channel();
        let closing = Closing(Arc::clone(&intake));
        let executor = Self::run(intake, identity, count, move |stopped| {
            let resting = Arc::clone(&foreman);
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .on_thread_park(move || resting.rest())
                .build();
            match runtime {
                Ok(runtime) => {
                    runtime.block_on(supervise(count, launcher, foreman, closing, stopped, report))
                }
                Err(error) => _ = report.send(Err(not_ready(&error))),
            }
        })?;
        started.recv().map_err(|_| InfraError::Stopped)??;
        Ok(executor)
    }

    /// Hands in a job. Returns at once while there is room among those that wait, and otherwise blocks this thread until there
    /// is. A duplicate of a job that is under way or decided is not run again, and needs no room.
    pub fn submit(&self, job: impl Into<Submission>) -> Pending {
        block_on(self.intake.submit(job.into()))
    }

    /// Hands in a job as [`Self::submit`] does, and waits for room without blocking the thread; works in any async runtime.
    /// What is dropped while it waits was not handed in.
    pub async fn submit_async(&self, job: impl Into<Submission>) -> Pending {
        self.intake.submit(job.into()).await
    }

    /// What its verdicts depend on besides jobs.
    pub fn identity(&self) -> &RuntimeIdentity {
        &self.identity
    }

    /// Programs that it runs at the same time; 0 where servers do.
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// What was done so far.
    pub fn statistics(&self) -> ExecutorStatistics {
        self.intake.statistics()
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

fn intake(
    config: &ExecutorConfig,
    prepared: &Prepared,
    worker: &WorkerCommand,
) -> Result<Intake, InfraError> {
    let mut parts = vec![config.runtime.name().as_bytes().to_vec(), prepared.identity()];
    let store = match &config.verdict_cache {
        // What a native program comes to depends on the machine and on what is installed there.
        Some(_) if matches!(config.runtime, crate::Runtime::Native(_)) => None,
        None => None,
        Some(folder) => {
            // What outlives this process may meet a worker that judges in another way.
            parts.push(worker.code_hash()?.to_vec());
            Some(VerdictStore::open(folder)?)
        }
    };
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    let most_waiting = config.most_waiting.map_or(MOST_WAITING, NonZeroUsize::get);
    Ok(Intake::new(Identity::new(&parts), store, most_waiting))
}

/// An intake whose verdicts come from servers.
fn remote_intake(
    config: &ExecutorConfig,
    remote: &RemoteConfig,
    identity: &RuntimeIdentity,
) -> Result<Intake, InfraError> {
    let parts = [b"remote".as_slice(), config.runtime.name().as_bytes(), identity.code.as_bytes()];
    let store = match &config.verdict_cache {
        // Servers of other makes do not say what their verdicts depend on.
        Some(folder)
            if remote.kind == RemoteKind::Rltrain && !matches!(config.runtime, crate::Runtime::Native(_)) =>
        {
            Some(VerdictStore::open(folder)?)
        }
        _ => None,
    };
    let most_waiting = config.most_waiting.map_or(MOST_WAITING, NonZeroUsize::get);
    Ok(Intake::new(Identity::new(&parts), store, most_waiting))
}

/// Decides whatever still waits when the executor's thread ends, however it ends.
pub(crate) struct Closing(Arc<Intake>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// Starts the workers, reports, and keeps them busy until told to stop.
async fn supervise(
    count: usize,
    launcher: Arc<Launcher>,
    foreman: Arc<Foreman>,
    _closing: Closing,
    mut stopped: watch::Receiver<bool>,
    report: std::sync::mpsc::Sender<Result<(), InfraError>>,
) {
    let mut starting = JoinSet::new();
    for _ in 0..count {
        let launcher = Arc::clone(&launcher);
        starting.spawn(async move { launcher.start().await });
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
    let mut serving = JoinSet::new();
    for (number, worker) in workers.into_iter().enumerate() {
        let foreman = Arc::clone(&foreman);
        serving.spawn(async move { foreman.serve(number, worker).await });
    }
    // Neither this nor serving ends but by a panic, after which jobs would wait for ever. Dropping the set ends its tasks, which
    // kills their workers; with the foreman all orders are decided.
    tokio::select! {
        _ = stopped.wait_for(|stopped| *stopped) => {}
        _ = serving.join_next() => {}
        () = foreman.hand_out() => {}
        () = foreman.take_back() => {}
    }
}

fn not_ready(error: &io::Error) -> InfraError {
    InfraError::WorkerNotReady(error.to_string())
}
