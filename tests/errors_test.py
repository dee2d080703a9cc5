"""faiss_vlc/docs/errors.md has every message that the C++ sources throw, word for word."""

import pathlib
import re
import unittest

ROOT = next(folder for folder in pathlib.Path(__file__).resolve().parents if (folder / "CHANGELOG.md").exists())
PAGE = ROOT / "faiss_vlc" / "docs" / "errors.md"

THROWN = re.compile(r'\bfail\(\s*(?=")|\bFAISS_THROW_IF_NOT_MSG\([^"]*(?=")')
PIECE = re.compile(r'\s*(?://[^\n]*\n\s*)*(?:"((?:[^"\\]|\\.)*)"|(PRI\w+))')
CONVERSION = re.compile(r"%[-+ 0#]*[0-9]*(?:\.[0-9]+)?(?:hh|h|ll|l|z|t|j)?(?:[diouxXeEfgGcsp]|PRI)")


def thrown(text):
    """The formats of a source, their parts joined and inttypes.h's macros as PRI."""
    for call in THROWN.finditer(text):
        at, message = call.end(), ""
        while piece := PIECE.match(text, at):
            message += "PRI" if piece[2] else piece[1]
            at = piece.end()
        yield message.replace('\\"', '"').replace("\\\\", "\\")


def pattern(message):
    """The message with * for each part that changes."""
    return re.sub(r"<[^<>]*>", "*", CONVERSION.sub("*", message)).strip()


def documented():
    spans = re.findall(r"`([^`]+)`", PAGE.read_text(encoding="utf-8"))
    return {pattern(" ".join(span.split())) for span in spans}


class Errors(unittest.TestCase):
    def test_every_message_is_explained(self):
        # placeholders alone say what another message says; an asterisk may stand for several parts
        known = {re.sub(r"\*+", "*", entry) for entry in documented()}
        missing, seen = [], 0
        for folder in ("faiss_vlc", "opencl", "python_bindings"):
            for path in sorted((ROOT / folder).rglob("*")):
                if path.suffix not in (".cpp", ".h", ".i"):
                    continue
                for message in thrown(path.read_text(encoding="utf-8")):
                    entry = re.sub(r"\*+", "*", pattern(message))
                    if re.search("[a-z]", entry):
                        seen += 1
                        if entry not in known:
                            missing.append(f"{path.relative_to(ROOT)}: {message}")
        self.assertGreater(seen, 150)
        self.assertEqual(missing, [], f"not in {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    unittest.main()
