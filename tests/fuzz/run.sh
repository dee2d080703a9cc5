#!/usr/bin/env bash
# tests/fuzz/run.sh <build folder> [seconds for each target] [target...]: fuzzes from the seeds and from what
# earlier runs found, and says how much was tried. What crashes stays under <build folder>/fuzz/found.
# FUZZ_TIMEOUT (20) are the seconds that one input may take: more where fuzzers are stopped now and then.
set -euo pipefail
build=$(cd "$1" && pwd)
seconds=${2:-60}
shift 2 || shift $#
targets=("$@")
[ "$seconds" -ge 1 ]
if [ ${#targets[@]} -eq 0 ]; then
    for program in "$build"/fuzz/*_fuzz; do targets+=("$(basename "$program")"); done
fi
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export OMP_NUM_THREADS=1 UBSAN_OPTIONS=print_stacktrace=1
export LSAN_OPTIONS=suppressions=$here/../sanitizer_suppressions/lsan.txt:print_suppressions=0
"$build/fuzz/seeds" "$build/fuzz/seeds.d"
failed=0
for target in "${targets[@]}"; do
    mkdir -p "$build/fuzz/corpus/$target" "$build/fuzz/found/$target"
    log=$build/fuzz/$target.log
    status=0
    runs=0
    # libhdf5, FAISS's readers and its factory leak when they refuse: new processes before that is much
    case $target in
        own_format_fuzz | vector_files_fuzz | checkpoint_fuzz) leaks=1 most=-1 ;;
        *) leaks=0 most=50000 ;;
    esac
    end=$((SECONDS + seconds))
    while [ "$status" -eq 0 ] && [ "$SECONDS" -lt "$end" ]; do
        ASAN_OPTIONS=detect_leaks=$leaks:allocator_may_return_null=1:detect_stack_use_after_return=0 \
            "$build/fuzz/$target" -max_total_time=$((end - SECONDS)) -runs=$most -timeout="${FUZZ_TIMEOUT:-20}" \
            -rss_limit_mb=2048 -malloc_limit_mb=512 -print_final_stats=1 -artifact_prefix="$build/fuzz/found/$target/" \
            "$build/fuzz/corpus/$target" "$build/fuzz/seeds.d/$target" >"$log" 2>&1 || status=$?
        part=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
        runs=$((runs + ${part:-0}))
    done
    coverage=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
    if [ "$status" -ne 0 ]; then
        failed=1
        echo "$target: $runs executions, FAILED: $(grep -m 1 -E 'ERROR|runtime error|SUMMARY' "$log" || tail -n 1 "$log")"
    else
        echo "$target: $runs executions in $seconds s, $coverage edges covered, nothing found"
    fi
done
exit $failed
