#!/bin/sh
# Says at once, and all together, what a machine lacks to build rltrain. Arguments: the names of cargo and python3.
set -u
cargo=${1:-cargo}
python=${2:-python3}
wanted=95 # the minor version in Cargo.toml's rust-version
lacking=0

lack() {
    echo "missing: $1" >&2
    lacking=1
}

version=$("$cargo" --version 2>/dev/null) || version=
minor=$(echo "$version" | sed -n 's/^cargo 1\.\([0-9]*\)\..*/\1/p')
if [ -z "$version" ]; then
    lack "Rust 1.$wanted or later; install it from https://rustup.rs"
elif [ -n "$minor" ] && [ "$minor" -lt "$wanted" ]; then
    lack "Rust 1.$wanted or later; found $version; run: rustup update stable"
fi

# torch-sys compiles C++, and rustc links with cc.
compiler=${CXX:-c++}
if ! command -v "${compiler%% *}" >/dev/null || ! command -v cc >/dev/null; then
    lack "a C++ compiler (c++ and cc); on Debian: apt-get install g++"
fi

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 9))' 2>/dev/null; then
    lack "Python 3.9 or later as $python; on Debian: apt-get install python3 python3-pip"
fi

exit "$lacking"
