//! Programs that reach for the network.

use std::io::ErrorKind;
use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

use super::{everyone, has, python_task, ran, says, text};

#[test]
fn neither_tcp_nor_udp_nor_an_abstract_socket_of_the_host_is_reached() {
    if !has("/usr/bin/python3") {
        return;
    }
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let name = format!("rltrain-test-{}", std::process::id());
    let unix = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    let (tcp_port, udp_port) = (tcp.local_addr().unwrap().port(), udp.local_addr().unwrap().port());
    let program = format!(
        r#"
import socket
def attempt(act):
    try:
        act()
        print("reached")
    except OSError as error: print(error.errno)
attempt(lambda: socket.create_connection(("127.0.0.1", {tcp_port})))
attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", {udp_port})))
attempt(lambda: socket.socket(socket.AF_INET6).connect(("::1", {tcp_port})))
attempt(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW))
attempt(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
attempt(lambda: socket.socket(socket.AF_VSOCK))
attempt(lambda: socket.socket(socket.AF_UNIX).connect("\0{name}"))
"#
    );
    everyone(|worker| {
        let ended = ran(worker.perform(&python_task(&program)).unwrap());
        // Refused by seccomp, but for the last, whose name means nothing in another network.
        assert_eq!(text(&ended.stdout), "1\n1\n1\n1\n1\n1\n111\n", "{ended:?}");
        assert_eq!(ended.denied.get("socket"), Some(&6), "{:?}", ended.denied);
    });
    for result in [
        {
            tcp.set_nonblocking(true).unwrap();
            tcp.accept().map(drop)
        },
        {
            udp.set_nonblocking(true).unwrap();
            udp.recv(&mut [0]).map(drop)
        },
        {
            unix.set_nonblocking(true).unwrap();
            unix.accept().map(drop)
        },
    ] {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::WouldBlock);
    }
}

#[test]
fn names_are_not_looked_up() {
    says("import socket\ntry: print(socket.gethostbyname('localhost'))\nexcept OSError: print('no')", "no\n");
}

#[test]
fn there_is_no_interface_that_is_up() {
    // From the kernel's mouth: seccomp would let nobody ask.
    says(
        "import os\nprint(os.path.exists('/sys/class/net'), os.path.exists('/proc/net/dev'))",
        "False False\n",
    );
}
