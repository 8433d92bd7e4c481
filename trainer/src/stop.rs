//! Stopping a run in good order: Ctrl-C or SIGTERM finishes the step and saves; a second one stops at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{SignalKind, signal};

/// Whether somebody asked the run to stop.
#[derive(Clone, Debug, Default)]
pub struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    /// A flag that nobody raises but [`StopFlag::ask`].
    pub fn new() -> StopFlag {
        StopFlag::default()
    }

    /// Whether stopping was asked for.
    pub fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Asks for a stop after the current step.
    pub fn ask(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Raises the flag at the first SIGINT or SIGTERM, calling `announce`; at the second the process ends with exit
    /// code 130. Everything on disk is whole at any moment, so nothing already saved is lost.
    ///
    /// # Errors
    ///
    /// If the signal handlers cannot be installed.
    pub fn listen(&self, announce: impl Fn() + Send + 'static) -> std::io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let flag = self.clone();
        let (mut interrupt, mut terminate) = {
            let _inside = runtime.enter();
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
        };
        std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
            runtime.block_on(async move {
                loop {
                    tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
                    if flag.is_asked() {
                        end_at_once(130);
                    }
                    flag.ask();
                    announce();
                }
            });
        })?;
        Ok(())
    }
}

/// Ends the process with exit code `code`, without destructors: those of libtorch would take away what other threads compute with.
/// Everything on disk is whole at any moment, so nothing already saved is lost.
#[expect(unsafe_code, reason = "there is no other way to end a process without its destructors")]
pub fn end_at_once(code: i32) -> ! {
    // SAFETY: it touches nothing of this process.
    unsafe { libc::_exit(code) }
}
