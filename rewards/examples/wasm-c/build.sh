#!/bin/sh
# Builds the component short_lines.wasm: build.sh FOLDER, for the folder that it goes to. Wants `zig`, or else `clang` with `lld`, and
# `wasm-tools`; `make wasm-tools` fetches zig and wasm-tools into .deps/wasm-tools/bin.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
if command -v zig >/dev/null; then compile='zig cc --target=wasm32-freestanding'; else compile='clang --target=wasm32'; fi
$compile -O2 -nostdlib -Wl,--no-entry -o "$1/core.wasm" "$here/short_lines.c"
wasm-tools component embed --world plug-in "$here/../../wit/reward.wit" "$1/core.wasm" -o "$1/embedded.wasm"
wasm-tools component new "$1/embedded.wasm" -o "$1/short_lines.wasm"
rm "$1/core.wasm" "$1/embedded.wasm"
