"""``fedrounds audit``: the command line."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from client.site import Site
from common.checkpoint import write_json
from common.errors import SettingsError
from common.schema import to_plain
from simulations.audit.settings import AuditSettings, audit_settings
from simulations.output import output_folder
from simulations.run import make_console

HELP = """\
usage: fedrounds audit [SITE] [--json] [KEY=VALUE …]

Attack this build's private training, and set what an attacker can tell beside the ε claimed:
canary patients are in or out by a coin, and every coin is guessed from the noisy steps. On
phantom images; nothing is priced. Writes audit.json and inversion.png.

  SITE                  a site's folder: its training patients stand beside the canaries. Each
                        audit is then priced in the site's ledger as a training of a model called
                        "audit", results go to SITE/pages/ alone, and no gradient is inverted
  --json                print audit.json at the end, and nothing else on standard output

settings
  privacy.epsilon=8     ε claimed; σ is planned for it
  privacy.delta=1e-5
  privacy.sample_rate=0.1
  steps=200
  canaries=4096         patients that may be in or out
  seed=0                of the coins and the phantom; noise and sampling are never seeded
  repeat=1              audits in a row, with seeds seed, seed + 1, …
  output_dir=runs/DATE_audit

CONSISTENT says that no test rejected the claim, at a false alarm of 0.001 an audit; an audit can
refute a claim and never confirm it.

exit codes: 0 CONSISTENT, 1 VIOLATION, 2 wrong settings, 130 interrupted
"""


def help_text() -> str:
    return HELP


def main(arguments: Sequence[str]) -> int:
    """The subcommand; returns the exit code."""
    as_json = "--json" in arguments
    words = [word for word in arguments if word != "--json"]
    folders = [word for word in words if "=" not in word]
    if len(folders) > 1:
        raise SettingsError(f"expected at most one SITE, got {' '.join(folders)}")
    settings = audit_settings([word for word in words if "=" in word])
    site = Site.open(Path(folders[0])) if folders else None
    answer = audit(settings, _folder(settings, site), make_console(as_json), site)
    if as_json:
        print(json.dumps(answer, indent=1, allow_nan=False))
    return 1 if answer["verdict"] == "VIOLATION" else 0


def audit(
    settings: AuditSettings, folder: Path, console: Console, site: Site | None = None
) -> dict[str, Any]:
    """Audit ``settings.repeat`` times, and write what was found.

    Args:
        settings: what to audit.
        folder: where to write.
        console: where to tell.
        site: whose patients stand beside the canaries; the phantom's by default.

    Returns:
        What ``audit.json`` holds: the claim, every audit, the inversion (on the phantom), and the
        verdict, which is VIOLATION where any audit's is.

    Raises:
        PolicyError: where the site refuses the training.
    """
    import torch

    from simulations.audit.audit import run_audit
    from simulations.audit.claim import make_claim
    from simulations.audit.curve import claimed_curve
    from simulations.audit.inversion import invert
    from simulations.audit.phantom import phantom_patients
    from simulations.audit.picture import write_picture
    from simulations.audit.report import print_audit, print_inversion, verdict_line
    from simulations.audit.site import charged_patients, site_experiment

    torch.set_num_threads(1)  # one canary is one coordinate: too little for more
    claim = make_claim(settings.privacy, settings.steps)
    if site is not None:
        experiment = site_experiment(site, claim)
        claim = replace(claim, unit=site.unit(experiment))
    console.print(claim.text, highlight=False)
    curve = claimed_curve(claim.segment)
    results = []
    with _bar(console) as bar:
        task = bar.add_task("steps", total=settings.repeat * settings.steps)
        for seed in range(settings.seed, settings.seed + settings.repeat):
            others = (
                phantom_patients(seed)
                if site is None
                else charged_patients(site, experiment, claim)
            )
            result = run_audit(
                claim, curve, settings.canaries, seed, others, lambda: bar.advance(task)
            )
            results.append(result)
            if settings.repeat > 1:
                console.print(f"{verdict_line(result)}; {result.seconds:.1f} s", highlight=False)
    violations = sum(result.verdict == "VIOLATION" for result in results)
    answer = {
        "claim": to_plain(claim),
        "verdict": "VIOLATION" if violations else "CONSISTENT",
        "violations": violations,
        "audits": to_plain(results),
    }
    if settings.repeat == 1:
        print_audit(console, results[0], claim)
    if site is None:
        found = invert(claim, settings.seed)
        write_picture(folder / "inversion.png", found, claim)
        print_inversion(console, found)
        answer["inversion"] = {
            "correlation_plain": found.correlation_plain,
            "correlation_private": found.correlation_private,
        }
    write_json(folder / "audit.json", answer)
    if settings.repeat == 1:
        console.print(verdict_line(results[0]), highlight=False)
    else:
        kept = settings.repeat - violations
        console.print(f"CONSISTENT {kept} of {settings.repeat} times", highlight=False)
    console.print(f"written: {folder}", highlight=False)
    return answer


def _folder(settings: AuditSettings, site: Site | None) -> Path:
    """Where the results go: of a site's patients, into its own ``pages/`` and nowhere else.

    Raises:
        SettingsError: where something is there, or a site's results would leave its folder.
    """
    if site is None:
        return output_folder(settings.output_dir, "audit")
    if settings.output_dir is not None:
        raise SettingsError(
            f"output_dir={settings.output_dir}: results on a site's patients stay in its folder; "
            "leave output_dir out"
        )
    return site.folder / "pages" / f"audit-{time.strftime('%Y-%m-%d_%H-%M-%S')}"


def _bar(console: Console) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
