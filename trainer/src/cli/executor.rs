//! `rltrain executor --listen ADDRESS`: the sandboxes of this machine for trainers on others.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use rltrain_executor::{ExecutorConfig, Parting, Runtime, Server, ServerOptions, TlsFiles, Token};
use thiserror::Error;

use super::failure::Failure;
use super::{exec, print_line, tell};
use crate::execution::start_executor;

/// Jobs that a server has at a time for each worker, where nothing is said: a second of short programs.
const JOBS_PER_WORKER: usize = 256;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Where to listen, such as 0.0.0.0:7443; beyond this machine only with a token. Port 0 is any free one: the address is printed
    #[arg(long, value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Language of the programs, or the name of a runtime; trainers have to name the same in `executor.runtime`
    #[arg(long, value_name = "LANGUAGE", default_value = "python", value_parser = exec::runtime)]
    lang: Runtime,
    /// Programs to run at the same time; one per core if it is not given
    #[arg(long, value_name = "NUMBER")]
    workers: Option<NonZeroUsize>,
    /// Programs to have at a time, those that wait included; who brings more is told to come again. 256 per worker if it is not given
    #[arg(long, value_name = "NUMBER")]
    most_jobs: Option<NonZeroUsize>,
    /// File whose text is the token that trainers have to show; the environment variable RLTRAIN_EXECUTOR_TOKEN if it is not given
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// PEM file of the server's certificate, for TLS
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_certificate: Option<PathBuf>,
    /// PEM file of the certificate's private key
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
    /// How long programs under way may take to end after SIGTERM or Ctrl-C; a second one ends at once
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    drain_s: u64,
    /// Folder in which verdicts are kept from one start to the next
    #[arg(long, value_name = "FOLDER")]
    verdict_cache: Option<PathBuf>,
}

/// Programs that were under way when the time was up.
#[derive(Debug, Error)]
#[error("{0} programs were not done in time, and have no verdict")]
struct Abandoned(usize);

/// Serves until a signal.
pub(super) fn run(arguments: Arguments) -> Result<(), Failure> {
    let token = Token::find(arguments.token_file.as_deref()).map_err(Failure::plain_input)?;
    let tls = arguments
        .tls_certificate
        .zip(arguments.tls_key)
        .map(|(certificate, key)| TlsFiles { certificate, key });
    let options = |most_jobs| ServerOptions {
        listen: arguments.listen,
        token,
        tls,
        most_jobs,
        drain: Duration::from_secs(arguments.drain_s),
    };
    let config = ExecutorConfig {
        runtime: arguments.lang,
        workers: arguments.workers,
        verdict_cache: arguments.verdict_cache,
        ..ExecutorConfig::default()
    };
    let executor = start_executor(&config).map_err(Failure::world)?;
    let identity = executor.identity().to_string();
    let of_workers = NonZeroUsize::new(JOBS_PER_WORKER * executor.workers()).unwrap_or(NonZeroUsize::MIN);
    let server = Server::bind(executor, options(arguments.most_jobs.unwrap_or(of_workers)));
    let server = server.map_err(Failure::world)?;
    tell(&format!("executor: {identity}"));
    print_line(server.url().map_err(Failure::world)?);
    let Parting { abandoned } = server.run(|| tell("executor: no more programs are taken; ending"));
    if abandoned == 0 { Ok(()) } else { Err(Failure::world(Abandoned(abandoned))) }
}
