//! A network that fails between a client and a real server.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// What happens to connections.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    /// Those that send files stop after so many bytes, all of them together, and nothing more ever happens.
    Stall { after: usize },
    /// The first so many that send more bytes than that are cut off there.
    CutUpload { after: usize, times: usize },
    /// The first so many that bring more bytes than that are cut off there.
    CutDownload { after: usize, times: usize },
    /// The first so many requests are answered with 503.
    Unavailable { times: usize },
}

/// Relays connections to a server.
pub(super) struct Network {
    pub(super) port: u16,
    state: Arc<State>,
}

struct State {
    fault: Fault,
    happened: AtomicUsize,
    /// Bytes that clients have sent in requests with a body.
    sent: AtomicUsize,
}

impl Network {
    /// In front of the server at `port`.
    pub(super) fn to(port: u16, fault: Fault) -> Network {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let here = listener.local_addr().unwrap().port();
        let (happened, sent) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let state = Arc::new(State { fault, happened, sent });
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, state) = (client.unwrap(), Arc::clone(&shared));
                thread::spawn(move || serve(client, port, &state));
            }
        });
        Network { port: here, state }
    }

    /// How often the fault has befallen anything.
    pub(super) fn happened(&self) -> usize {
        self.state.happened.load(Ordering::SeqCst)
    }

    /// Waits until it has.
    pub(super) fn wait(&self) {
        let start = Instant::now();
        while self.happened() == 0 {
            assert!(start.elapsed() < Duration::from_secs(120), "nobody comes");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl State {
    /// Whether the fault is to happen once more; it has, then.
    fn happens(&self, times: usize) -> bool {
        let count = |happened| (happened < times).then_some(happened + 1);
        self.happened.fetch_update(Ordering::SeqCst, Ordering::SeqCst, count).is_ok()
    }
}

fn serve(client: TcpStream, port: u16, state: &Arc<State>) {
    if let Fault::Unavailable { times } = state.fault
        && state.happens(times)
    {
        return refuse(client);
    }
    let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { return };
    let (back_from, back_to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    let shared = Arc::clone(state);
    let back = thread::spawn(move || relay(back_from, back_to, &shared, false));
    relay(client, server, state, true);
    let _ = back.join();
}

/// Reads a request to its end and answers that nobody is there.
fn refuse(mut client: TcpStream) {
    let mut request = Vec::new();
    let mut piece = [0; 1 << 16];
    let mut wanted = usize::MAX;
    while request.len() < wanted {
        let count = client.read(&mut piece).unwrap_or(0);
        if count == 0 {
            break;
        }
        request.extend_from_slice(&piece[..count]);
        if let Some(end) = request.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&request[..end]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
            wanted = end + 4 + length.map_or(0, |length| length.trim().parse().unwrap());
        }
    }
    let answer = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let _ = client.write_all(answer.as_bytes());
}

/// Carries bytes until one side has had enough, or the fault happens.
fn relay(mut from: TcpStream, mut to: TcpStream, state: &State, is_upload: bool) {
    let mut carried = 0;
    let mut is_file = false;
    let mut piece = [0; 1 << 16];
    loop {
        let count = from.read(&mut piece).unwrap_or(0);
        if count == 0 {
            break;
        }
        carried += count;
        is_file |= is_upload && (piece.starts_with(b"PUT") || piece.starts_with(b"POST"));
        match state.fault {
            Fault::Stall { after }
                if is_file && state.sent.fetch_add(count, Ordering::SeqCst) + count > after =>
            {
                state.happened.fetch_add(1, Ordering::SeqCst);
                thread::sleep(Duration::from_secs(600));
            }
            Fault::CutUpload { after, times } if is_upload && carried > after && state.happens(times) => {
                break;
            }
            Fault::CutDownload { after, times } if !is_upload && carried > after && state.happens(times) => {
                break;
            }
            _ => {}
        }
        if to.write_all(&piece[..count]).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
