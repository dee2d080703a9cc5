#!/bin/bash
# The same training gives the same file on every device:
#
#   identity.sh <vlc> <folder with base.npy> <device>[/<way to multiply>]...
#
# Prints the SHA-256 of a dozen index files, to be compared between machines, and fails if the
# devices differ. `reference opencl: opencl:/portable opencl:H100/mma` are devices.
set -eu
vlc=$1
data=$2
shift 2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tail -c +129 "$data/base.npy" >"$work/rows.u8" # behind the header: 128 bytes a vector

# Rows of other lengths are cut from the same bytes: dimensions, rows, options.
configurations=(
    "128 6000 --m 64 --bytes 16"
    "128 6000 --m 100 --bits 4 --seed 7"
    "128 4000 --m 33 --bytes 32 --robust none --metric ip"
    "128 4000 --m 64 --bits 1 --robust trim --anchors float16"
    "128 20000 --m 300 --bytes 16 --iterations 6"
    "96 5000 --m 50 --frame identity"
    "37 5000 --m 70 --work-group 128"
    "384 3000 --m 40 --bytes 48"
    "1 2000 --m 5 --bits 8"
    "17 4000 --m 128 --work-group 256"
    "768 1000 --m 20 --iterations 5 --bits 1"
    "800 1000 --m 17 --iterations 5 --frame identity"
)
share=1
if grep -qE '__[at]san_init' "$vlc"; then share=4; fi # sanitizers are slow
status=0
for configuration in "${configurations[@]}"; do
    read -r d n options <<<"$configuration"
    head -c $((d * n / share)) "$work/rows.u8" >"$work/input.u8"
    expected=
    for device in "$@"; do
        # shellcheck disable=SC2086
        VLC_OPENCL_DOT=$(cut -s -d/ -f2 <<<"$device") "$vlc" index --emb "$work/input.u8" \
            --dtype uint8 --d "$d" $options --device "${device%%/*}" --out "$work/out.vlc" >/dev/null
        hash=$(sha256sum <"$work/out.vlc" | cut -d' ' -f1)
        if [ -z "$expected" ]; then
            expected=$hash
            echo "$hash  $configuration"
        elif [ "$hash" != "$expected" ]; then
            echo "$hash  differs on $device"
            status=1
        fi
    done
done
exit $status
