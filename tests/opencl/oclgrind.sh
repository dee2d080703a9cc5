#!/bin/bash
# Every portable kernel in Oclgrind, which watches for data races and accesses out of bounds:
#
#   oclgrind.sh <oclgrind> <opencl_engine_test, opencl_search_test, opencl_words_test or opencl_refine_test>
set -eu
log=$(mktemp)
trap 'rm -f "$log"' EXIT
VLC_DEVICE=opencl:Oclgrind "$1" --data-races "$2" --gtest_filter='*SmallSizes*' >"$log" 2>&1 || {
    cat "$log"
    exit 1
}
grep -q 'PASSED.* 1 test' "$log"
if grep -iE 'race|invalid|out of bounds' "$log"; then
    exit 1
fi
