"""What `sysconfig` says of this build: the few things that libraries ask."""

build_time_vars = {
    "EXT_SUFFIX": ".so",
    "HAVE_FORK": 0,
    "LIBDIR": "/usr/local/lib",
    "Py_DEBUG": 0,
    "Py_ENABLE_SHARED": 0,
    "SIZEOF_VOID_P": 4,
    "SOABI": "",
    "TZPATH": "",
    "prefix": "/usr/local",
}
