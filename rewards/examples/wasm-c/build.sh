#!/bin/sh
# Builds the component short_lines.wasm: build.sh FOLDER, for the folder that it goes to. Wants `zig` and `wasm-tools`, which `make
# wasm-tools` fetches into .deps/wasm-tools/bin.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
zig cc --target=wasm32-freestanding -O2 -nostdlib -Wl,--no-entry -o "$1/core.wasm" "$here/short_lines.c"
wasm-tools component embed --world plug-in "$here/../../wit/reward.wit" "$1/core.wasm" -o "$1/embedded.wasm"
wasm-tools component new "$1/embedded.wasm" -o "$1/short_lines.wasm"
rm "$1/core.wasm" "$1/embedded.wasm"
