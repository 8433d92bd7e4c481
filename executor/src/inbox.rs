//! Jobs as a worker gets them: it may be sent several, and be told to forget one that it has not begun.

use std::collections::{BTreeSet, VecDeque};
use std::io::{self, Read};
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

use crate::Job;
use crate::protocol::{self, Request};

/// Bytes that are asked for at once.
const READ_BYTES: usize = 1 << 16;

/// What is to be answered next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// By a verdict.
    Judge(Box<Job>),
    /// By saying that it was forgotten.
    Forgotten,
}

/// Requests that have come in.
pub(crate) struct Inbox<R> {
    source: R,
    received: Vec<u8>,
    waiting: VecDeque<Job>,
    forgotten: BTreeSet<u64>,
    /// Number of the first that waits.
    number: u64,
}

impl<R: Read + AsFd> Inbox<R> {
    /// Reads requests from a pipe.
    pub(crate) fn new(source: R) -> Self {
        Self { source, received: Vec::new(), waiting: VecDeque::new(), forgotten: BTreeSet::new(), number: 0 }
    }

    /// The next job, after a look at what has come in meanwhile; waits for one. `None` once the parent has closed the pipe.
    pub(crate) fn next(&mut self) -> io::Result<Option<Next>> {
        while self.waiting.is_empty() || self.has_more()? {
            if !self.receive()? {
                // What was sent before is not wanted any more.
                return Ok(None);
            }
        }
        let Some(job) = self.waiting.pop_front() else { return Ok(None) };
        let is_forgotten = self.forgotten.remove(&self.number);
        self.number += 1;
        Ok(Some(if is_forgotten { Next::Forgotten } else { Next::Judge(Box::new(job)) }))
    }

    fn has_more(&self) -> io::Result<bool> {
        let mut pipe = [PollFd::new(self.source.as_fd(), PollFlags::POLLIN)];
        loop {
            match ppoll(&mut pipe, Some(TimeSpec::new(0, 0)), None) {
                Err(Errno::EINTR) => {}
                ready => return Ok(ready? > 0),
            }
        }
    }

    /// Reads once, and sorts what is complete. Returns whether the pipe is open.
    fn receive(&mut self) -> io::Result<bool> {
        let filled = self.received.len();
        self.received.resize(filled + READ_BYTES, 0);
        let read = loop {
            match self.source.read(&mut self.received[filled..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        self.received.truncate(filled + read);
        if read == 0 {
            return if filled == 0 { Ok(false) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        while let Some(request) = protocol::take(&mut self.received)? {
            match request {
                Request::Judge(job) => self.waiting.push_back(job.into_owned()),
                // One that has begun is not waited for any more.
                Request::Forget(number) if number >= self.number => _ = self.forgotten.insert(number),
                Request::Forget(_) => {}
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::fs::File;
    use std::io::Write;

    use super::*;
    use crate::Limits;

    fn job(program: &str) -> Job {
        Job::new(program, ["assert True"], Limits::default())
    }

    fn judge(program: &str) -> Vec<u8> {
        protocol::encode(&Request::Judge(Cow::Owned(job(program)))).unwrap()
    }

    fn forget(number: u64) -> Vec<u8> {
        protocol::encode(&Request::Forget(number)).unwrap()
    }

    fn pipe() -> (Inbox<File>, File) {
        let (read, write) = nix::unistd::pipe().unwrap();
        (Inbox::new(read.into()), write.into())
    }

    #[test]
    fn jobs_come_in_order_and_those_to_be_forgotten_are_unless_they_have_begun() {
        let (mut inbox, mut parent) = pipe();
        parent.write_all(&[judge("0"), judge("1"), judge("2")].concat()).unwrap();
        assert_eq!(inbox.next().unwrap(), Some(Next::Judge(Box::new(job("0")))));
        parent.write_all(&[forget(0), forget(2), judge("3")].concat()).unwrap();
        assert_eq!(inbox.next().unwrap(), Some(Next::Judge(Box::new(job("1")))));
        assert_eq!(inbox.next().unwrap(), Some(Next::Forgotten));
        assert_eq!(inbox.next().unwrap(), Some(Next::Judge(Box::new(job("3")))));
        drop(parent);
        assert_eq!(inbox.next().unwrap(), None);
    }

    #[test]
    fn a_job_larger_than_a_pipe_arrives_whole_and_one_cut_short_is_an_error() {
        let (mut inbox, mut parent) = pipe();
        let program = "x".repeat(3 * READ_BYTES);
        let frame = judge(&program);
        let cut = frame[..frame.len() - 1].to_vec();
        // The second is sent once the first has been taken: whatever is in the pipe is looked at before a job is begun.
        let (taken, is_taken) = std::sync::mpsc::channel();
        let writing = std::thread::spawn(move || {
            parent.write_all(&frame).unwrap();
            is_taken.recv().unwrap();
            parent.write_all(&cut).unwrap();
        });
        assert_eq!(inbox.next().unwrap(), Some(Next::Judge(Box::new(job(&program)))));
        taken.send(()).unwrap();
        assert_eq!(inbox.next().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        writing.join().unwrap();
    }
}
