"""The one command: `singtech <verb> [name=value …]`, or `python -m singtech <verb>`."""

import atexit
import contextlib
import os
import re
import shutil
import sys
import tempfile
from importlib import import_module, metadata
from pathlib import Path

from singtech.io.atomic import escape_text, expand_home

VERBS = {
    "run": "train and score one run, or a sweep of them",
    "prepare": "download a corpus, cut it into clips, list its content",
    "verify": "compare a corpus with its expected content",
    "plan": "count what a sweep trains, its time and disk space",
    "tables": "render all tables and figures",
    "report": "write a report of a corpus on one page",
    "offsets": "draw the sampling points of a trained network",
    "predict": "name the techniques of any recordings",
    "export": "write a trained network as a folder",
    "probe": "decode singer, context and technique from features",
    "examples": "draw one clip of each technique",
    "protocol": "write the clips of the paper's protocol, or of a corpus",
    "score": "score the predictions of any system for these clips",
    "pack": "pack all runs into one file, without weights",
    "merge": "add the runs of a packed file to yours",
    "store": "list, check or remove stored runs and phases",
}
PATHS = ("output_dir=", "to=", "data.root=")
COMPLETION = ("-sc", "--shell-completion")


def main() -> int:
    """Run the verb that the first argument names, and return the exit status."""
    from singtech.cli.problems import run_verb

    return run_verb(_run_verb)  # around the imports too


def _run_verb() -> int:
    sys.argv[:] = ["singtech", *(re.sub("(?<==)~(?=/|$)", str(expand_home("~")), word) for word in sys.argv[1:])]
    verb = sys.argv[1] if len(sys.argv) > 1 else ""
    for word in sys.argv:
        if word in PATHS:
            print(f"error: {word}: its value is missing; name a path.", file=sys.stderr)
            return 2
        if word.startswith(PATHS) and word != escape_text(word):
            print(f"error: {escape_text(word)}: a control character, or no UTF-8; rename it.", file=sys.stderr)
            return 2
    if verb in ("-V", "--version", "version"):
        print(f"singtech {metadata.version('singtech')}")
        return 0
    if verb in ("", "-h", "--help", "help"):
        print("usage: singtech <verb> [name=value …]\n")
        print(*(f"  {name:10}{text}" for name, text in VERBS.items()), sep="\n")
        print("\n`singtech <verb> --help` shows the options.")
        return 0
    if verb in COMPLETION:
        from singtech.cli.usage import complete_words

        words = complete_words(list(VERBS)) if "query" in "".join(sys.argv) else None
        if words is not None:
            print(*words)
            return 0
        verb = "run"
    elif verb in VERBS:
        del sys.argv[1]
    else:
        print(f"error: {verb}: no such verb; there are {', '.join(VERBS)}.", file=sys.stderr)
        return 2
    _prepare_libraries()
    return import_module("singtech.run" if verb == "run" else f"singtech.cli.{verb}").main()


def _prepare_libraries() -> None:
    """Keep a user's matplotlibrc out of figures, and caches out of a home folder that cannot be written."""
    os.environ |= {"MPLBACKEND": "agg", "MATPLOTLIBRC": os.devnull}  # Jupyter may name a backend that is not installed
    if Path("matplotlibrc").exists():  # in the current folder, which matplotlib tries first
        with contextlib.chdir(Path(__file__).parent):
            import_module("matplotlib")
    if not os.access(expand_home("~"), os.W_OK):
        folder = tempfile.mkdtemp(prefix="singtech-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        for name in ("HOME", "MPLCONFIGDIR", "NUMBA_CACHE_DIR"):
            os.environ.setdefault(name, folder)


if __name__ == "__main__":
    sys.exit(main())
