//! Watches over one command from outside its namespaces: reads what it writes, refuses what it tries, stops what exceeds
//! its bounds.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, UnixAddr, recvmsg};

use super::clone::Child;
use super::init::Report;
use super::run::{Bounds, Ended, How};
use super::run_group::Group;
use super::seccomp::Refusals;
use super::watch;

/// How often memory and processor time are looked at.
const INTERVAL: Duration = Duration::from_millis(10);

/// Refused calls that are answered before anything else is looked at.
const REFUSALS_AT_ONCE: usize = 64;

/// The supervisor's ends of what connects it with the command.
pub(crate) struct Ends {
    /// What the program writes to stdout.
    pub(crate) stdout: OwnedFd,
    /// What it writes to stderr.
    pub(crate) stderr: OwnedFd,
    /// What it answers, if it was given a stream for that.
    pub(crate) answer: OwnedFd,
    /// What the first process of its namespaces says.
    pub(crate) report: OwnedFd,
    /// Where the descriptor of refused calls comes from.
    pub(crate) handover: OwnedFd,
}

/// One command under watch.
pub(crate) struct Supervisor<'a> {
    child: Child,
    /// Dropped after the child: what its end has left is ended then.
    group: Option<Group<'a>>,
    bounds: Bounds,
    started: Instant,
    last_look: Instant,
    cpu: Duration,
    asleep: Duration,
    stdout: Stream,
    stderr: Stream,
    answer: Stream,
    report: File,
    handover: Option<OwnedFd>,
    refusals: Option<Refusals>,
    denied: BTreeMap<String, u32>,
    peak_memory_bytes: u64,
    stopped: Option<How>,
}

/// One of the program's streams.
struct Stream {
    pipe: Option<File>,
    content: Vec<u8>,
}

/// What there is to see to after a wait.
struct Ready {
    has_ended: bool,
    stdout: bool,
    stderr: bool,
    answer: bool,
    handover: bool,
    refusals: bool,
}

impl<'a> Supervisor<'a> {
    /// Takes over a command that has just been started.
    pub(crate) fn new(
        child: Child,
        group: Option<Group<'a>>,
        ends: Ends,
        bounds: Bounds,
    ) -> io::Result<Self> {
        let started = Instant::now();
        Ok(Self {
            child,
            group,
            bounds,
            started,
            last_look: started,
            cpu: Duration::ZERO,
            asleep: Duration::ZERO,
            stdout: Stream::new(ends.stdout)?,
            stderr: Stream::new(ends.stderr)?,
            answer: Stream::new(ends.answer)?,
            report: ends.report.into(),
            handover: Some(ends.handover),
            refusals: None,
            denied: BTreeMap::new(),
            peak_memory_bytes: 0,
            stopped: None,
        })
    }

    /// Waits until the command and all its processes have ended.
    pub(crate) fn supervise(mut self) -> io::Result<Ended> {
        loop {
            let ready = self.wait()?;
            if ready.handover {
                self.take_handover()?;
            }
            if ready.refusals {
                self.refuse()?;
            }
            if ready.stdout {
                self.stdout.read(self.room())?;
            }
            if ready.stderr {
                self.stderr.read(self.room())?;
            }
            if ready.answer {
                self.answer.read(self.room())?;
            }
            if self.written() > self.bounds.output_bytes {
                self.stop(How::OutputLimit);
            }
            if ready.has_ended {
                return self.conclude();
            }
            if self.stopped.is_none() && self.last_look.elapsed() >= INTERVAL {
                self.look()?;
            }
        }
    }

    fn wait(&self) -> io::Result<Ready> {
        // After a stop there is nothing to look at any more; the end comes by itself.
        let left = INTERVAL.saturating_sub(self.last_look.elapsed()).as_millis();
        let timeout = PollTimeout::from(u16::try_from(left + 1).unwrap_or(u16::MAX));
        let sources = [
            Some(self.child.as_fd()),
            self.stdout.pipe.as_ref().map(AsFd::as_fd),
            self.stderr.pipe.as_ref().map(AsFd::as_fd),
            self.answer.pipe.as_ref().map(AsFd::as_fd),
            self.handover.as_ref().map(AsFd::as_fd),
            self.refusals.as_ref().map(AsFd::as_fd),
        ];
        let mut polled: Vec<PollFd<'_>> =
            sources.iter().flatten().map(|source| PollFd::new(*source, PollFlags::POLLIN)).collect();
        match poll(&mut polled, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut results = polled.iter();
        let mut is_ready =
            |source: &Option<_>| source.is_some() && results.next().and_then(PollFd::any).unwrap_or(false);
        let [has_ended, stdout, stderr, answer, handover, refusals] = sources.each_ref().map(&mut is_ready);
        Ok(Ready { has_ended, stdout, stderr, answer, handover, refusals })
    }

    /// Bytes that may still be written, and one more, by which an excess is noticed.
    fn room(&self) -> u64 {
        self.bounds.output_bytes.saturating_sub(self.written()) + 1
    }

    fn written(&self) -> u64 {
        [&self.stdout, &self.stderr, &self.answer].iter().map(|stream| stream.content.len() as u64).sum()
    }

    fn stop(&mut self, reason: How) {
        if self.stopped.is_none() {
            self.stopped = Some(reason);
            self.child.kill();
            if let Some(group) = &self.group {
                // The end of the namespace's first process is the end of all, if less at once.
                let _ = group.kill();
            }
        }
    }

    /// Receives the descriptor of refused calls, or learns that there will be none.
    fn take_handover(&mut self) -> io::Result<()> {
        let Some(handover) = self.handover.take() else { return Ok(()) };
        let mut space = nix::cmsg_space!([std::os::fd::RawFd; 1]);
        let mut byte = [0];
        let mut content = [io::IoSliceMut::new(&mut byte)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let message = recvmsg::<UnixAddr>(handover.as_raw_fd(), &mut content, Some(&mut space), flags)?;
        for part in message.cmsgs()? {
            if let ControlMessageOwned::ScmRights(descriptors) = part
                && let [descriptor] = descriptors[..]
            {
                // SAFETY: the kernel has just opened this descriptor for us, and nobody else knows of it.
                #[expect(unsafe_code, reason = "nix returns descriptors as numbers")]
                let listener = unsafe { OwnedFd::from_raw_fd(descriptor) };
                self.refusals = Some(Refusals::new(listener));
            }
        }
        Ok(())
    }

    fn refuse(&mut self) -> io::Result<()> {
        for _ in 0..REFUSALS_AT_ONCE {
            let Some(refusals) = &self.refusals else { return Ok(()) };
            let mut polled = [PollFd::new(refusals.as_fd(), PollFlags::POLLIN)];
            poll(&mut polled, PollTimeout::ZERO)?;
            let events = polled[0].revents().unwrap_or(PollFlags::empty());
            if events.contains(PollFlags::POLLIN) {
                refusals.refuse_next(&mut self.denied)?;
            } else {
                if events.contains(PollFlags::POLLHUP) {
                    // All processes behind the filter have ended.
                    self.refusals = None;
                }
                return Ok(());
            }
        }
        Ok(())
    }

    /// Looks at processor time, memory and the clock on the wall.
    fn look(&mut self) -> io::Result<()> {
        let keeper = self.child.id().as_raw().cast_unsigned();
        let sample = watch::sample(keeper, self.bounds.memory_bytes)?;
        self.peak_memory_bytes = self.peak_memory_bytes.max(sample.memory_bytes);
        if !sample.is_active && sample.cpu <= self.cpu {
            // If this process had to wait for its turn, so may the program have had to.
            self.asleep += self.last_look.elapsed().min(2 * INTERVAL);
        }
        self.cpu = self.cpu.max(sample.cpu);
        self.last_look = Instant::now();
        let is_late = sample.cpu >= self.bounds.cpu
            || self.asleep >= self.bounds.asleep
            || self.started.elapsed() >= self.bounds.wall;
        if sample.memory_bytes > self.bounds.memory_bytes {
            self.stop(How::OutOfMemory);
        } else if is_late {
            self.stop(How::OutOfTime);
        }
        Ok(())
    }

    /// All processes have ended; their last words are still in the pipes.
    fn conclude(mut self) -> io::Result<Ended> {
        self.stdout.read(self.room())?;
        self.stderr.read(self.room())?;
        self.answer.read(self.room())?;
        let has_too_much = self.written() > self.bounds.output_bytes;
        let wall = self.started.elapsed();
        let remains = self.child.wait()?;
        // The kernel forgets the time of processes that end with their namespace. It was seen, if it was long.
        let cpu = remains.cpu.max(self.cpu);
        let how = match self.stopped {
            Some(how) => how,
            None if self.group.as_ref().is_some_and(Group::ran_out_of_memory) => How::OutOfMemory,
            None => {
                let how = reported(&mut self.report, remains.status)?;
                if has_too_much {
                    How::OutputLimit
                } else if how == How::Signalled(libc::SIGXCPU) || cpu > self.bounds.cpu {
                    How::OutOfTime
                } else {
                    how
                }
            }
        };
        let most = usize::try_from(self.bounds.output_bytes).unwrap_or(usize::MAX);
        let (mut stdout, mut stderr) = (self.stdout.content, self.stderr.content);
        stdout.truncate(most);
        stderr.truncate(most.saturating_sub(stdout.len()));
        Ok(Ended {
            how,
            stdout,
            stderr,
            answer: self.answer.content,
            cpu,
            asleep: self.asleep,
            wall,
            peak_memory_bytes: self.peak_memory_bytes.max(remains.peak_memory_bytes),
            denied: self.denied,
        })
    }
}

impl Stream {
    fn new(pipe: OwnedFd) -> io::Result<Self> {
        fcntl(&pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok(Self { pipe: Some(pipe.into()), content: Vec::new() })
    }

    /// Reads what is there, at most so many bytes. The rest, if there is one, is not worth reading.
    fn read(&mut self, most: u64) -> io::Result<()> {
        let Some(pipe) = &mut self.pipe else { return Ok(()) };
        match pipe.take(most).read_to_end(&mut self.content) {
            // The end of the stream, or of what may be written.
            Ok(_) => self.pipe = None,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// What the first process of the namespaces had to say.
fn reported(report: &mut File, own: std::process::ExitStatus) -> io::Result<How> {
    use std::os::unix::process::ExitStatusExt;
    let mut text = String::new();
    report.read_to_string(&mut text)?;
    // The program's process speaks first, if it fails to become the program.
    let first = text.lines().next().map(serde_json::from_str::<Report>);
    match first {
        Some(Ok(Report::Ended(status))) => {
            let status = std::process::ExitStatus::from_raw(status);
            match (status.code(), status.signal()) {
                (Some(code), _) => Ok(How::Exited(code)),
                (None, Some(signal)) => Ok(How::Signalled(signal)),
                (None, None) => Err(io::Error::other(format!("the program's process ended with {status}"))),
            }
        }
        Some(Ok(Report::Failed(reason))) => {
            Err(io::Error::other(format!("the program's process could not be set up: {reason}")))
        }
        Some(Err(error)) => Err(io::Error::other(error)),
        None => Err(io::Error::other(format!("the jail's first process ended without a word: {own}"))),
    }
}
