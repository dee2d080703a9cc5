#!/usr/bin/env python3
"""The manual page of `vlc`, made of what its --help says: man_page.py build/release/vlc vlc.1"""

import pathlib
import re
import subprocess
import sys


def help_of(program, *words):
    return subprocess.run([program, *words, "--help"], capture_output=True, text=True, check=True).stdout


def escaped(text):
    return text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")


def options(text):
    """(option, what it does) pairs of a help text."""
    pairs = []
    for line in text.splitlines():
        found = re.match(r"^  (-\S+.*?)(?:\s{2,}(.*))?$", line)
        if found:
            pairs.append([found.group(1), found.group(2) or ""])
        elif pairs and re.match(r"^\s{10,}\S", line):
            pairs[-1][1] += " " + line.strip()
    return pairs


def commands(text):
    block = text.split("Subcommands:", 1)[1]
    return re.findall(r"^  (\S+)\s+(.*)$", block, re.M)


def main(program, out):
    top = help_of(program)
    page = ['.TH VLC 1 "" "faiss-vlc" "User commands"', ".SH NAME", "vlc \\- index, search and look at vectors compressed by faiss\\-vlc",
            ".SH SYNOPSIS", ".B vlc", "COMMAND [OPTIONS]", ".SH COMMANDS"]
    for name, what in commands(top):
        page += [f".SS vlc {escaped(name)}", escaped(what)]
        for option, does in options(help_of(program, name)):
            page += [".TP", f".B {escaped(option)}", escaped(does) or "\\&"]
    page += [".SH ENVIRONMENT", ".TP", ".B VLC_DEVICE", "auto, reference, opencl:<part of a name> or opencl-all[:<part of a name>]: what trains.",
             ".TP", ".B VLC_OPENCL_DOT", "portable: plain OpenCL C, for an OpenCL compiler that fails on more.",
             ".TP", ".B VLC_SIMD", "portable, avx2, avx512, avx512_vbmi or amx: the instructions to use."]
    pathlib.Path(out).write_text("\n".join(page) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
