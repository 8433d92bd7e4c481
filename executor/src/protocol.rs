//! What parent and worker say to each other: JSON in frames with a length before them.

use std::borrow::Cow;
use std::io::{self, Read, Write};
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::process::{Surroundings, Toolchain};
use crate::toy::ToyLanguage;
use crate::{InfraError, Job, Verdict};

/// Largest frame: what a broken peer can make this side allocate. No completion of a model comes near it.
pub(crate) const MOST_BYTES: usize = 16 << 20;

/// Bytes of the length before a frame.
pub(crate) const HEADER_BYTES: usize = 4;

/// Changes with the messages below. Parent and worker are one binary, but the binary may be replaced while it runs.
pub(crate) const VERSION: u32 = 6;

/// First frame to a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    /// [`VERSION`] of the parent.
    pub(crate) version: u32,
    /// What the worker is for.
    pub(crate) work: Work,
}

/// Kinds of workers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Work {
    /// Python programs, in an interpreter in WebAssembly.
    Python(PythonFiles),
    /// JavaScript programs, in an interpreter in WebAssembly, which is the compiled module at this path.
    JavaScript(PathBuf),
    /// Ruby programs, likewise.
    Ruby(PathBuf),
    /// Programs that are WebAssembly modules themselves.
    Modules,
    /// Programs in a small language, in an interpreter of the worker's own.
    Toys(ToyLanguage),
    /// Single commands in the jail of the process backend.
    Commands(Surroundings),
    /// Programs in a language, in the same jail.
    Programs(Surroundings, Toolchain),
}

/// What Python programs run in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PythonFiles {
    /// Native code of the interpreter.
    pub(crate) module: PathBuf,
    /// Picture of its memory.
    pub(crate) snapshot: PathBuf,
    /// Its standard library.
    pub(crate) stdlib: PathBuf,
}

/// First frame from a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Welcome {
    /// Locked down and waiting for jobs.
    Ready,
    /// Cannot get ready, and ends.
    Refused(String),
}

/// Every further frame to a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Request<'a> {
    /// A job to be judged, after those that were sent before.
    Judge(Cow<'a, Job>),
    /// The job with this number, counted from the first, need not be judged if that has not begun.
    Forget(u64),
}

/// The answer to each job, in the order in which they were sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Reply {
    /// What came of the job.
    Judged(Verdict),
    /// A test of the job is faulty; the worker goes on.
    FaultyTest(String),
    /// The sandbox failed; the worker goes on.
    Fault(String),
    /// It was not judged, since it was to be forgotten.
    Forgotten,
}

impl From<Result<Verdict, InfraError>> for Reply {
    fn from(decision: Result<Verdict, InfraError>) -> Self {
        match decision {
            Ok(verdict) => Self::Judged(verdict),
            Err(InfraError::FaultyTest(message)) => Self::FaultyTest(message),
            Err(error) => Self::Fault(error.to_string()),
        }
    }
}

impl From<Reply> for Result<Verdict, InfraError> {
    fn from(reply: Reply) -> Self {
        match reply {
            Reply::Judged(verdict) => Ok(verdict),
            Reply::FaultyTest(message) => Err(InfraError::FaultyTest(message)),
            Reply::Fault(message) => Err(InfraError::Sandbox(message)),
            // Who takes a job back does not look at the answer.
            Reply::Forgotten => Err(InfraError::WorkerLost("it has forgotten a job".to_owned())),
        }
    }
}

/// A frame that holds `message`.
pub(crate) fn encode(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; HEADER_BYTES];
    serde_json::to_writer(&mut frame, message)?;
    let size = frame.len() - HEADER_BYTES;
    check_size(size)?;
    frame[..HEADER_BYTES].copy_from_slice(&(size as u32).to_le_bytes());
    Ok(frame)
}

/// The job alone, in JSON, of a frame that holds [`Request::Judge`].
pub(crate) fn job_of(frame: &[u8]) -> &[u8] {
    const BEFORE: usize = HEADER_BYTES + br#"{"Judge":"#.len();
    frame.get(BEFORE..frame.len().saturating_sub(1)).unwrap_or_default()
}

/// Size of the frame that follows this header.
pub(crate) fn frame_size(header: [u8; HEADER_BYTES]) -> io::Result<usize> {
    let size = u32::from_le_bytes(header) as usize;
    check_size(size)?;
    Ok(size)
}

/// The message in a frame.
pub(crate) fn decode<T: DeserializeOwned>(body: &[u8]) -> io::Result<T> {
    serde_json::from_slice(body).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Takes one message off the front of what was received; `None` if it is not complete.
pub(crate) fn take<T: DeserializeOwned>(received: &mut Vec<u8>) -> io::Result<Option<T>> {
    let Some((header, rest)) = received.split_first_chunk() else { return Ok(None) };
    let Some(body) = rest.get(..frame_size(*header)?) else { return Ok(None) };
    let end = HEADER_BYTES + body.len();
    let message = decode(body)?;
    received.drain(..end);
    Ok(Some(message))
}

/// Reads one message; `None` if the peer has closed its end before one began.
pub(crate) fn read<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<Option<T>> {
    let mut header = [0; HEADER_BYTES];
    let mut filled = 0;
    while filled < HEADER_BYTES {
        match from.read(&mut header[filled..]) {
            Ok(0) if filled == 0 => return Ok(None),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let mut body = vec![0; frame_size(header)?];
    from.read_exact(&mut body)?;
    decode(&body).map(Some)
}

/// Writes one message.
pub(crate) fn write(to: &mut impl Write, message: &impl Serialize) -> io::Result<()> {
    to.write_all(&encode(message)?)?;
    to.flush()
}

fn check_size(size: usize) -> io::Result<()> {
    if size <= MOST_BYTES {
        return Ok(());
    }
    let message = format!("frame of {size} bytes, wanted at most {MOST_BYTES}");
    Err(io::Error::new(io::ErrorKind::InvalidData, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Limits;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = read::<Request>(&mut bytes.as_slice());
            let _ = read::<Reply>(&mut bytes.as_slice());
        }

        #[test]
        fn a_frame_cut_short_is_an_error(program in ".{0,40}", cut in 1_usize..60) {
            let job = Job::new(program, ["assert f()"], Limits::default());
            let request = Request::Judge(Cow::Owned(job));
            let frame = encode(&request).unwrap();
            prop_assert_eq!(read::<Request>(&mut frame.as_slice()).unwrap(), Some(request));
            let kept = frame.len().saturating_sub(cut);
            prop_assert!(kept == 0 || read::<Request>(&mut &frame[..kept]).is_err());
        }
    }

    #[test]
    fn the_job_of_a_frame_is_the_one_that_it_was_made_of() {
        let job = Job::new("def f(): pass", ["assert f() == None"], Limits::default());
        let frame = encode(&Request::Judge(Cow::Borrowed(&job))).unwrap();
        assert_eq!(job_of(&frame), serde_json::to_vec(&job).unwrap());
        assert_eq!(job_of(&[]), b"");
    }

    #[test]
    fn a_frame_beyond_the_bound_is_refused_before_it_is_read() {
        let error = read::<Request>(&mut [0xff; 8].as_slice()).unwrap_err();
        assert_eq!(error.to_string(), "frame of 4294967295 bytes, wanted at most 16777216");
    }
}
