"""The one command: maps a subcommand to the module that does it, imported lazily."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

SUBCOMMANDS = {
    "simulate": ("simulations.run", "the whole experiment on this machine; -m sweeps"),
    "budget": ("simulations.budget", "plans ε, σ and steps from public sizes alone"),
    "audit": ("simulations.audit.command", "[SITE]: what an attacker can tell, beside ε"),
    "data": ("client.data_command", "PATH: checks a site's images before anything trains"),
    "provision": ("server.provision.command", "certificates, keys and a start-up kit a site"),
    "server": ("server.deploy.command", "COORDINATOR: a run with the sites of a consortium"),
    "client": ("client.deploy.command", "SITE: a site's process; init, --check, pause, leave"),
    "ledger": ("client.ledger_command", "ACTION SITE: show, verify, init or recover"),
    "evaluate": (
        "client.inference.evaluate_command",
        "MODEL DATA: how good a model is on a folder of labelled images",
    ),
    "predict": ("client.inference.predict_command", "MODEL IMAGE…: what a model says of images"),
    "explain": ("client.inference.explain_command", "MODEL IMAGE…: where an answer comes from"),
    "export": ("client.inference.export_command", "MODEL: one ONNX file, checked against PyTorch"),
    "report": ("simulations.report.page", "RUN: one self-contained HTML page of a run"),
    "compare": (
        "simulations.comparing.command",
        "RUN RUN…: differences paired by patient, and the spread over seeds",
    ),
}

HELP = """\
usage: fedrounds SUBCOMMAND [WORDS …] [KEY=VALUE …]

Hospitals train one image classifier together: no image leaves a hospital, and each one bounds
what the shared model reveals about any of its patients.

{subcommands}

fedrounds SUBCOMMAND --help says more. Exit codes: 0 done, 1 a check fell short, 2 wrong settings
or unusable input, 3 the run ended incomplete, 130 interrupted.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help", "help"):
        lines = [f"  {name:<10} {text}" for name, (_, text) in SUBCOMMANDS.items()]
        print(HELP.format(subcommands="\n".join(lines)), end="")
        return 0 if words else 2
    if words[0] == "--version":
        from importlib.metadata import version

        print(version("fedrounds"))
        return 0
    return _run(words[0], words[1:])


def _run(name: str, words: list[str]) -> int:
    from common.errors import FedroundsError
    from common.schema import suggest

    if name not in SUBCOMMANDS:
        print(f"error: unknown subcommand '{name}'{suggest(name, SUBCOMMANDS)}", file=sys.stderr)
        return 2
    try:
        module = importlib.import_module(SUBCOMMANDS[name][0])
        if any(word in ("-h", "--help") for word in words):
            print(module.help_text(), end="")
            return 0
        code: int = module.main(words)
    except FedroundsError as error:
        for line in str(error).splitlines():
            print(f"error: {line}", file=sys.stderr)
        return error.exit_code
    except OSError as error:  # a full disk, a folder that cannot be written
        print(f"error: {error}", file=sys.stderr)
        return FedroundsError.exit_code
    except KeyboardInterrupt:
        print("interrupted; what was committed is kept", file=sys.stderr)
        return 130
    return code


if __name__ == "__main__":
    sys.exit(main())
