#!/usr/bin/env bash
# isa_symbols_test.sh OBJECT...: the objects compiled for one instruction set define no symbol that
# the linker may take in place of another file's. If it did, code for AVX2 or AVX-512 could run
# where the processor has neither.
set -euo pipefail
if (($# == 0)); then
    echo "no object given: expected those of faiss_vlc/kernels/avx2, avx512 and avx512_vbmi" >&2
    exit 1
fi
status=0
for object in "$@"; do
    if shared=$("${NM:-nm}" --demangle --defined-only "$object" | grep -E '^[0-9a-f]* [WVu] '); then
        printf '%s shares with other files:\n%s\n' "$object" "$shared" >&2
        status=1
    fi
done
exit $status
