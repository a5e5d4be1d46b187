"""``fedrounds server``: a run with the sites of a consortium, its status, and going on with it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from common.compose import group_choices, load_settings
from common.errors import SettingsError
from common.flower import quiet_environment
from common.start import Run, new_run, resumed_run
from server.deploy.options import ServerOptions, split_words
from server.provision.consortium import Consortium

HELP = """\
usage: fedrounds server COORDINATOR [KEY=VALUE …]
       fedrounds server resume COORDINATOR RUN [KEY=VALUE …]
       fedrounds server status COORDINATOR [--json]

Trains with the sites of a consortium, each its own process on its own machine. COORDINATOR is the
folder that 'fedrounds provision' made.

  KEY=VALUE      any setting of 'fedrounds simulate': experiment=…, privacy.epsilon=3, rounds=40.
                 No data is here, so data.classes must be given where the experiment has none;
                 paths, columns and public counts are each site's own, in its site.yaml
  resume         go on with a run that was cut off, at its last committed round; RUN is its
                 output_dir, by default under COORDINATOR/runs
  status         sites, certificates, runs, the last error; exit 0 whatever it finds

of this machine
  sites=[A,B]           who takes part; by default every site with a registered key
  wait_seconds=600      how long to wait for the sites before round 1, and for their approval
  deadline_seconds=600  how long a round waits for answers; who is slower is left out of it
  quorum=N              least answers for a round to be applied; by default more than half
  proxy=false           do not start nginx: another process forwards /v1/fleet/ to the SuperLink
  output_dir=RUN        where the run is written

groups
{groups}
exit codes: 0 done, 2 wrong settings, or a site refused, 3 incomplete, 130 interrupted (Ctrl-C,
SIGTERM; every process ends within 10 s, and 'resume' goes on)
"""


def help_text() -> str:
    groups = "\n".join(f"  {name:<12} {', '.join(c)}" for name, c in group_choices().items())
    return HELP.format(groups=groups + "\n")


def main(words: Sequence[str]) -> int:
    """The subcommand; returns the exit code."""
    rest = list(words)
    if rest[:1] == ["status"]:
        return _status(rest[1:])
    resume = rest[:1] == ["resume"]
    if resume:
        rest = rest[1:]
    places = [word for word in rest if "=" not in word]
    if len(places) != 1 + resume:
        expected = "server resume COORDINATOR RUN" if resume else "server COORDINATOR [KEY=VALUE …]"
        raise SettingsError(f"expected '{expected}', got {len(places)} words without '='")
    options, settings = split_words([word for word in rest if "=" in word])
    consortium = Consortium.open(Path(places[0]))
    if resume:
        if settings:
            raise SettingsError(f"a run goes on with its own settings, not {', '.join(settings)}")
        run = resumed_run(Path(places[1]), has_data=False)
    else:
        run = _new_run(consortium, settings)
    return _run(consortium, run, options)


def _new_run(consortium: Consortium, words: Sequence[str]) -> Run:
    """A run of these settings, by default in a folder of the coordinator's own."""
    settings = load_settings(words, has_data=False)
    if settings.output_dir is None:
        stamp = time.strftime("%Y-%m-%d_%H-%M-%S")
        folder = consortium.folder / "runs" / f"{stamp}_{settings.experiment}"
        settings = replace(settings, output_dir=str(folder))
    return new_run(settings, f"fedrounds server resume {consortium.folder}")


def _run(consortium: Consortium, run: Run, options: ServerOptions) -> int:
    from server.deploy.serve import serve  # slow to import: a wrong word has failed before

    quiet_environment()
    print(f"run {run.run_id} in {run.output_dir}", flush=True)
    try:
        ended = serve(consortium, run, options)
    except KeyboardInterrupt:
        print(f"go on with: fedrounds server resume {consortium.folder} {run.output_dir}")
        raise
    if ended.error is not None:
        for line in ended.error.splitlines():
            print(f"error: {line}", file=sys.stderr)
    return ended.exit_code


def _status(words: Sequence[str]) -> int:
    from server.deploy.status import look, print_status

    places = [word for word in words if word != "--json"]
    if len(places) != 1:
        raise SettingsError("expected 'server status COORDINATOR [--json]'")
    status = look(Consortium.open(Path(places[0])))
    if "--json" in words:
        print(json.dumps(status, indent=1))
    else:
        print_status(status)
    return 0
