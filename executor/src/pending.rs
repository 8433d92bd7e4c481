//! A verdict to come, and the place that it will come to.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::intake::Intake;
use crate::verdict_cache::Key;
use crate::{InfraError, Verdict};

/// What comes of a job.
pub(crate) type Decision = Result<Verdict, InfraError>;

/// The place that a decision will come to.
#[derive(Default)]
pub(crate) struct Slot {
    decision: OnceLock<Decision>,
    decided: Notify,
}

impl Slot {
    /// A slot that is decided already.
    pub(crate) fn of(decision: Decision) -> Arc<Self> {
        let slot = Self::default();
        slot.decide(decision);
        Arc::new(slot)
    }

    /// Sets the decision, if there is none yet.
    pub(crate) fn decide(&self, decision: Decision) {
        // The first one counts.
        let _ = self.decision.set(decision);
        self.decided.notify_waiters();
    }

    fn is_decided(&self) -> bool {
        self.decision.get().is_some()
    }

    async fn wait(&self) -> Decision {
        loop {
            // Made before the look, so that no decision in between is missed.
            let decided = self.decided.notified();
            if let Some(decision) = self.decision.get() {
                return decision.clone();
            }
            decided.await;
        }
    }
}

/// A verdict to come. Dropping it says that it is not wanted any more: a job that has not started, and that nobody else waits
/// for, leaves the queue. One that has started ends by itself, within its limits, and its verdict is kept for the next who asks.
#[must_use = "a job that nobody waits for is not run"]
pub struct Pending {
    slot: Arc<Slot>,
    /// Where to say that nobody waits; absent where there is nothing to take back.
    source: Option<(Arc<Intake>, Key)>,
}

impl Pending {
    /// One of those that wait for a job under way.
    pub(crate) fn waiting(slot: Arc<Slot>, intake: Arc<Intake>, key: Key) -> Self {
        Self { slot, source: Some((intake, key)) }
    }

    /// Waits for nothing.
    pub(crate) fn decided(decision: Decision) -> Self {
        Self { slot: Slot::of(decision), source: None }
    }

    /// Waits for the verdict on this thread.
    ///
    /// # Errors
    ///
    /// If there is none, through no fault of the program.
    pub fn wait(self) -> Result<Verdict, InfraError> {
        block_on(self.slot.wait())
    }

    /// Waits for the verdict on this thread, and calls `impatient` every `patience` that it has not come.
    ///
    /// # Errors
    ///
    /// If there is none, through no fault of the program.
    pub fn wait_impatiently(
        self,
        patience: Duration,
        impatient: impl FnMut(),
    ) -> Result<Verdict, InfraError> {
        block_impatiently_on(self.slot.wait(), patience, impatient)
    }

    /// Waits for the verdict; works in any async runtime.
    ///
    /// # Errors
    ///
    /// If there is none, through no fault of the program.
    pub async fn verdict(self) -> Result<Verdict, InfraError> {
        self.slot.wait().await
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some((intake, key)) = self.source.take()
            && !self.slot.is_decided()
        {
            intake.forgo(&key, &self.slot);
        }
    }
}

/// Runs a future on this thread, which sleeps while there is nothing to do.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    block_impatiently_on(future, Duration::MAX, || {})
}

/// The same, with a call every `patience` that the future takes.
fn block_impatiently_on<F: Future>(future: F, patience: Duration, mut impatient: impl FnMut()) -> F::Output {
    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut since = Instant::now();
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park_timeout(patience.saturating_sub(since.elapsed())),
        }
        if since.elapsed() >= patience {
            impatient();
            since = Instant::now();
        }
    }
}
