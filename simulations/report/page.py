"""``fedrounds report RUN``: the page, from what a finished run left on disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from common.checkpoint import write_bytes
from common.errors import SettingsError
from simulations.report.blocks import Section
from simulations.report.calibration import calibration_section
from simulations.report.card import write_card
from simulations.report.comparison import comparison_section
from simulations.report.curves import learning_section
from simulations.report.outcome import key_figures, outcome_sentence
from simulations.report.performance import performance_section
from simulations.report.privacy import privacy_section
from simulations.report.remake import remake_section, settings_section
from simulations.report.roc import roc_section
from simulations.report.run import FinishedRun
from simulations.report.sites import absences_section, sites_section
from simulations.report.subgroups import subgroups_section

SECTIONS: tuple[Callable[[FinishedRun], Section | None], ...] = (
    sites_section,
    performance_section,
    roc_section,
    calibration_section,
    subgroups_section,
    comparison_section,
    learning_section,
    privacy_section,
    absences_section,
    remake_section,
    settings_section,
)
"""In the order of the page; a section that has nothing to tell of a run is ``None``."""

TEMPLATES = Path(__file__).resolve().parent / "templates"


def help_text() -> str:
    return (
        "usage: fedrounds report RUN\n\nWrite RUN/report.html, MODEL_CARD.md and "
        "model_card.json anew: from what a finished run left\nin its folder, audits in folders "
        "RUN/audit…, and a person's answers in card_answers.yaml.\n"
    )


def main(arguments: Sequence[str]) -> int:
    """The subcommand; returns the exit code."""
    if len(arguments) != 1:
        raise SettingsError(f"expected one folder of a finished run, got {len(arguments)} words")
    print(write_report(Path(arguments[0])))
    return 0


def write_report(folder: Path) -> Path:
    """Write ``report.html`` and the model card into a run's folder; returns the page's path.

    Raises:
        CheckpointError: where the folder holds no finished run.
        SettingsError: where a person's answers for the card cannot be used.
    """
    run, path = FinishedRun.read(folder), folder / "report.html"
    write_card(run)
    write_bytes(path, render(run).encode())
    return path


def render(run: FinishedRun) -> str:
    """The page as one HTML text; nothing in it is loaded from elsewhere.

    Every text is escaped by the template; the plots alone go in as they stand.
    """
    sections = [section for build in SECTIONS if (section := build(run)) is not None]
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("report.html").render(
        title=f"fedrounds: {run.result['experiment']}",
        outcome=outcome_sentence(run),
        key_figures=key_figures(run),
        incomplete=run.result["incomplete"],
        sections=sections,
        run_id=run.result["run_id"],
        simulated=run.simulated,
        seed=run.result["seed"],
    )
