"""The one command: `singtech <verb> [name=value …]`, or `python -m singtech <verb>`."""

import sys
from importlib import import_module

VERBS = {
    "run": "train and score one run, or a sweep of them",
    "prepare": "fetch a corpus, cut it into clips, count them",
    "verify": "check a corpus against what is known of it",
    "plan": "what a sweep would train, its time and disk",
    "tables": "render all tables and figures",
    "report": "put everything about a corpus on one page",
    "offsets": "draw where a trained network's kernels look",
    "predict": "name the techniques of any recordings",
    "export": "write a trained network as a folder",
    "examples": "draw one clip of each technique",
    "store": "list, check or remove stored runs and phases",
}


def main() -> int | None:
    """Run the verb that the first argument names."""
    verb = sys.argv[1] if len(sys.argv) > 1 else ""
    if verb in ("", "-h", "--help"):
        print("usage: singtech <verb> [name=value …]\n")
        print(*(f"  {name:10}{text}" for name, text in VERBS.items()), sep="\n")
        print("\n`singtech <verb> --help` says more.")
        return 0
    if verb not in VERBS:
        print(f"error: {verb}: no such verb; there are {', '.join(VERBS)}.", file=sys.stderr)
        return 2
    del sys.argv[1]
    sys.argv[0] = "singtech"
    return import_module("singtech.run" if verb == "run" else f"singtech.cli.{verb}").main()


if __name__ == "__main__":
    sys.exit(main())
