#!/bin/sh
# Makes the components that the tests of src/plugin/wasm.rs load, with `wasm-tools` (`make wasm-tools` fetches it). The tests put other
# core modules into component.wasm.
set -eu
cd "$(dirname "$0")"
wit=../../wit/reward.wit
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT

# make NAME VERSION IMPORTS [WORLD]: a component of the interface $work/reward.wit.
make() {
    cat >"$work/core.wat" <<END
(module
  $3
  (memory (export "memory") 1)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (unreachable))
  (func (export "rltrain:reward/reward@$2#score") (param i32) (result i32) (unreachable)))
END
    wasm-tools component embed --world "${4:-plug-in}" "$work/reward.wit" "$work/core.wat" -o "$work/embedded.wasm"
    wasm-tools component new "$work/embedded.wasm" | wasm-tools strip --all -o "$1.wasm"
}

cp "$wit" "$work/reward.wit"
make component 1.0.0 ''
make reads-files 1.0.0 '(import "rltrain:reward/files@1.0.0" "read" (func (param i32 i32 i32)))' plug-in-with-files
sed 's/@1.0.0/@2.0.0/' "$wit" >"$work/reward.wit"
make other-version 2.0.0 ''
sed '/tokens:/d' "$wit" >"$work/reward.wit"
make fewer-fields 1.0.0 ''
sed 's/^world plug-in {/interface clock { now: func() -> u64; }\nworld plug-in { import clock;/' "$wit" >"$work/reward.wit"
make wants-clock 1.0.0 '(import "rltrain:reward/clock@1.0.0" "now" (func (result i64)))'
