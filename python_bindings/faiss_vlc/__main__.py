"""python -m faiss_vlc report ..."""

import sys

from faiss_vlc import report

if __name__ == "__main__":
    if sys.argv[1:2] == ["report"]:
        sys.exit(report.main(sys.argv[2:]))
    sys.exit("python -m faiss_vlc report ...")
