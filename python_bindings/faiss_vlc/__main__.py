"""python -m faiss_vlc: runs a program with VLC known to its faiss, or draws a report of an index."""

import importlib
import os
import runpy
import sys

_USAGE = """\
usage: python -m faiss_vlc PROGRAM [ARGUMENT ...]      a script, or a folder or zip file with a __main__.py
       python -m faiss_vlc -m MODULE [ARGUMENT ...]    a module, as python -m runs it
       python -m faiss_vlc report INDEX [OPTION ...]   a page about an index; report --help lists options

The program runs as python runs it, but its faiss knows VLC, and so does that of its child processes where
faiss_vlc is installed. A script that is called report is run as ./report."""


def _report(arguments):
    try:
        report = importlib.import_module("faiss_vlc.report")
    except ModuleNotFoundError as error:
        if error.name == "faiss_vlc.report":
            return f"python -m faiss_vlc: no report in {os.path.dirname(__file__)}: expected the module report.py there"
        return f"python -m faiss_vlc: report needs the package {error.name}, which is not installed"
    return report.main(arguments)


def main(arguments):
    """What `python -m faiss_vlc` does with its arguments; returns what sys.exit() takes."""
    if not arguments or arguments == ["-m"]:
        print(_USAGE, file=sys.stderr)
        return 2
    first = arguments[0]
    if first in ("-h", "--help"):
        print(_USAGE)
        return 0
    if first == "report":
        return _report(arguments[1:])
    if first != "-m" and first.startswith("-"):
        return f"python -m faiss_vlc: expected a program, -m, report or --help, got {first!r}"
    os.environ["VLC_LOAD"] = "1" # for processes that it starts
    if first == "-m":
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        return 0
    if not os.path.exists(first):
        return f"python -m faiss_vlc: expected a program, got {first!r}, where there is no file"
    sys.argv = list(arguments)
    if os.path.isfile(first) and not getattr(sys.flags, "safe_path", False):
        sys.path[0] = os.path.dirname(os.path.realpath(first)) # until here the folder of work, for -m
    runpy.run_path(first, run_name="__main__")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
