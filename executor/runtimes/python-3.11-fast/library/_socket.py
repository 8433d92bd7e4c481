"""The part of `socket` that is C elsewhere, for a world without a network: everything is refused.

It is there so that what imports `socket` can be imported, `asyncio` and `unittest.mock` among it.
"""

import errno as _errno

error = OSError
timeout = TimeoutError
has_ipv6 = False

AF_UNSPEC, AF_UNIX, AF_INET, AF_INET6 = 0, 1, 2, 10
SOCK_STREAM, SOCK_DGRAM, SOCK_RAW = 1, 2, 3
SOL_SOCKET, SOMAXCONN = 1, 128
SO_REUSEADDR, SO_TYPE, SO_ERROR, SO_BROADCAST, SO_KEEPALIVE, SO_REUSEPORT = 2, 3, 4, 6, 9, 15
IPPROTO_IP, IPPROTO_ICMP, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_IPV6 = 0, 1, 6, 17, 41
IPV6_V6ONLY, TCP_NODELAY = 26, 1
MSG_OOB, MSG_PEEK, MSG_WAITALL = 1, 2, 256
SHUT_RD, SHUT_WR, SHUT_RDWR = 0, 1, 2
AI_PASSIVE, AI_CANONNAME, AI_NUMERICHOST, AI_ADDRCONFIG = 1, 2, 4, 32
NI_NUMERICHOST, NI_NUMERICSERV, NI_MAXHOST, NI_MAXSERV = 1, 2, 1025, 32
EAI_NONAME, EAI_FAMILY = -2, -6
INADDR_ANY, INADDR_BROADCAST, INADDR_LOOPBACK = 0, 0xFFFFFFFF, 0x7F000001


class gaierror(OSError):
    """No name has an address."""


class herror(OSError):
    """No host has a name."""


def _refuse():
    raise OSError(_errno.ENOTSUP, "Not supported")


class socket:
    """A socket that cannot be made."""

    __slots__ = ()

    family = type = proto = -1
    timeout = None

    def __init__(self, family=-1, type=-1, proto=-1, fileno=None):
        _refuse()

    def close(self):
        """Does nothing: there is nothing to close."""

    def fileno(self):
        return -1

    def gettimeout(self):
        return None


SocketType = socket


def socketpair(family=-1, type=-1, proto=-1):
    _refuse()


def close(fileno):
    _refuse()


def dup(fileno):
    _refuse()


def getaddrinfo(host, port, family=0, type=0, proto=0, flags=0):
    raise gaierror(EAI_NONAME, "Name or service not known")


def gethostbyname(name):
    raise gaierror(EAI_NONAME, "Name or service not known")


gethostbyname_ex = gethostbyname


def gethostbyaddr(address):
    raise herror(1, "Unknown host")


def getnameinfo(address, flags):
    raise gaierror(EAI_NONAME, "Name or service not known")


def gethostname():
    return "localhost"


def getservbyname(name, protocol=None):
    raise OSError("service/proto not found")


def getservbyport(port, protocol=None):
    raise OSError("port/proto not found")


def getprotobyname(name):
    raise OSError("protocol not found")


_default_timeout = None


def getdefaulttimeout():
    return _default_timeout


def setdefaulttimeout(seconds):
    global _default_timeout
    _default_timeout = None if seconds is None else float(seconds)


def ntohs(number):
    return int.from_bytes(number.to_bytes(2, "little"), "big")


def ntohl(number):
    return int.from_bytes(number.to_bytes(4, "little"), "big")


htons, htonl = ntohs, ntohl


def inet_aton(text):
    parts = [int(part, 0) for part in text.split(".")]
    if len(parts) != 4 or not all(0 <= part < 256 for part in parts):
        raise OSError("illegal IP address string passed to inet_aton")
    return bytes(parts)


def inet_ntoa(packed):
    if len(packed) != 4:
        raise OSError("packed IP wrong length")
    return ".".join(map(str, packed))
