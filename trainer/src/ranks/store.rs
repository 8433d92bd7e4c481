//! How a process finds the store of the others.

use std::net::{TcpStream, ToSocketAddrs};
use std::thread;
use std::time::{Duration, Instant};

use super::c10d::{C10dError, Store};
use super::place::Place;

/// How often it is looked whether somebody listens. libtorch looks again after a second, and after more and more.
const LOOK: Duration = Duration::from_millis(20);

/// How long a host may take to answer one look.
const ANSWER: Duration = Duration::from_secs(2);

/// Connects to the store of the processes at `place`, and serves it if `serves`. Calls on it that have to wait do so for `patience`.
///
/// # Errors
///
/// If nobody listens there within `patience`, or the port cannot be served.
pub(super) fn connect(place: &Place, serves: bool, patience: Duration) -> Result<Store, C10dError> {
    let (host, port) = (&place.store.0[..], place.store.1);
    if !serves {
        wait_for_listener(host, port, patience)?;
    }
    Store::connect((host, port), serves, patience, &format!("rltrain/{}", place.start))
}

/// Waits until somebody listens at `host`:`port`.
fn wait_for_listener(host: &str, port: u16, patience: Duration) -> Result<(), C10dError> {
    let until = Instant::now() + patience;
    let look = || -> std::io::Result<()> {
        let mut refused = std::io::Error::other("the host has no address");
        for address in (host, port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, ANSWER) {
                Ok(_) => return Ok(()),
                Err(error) => refused = error,
            }
        }
        Err(refused)
    };
    loop {
        match look() {
            Ok(()) => return Ok(()),
            Err(error) if Instant::now() >= until => return Err(C10dError::of(error.to_string())),
            Err(_) => thread::sleep(LOOK),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_listener_that_comes_late_is_found_at_once_and_none_is_said() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let refused = wait_for_listener("127.0.0.1", port, Duration::from_millis(50)).unwrap_err();
        assert!(refused.to_string().contains("refused"), "{refused}");
        let late = thread::spawn(move || {
            thread::sleep(Duration::from_millis(100));
            TcpListener::bind(("127.0.0.1", port)).map(|listener| {
                let _ = listener.accept();
            })
        });
        let begun = Instant::now();
        wait_for_listener("127.0.0.1", port, Duration::from_secs(30)).unwrap();
        assert!(begun.elapsed() < Duration::from_millis(900), "{:?}", begun.elapsed());
        late.join().unwrap().unwrap();
    }
}
