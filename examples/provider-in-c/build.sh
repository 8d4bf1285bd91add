#!/bin/sh
# Builds the plugin: ./build.sh [FILE]
#
# Needs clang and lld with the WebAssembly target, wasi-libc (Debian: apt-get install clang lld
# wasi-libc), and wit-bindgen (cargo install --locked wit-bindgen-cli@0.61.1).
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
plugin=${1:-$here/programs-in-c.wasm}
bindings=$(mktemp -d)
trap 'rm -rf "$bindings"' EXIT

# Generates plugin.h, plugin.c, and an object with the component's type.
wit-bindgen c "$here/../../wit/v0.1" --world plugin --out-dir "$bindings" > /dev/null

# Only parts of the C library without system calls are linked, so the plugin imports nothing but the
# functions of the contract that it calls. The router converts the module to a component when it
# loads it.
clang --target=wasm32-wasi -Oz -Wall -Wextra -Werror -I "$bindings" \
    -nostartfiles -nodefaultlibs -Wl,--no-entry -Wl,--gc-sections -Wl,--strip-debug \
    -o "$plugin" \
    "$here/provider.c" "$bindings/plugin.c" "$bindings/plugin_component_type.o" -lc
