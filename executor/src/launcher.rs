//! Fresh workers for those that are lost.

use std::sync::{Arc, Mutex, PoisonError};

use crate::InfraError;
use crate::module_cache::Prepared;
use crate::worker_process::{WorkerCommand, WorkerProcess};

/// Starts workers. Once one has been lost, keeps another ready, so that the next loss costs no start.
pub(crate) struct Launcher {
    command: WorkerCommand,
    prepared: Prepared,
    spare: Mutex<Spare>,
}

#[derive(Default)]
enum Spare {
    #[default]
    None,
    Starting,
    Ready(Box<WorkerProcess>),
}

impl Launcher {
    pub(crate) fn new(command: WorkerCommand, prepared: Prepared) -> Self {
        Self { command, prepared, spare: Mutex::default() }
    }

    /// Starts a worker.
    pub(crate) async fn start(&self) -> Result<WorkerProcess, InfraError> {
        WorkerProcess::start(&self.command, &self.prepared).await
    }

    /// A fresh worker in place of one that was lost: the spare one if it is ready. Sees to it that there will be a spare one.
    pub(crate) async fn replace(self: &Arc<Self>) -> Result<WorkerProcess, InfraError> {
        let spare = self.exchange(|spare| match std::mem::take(spare) {
            Spare::Ready(worker) => Some(*worker),
            other => {
                *spare = other;
                None
            }
        });
        let live = spare.and_then(WorkerProcess::if_alive);
        let worker = match live {
            Some(worker) => worker,
            None => self.start().await?,
        };
        self.prepare_spare();
        Ok(worker)
    }

    fn prepare_spare(self: &Arc<Self>) {
        let is_needed = self.exchange(|spare| {
            let is_needed = matches!(spare, Spare::None);
            if is_needed {
                *spare = Spare::Starting;
            }
            is_needed
        });
        if !is_needed {
            return;
        }
        let launcher = Arc::clone(self);
        tokio::spawn(async move {
            // Where this one cannot be started, the next loss finds out why.
            let started = launcher.start().await;
            launcher.exchange(|spare| {
                *spare = started.map_or(Spare::None, |worker| Spare::Ready(Box::new(worker)))
            });
        });
    }

    fn exchange<T>(&self, change: impl FnOnce(&mut Spare) -> T) -> T {
        change(&mut self.spare.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
