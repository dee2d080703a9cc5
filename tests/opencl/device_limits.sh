#!/bin/bash
# Devices that lack something, as environment variables of the ICD loader and of PoCL and Oclgrind's
# options imitate them: under `auto` the same index comes of it, and who asked for the device gets an
# error that names it, and no file.
#
#   device_limits.sh <vlc> [<oclgrind>]
set -eu
vlc=$(realpath "$1")
oclgrind=${2:-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
unset VLC_DEVICE
mkdir no_icd
# what PoCL calls the CPU: pthread-..., since 4.0 cpu-...
pocl=$("$vlc" info --devices | sed -n 's/^opencl:\(pthread\|cpu\)-.*/\1/p' | head -n 1)
awk 'BEGIN { srand(1); for (i = 0; i < 3600; i++) printf "%c", 33 + int(rand() * 90) }' >rows.u8
options=(index --emb rows.u8 --dtype uint8 --d 12 --m 5 --bits 3 --iterations 2)
"$vlc" "${options[@]}" --device reference --out expected.vlc >/dev/null

fault() {
    echo "$name: $1"
    cat out err
    exit 1
}

# limit <name> <works|fails> <part of the error> <device> <command in front of vlc>...
limit() {
    name=$1
    local outcome=$2 part=$3 device=$4
    shift 4
    rm -f x.vlc
    timeout 120 "$@" "$vlc" "${options[@]}" --device auto --out x.vlc >out 2>err || fault "auto fails"
    cmp -s x.vlc expected.vlc || fault "auto gives another index"
    rm -f x.vlc
    if timeout 120 "$@" "$vlc" "${options[@]}" --device "$device" --out x.vlc >out 2>err; then
        [ "$outcome" = works ] || fault "no error"
        cmp -s x.vlc expected.vlc || fault "another index"
    else
        [ $? -eq 1 ] || fault "not a clean end"
        [ "$outcome" = fails ] || fault "an error"
        grep -q "$part" err || fault "the error does not say '$part'"
        [ ! -e x.vlc ] || fault "half an index is left"
    fi
    echo "$name: $outcome"
}

limit "no ICD" fails "there are: none" opencl: env OCL_ICD_VENDORS="$work/no_icd/" OPENCL_VENDOR_PATH="$work/no_icd/"
limit "no device" fails "there are: none" "opencl:$pocl-" env POCL_DEVICES=none
limit "kernels that don't build" fails "OpenCL device '$pocl-.*building" "opencl:$pocl-" \
    env POCL_EXTRA_BUILD_FLAGS=-Dint=nonsense POCL_KERNEL_CACHE=0
limit "a compiler that refuses options" fails "OpenCL device '$pocl-.*building" "opencl:$pocl-" \
    env POCL_EXTRA_BUILD_FLAGS=-nonsense POCL_KERNEL_CACHE=0
limit "work-groups of 16" works "" "opencl:$pocl-" env POCL_MAX_WORK_GROUP_SIZE=16
if [ -n "$oclgrind" ]; then
    limit "1 KiB of local memory" fails "OpenCL device 'Oclgrind.*clEnqueueNDRangeKernel" opencl:Oclgrind \
        "$oclgrind" --local-mem-size 1024
    limit "CLBlast's work-groups are too large" fails "OpenCL device 'Oclgrind.*CLBlast" opencl:Oclgrind \
        "$oclgrind" --max-wgsize 16
    limit "4 KiB of memory" fails "OpenCL device 'Oclgrind.*too little" opencl:Oclgrind \
        "$oclgrind" --global-mem-size 4096
fi
