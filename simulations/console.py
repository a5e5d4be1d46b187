"""What a person sees while a simulation runs: live on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from common.config import Settings
from common.messages import Description
from common.metrics.text import bin_error_text, class_table, figure_text
from simulations.report.text import guarantee_text, of_model, pooled_metrics


def privacy_line(settings: Settings) -> str:
    """The first line of a run: what is promised, or that nothing is."""
    privacy = settings.privacy
    if not privacy.enabled:
        return "privacy: none (no differential privacy; the result says so)"
    unit = settings.data.unit_name if privacy.unit == "patient" else privacy.unit
    target = f"ε ≤ {privacy.epsilon:g}" if privacy.epsilon is not None else "ε as spent"
    sigma = "" if privacy.noise_multiplier is None else f", σ = {privacy.noise_multiplier:g}"
    return (
        f"privacy: {target} at δ = {privacy.delta:g} for each {unit} at each site{sigma} "
        f"(add-or-remove-one, {privacy.accountant})"
    )


class ConsoleProgress:
    """Tells rounds as they end; a context manager, since a live bar must be put away."""

    def __init__(self, console: Console, rounds: int) -> None:
        self._console = console
        self._rounds = rounds
        self._bar: Progress | None = None
        if console.is_terminal:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("{task.fields[note]}"),
            )
            self._bar = Progress(*columns, console=console)
            self._task = self._bar.add_task("rounds", total=rounds, note="starting")

    def __enter__(self) -> ConsoleProgress:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def described(self, descriptions: Mapping[str, Description]) -> None:
        for site, description in descriptions.items():
            plan = description.privacy
            if plan is not None:
                text = (
                    f"  {site}: σ={plan.noise_multiplier:g} q={plan.sample_rate:.4f} "
                    f"C={plan.max_grad_norm:g}; {plan.steps} steps plan ε={plan.epsilon_run:.3f}"
                )
                self._console.print(text, highlight=False)
            if description.evaluate_only:
                why = f"  {site} only evaluates: {description.evaluate_only}"
                self._console.print(why, highlight=False)

    def round_done(self, line: Mapping[str, Any]) -> None:
        note = _note(line)
        for site, reason in line["refused"].items():
            self._console.print(
                f"  round {line['round']}: {site} left out: {reason}", highlight=False
            )
        if self._bar is not None:
            self._bar.update(self._task, completed=line["round"], note=note)
        else:
            text = f"round {line['round']}/{self._rounds} {note} {line['seconds']:.1f} s"
            self._console.print(text, highlight=False)


def print_result(console: Console, result: Mapping[str, Any]) -> None:
    """The table of sites and the pooled figures of a finished run."""
    table = Table(title=f"{result['experiment']}: {result['rounds']} rounds, seed {result['seed']}")
    for heading in ("site", "train", "test", "macro AUROC", "ε (run)", "ε (life)", "guarantee"):
        table.add_column(heading)
    for site in result["sites"]:
        privacy = site["privacy"]
        metrics = site["metrics"]
        unit = "patients"
        noised = " (noised)" if site["released"] == "noised" else ""
        table.add_row(
            site["name"],
            str(site.get(unit, {}).get("train", "")),
            str(site.get(unit, {}).get("test", "")),
            f"{figure_text(metrics['auroc_macro'])}{noised}" if metrics else "none",
            f"{privacy['epsilon_run']:.3f}" if privacy else "no privacy",
            f"{privacy['epsilon']:.3f}" if privacy else "no privacy",
            guarantee_text(privacy) if privacy else "",
        )
    console.print(table)
    for site in result["sites"]:
        if site["metrics"] and site["metrics"]["left_out"]:
            names = ", ".join(site["metrics"]["left_out"])
            why = "too few, or withheld by its policy"
            console.print(f"{site['name']}: no AUROC of {names} ({why})", highlight=False)
        if site["evaluate_only"]:
            since = site["evaluate_only"]
            console.print(
                f"{site['name']} evaluated only, from round {since['from_round']}: "
                f"{since['reason']}",
                highlight=False,
            )
    if result["kept"]["rule"] != "last":
        kept = result["kept"]
        console.print(f"kept: round {kept['round']}, by {kept['rule']}", highlight=False)
    pooled = pooled_metrics(result)
    if not any(pooled.values()):
        console.print("pooled test: no site released any figure", highlight=False)
    for name, metrics in pooled.items():
        if metrics and "noise_std" in metrics:
            _print_noised(console, name, metrics)
        elif metrics:
            _print_metrics(console, name, metrics)
    if result["metrics"]:
        console.print(class_table(result["metrics"]))


def _print_noised(console: Console, name: str, metrics: Mapping[str, Any]) -> None:
    """Figures from noised histograms of patients, with what the noise and the bins may hide."""
    macro = figure_text(metrics["auroc_macro"])
    lines = [
        f"pooled test{of_model(name)}, noised: macro AUROC of patients {macro}",
        f"noise of ±{metrics['noise_std']:.1f} on each cell is in the interval",
    ]
    if metrics["bin_error"] is not None:
        lines.append(f"bins of the score account for ±{metrics['bin_error']:.3f} of it")
    console.print("; ".join(lines), highlight=False)


def _print_metrics(console: Console, name: str, metrics: Mapping[str, Any]) -> None:
    supported = metrics["auroc_macro_supported"]
    lines = [
        f"pooled test{of_model(name)}: macro AUROC {figure_text(metrics['auroc_macro'])}",
        f"over {', '.join(supported['support']['classes']) or 'no class'} (≥ "
        f"{supported['min_positives']} positives) {figure_text(supported)}",
        f"balanced accuracy {figure_text(metrics['balanced_accuracy'])}",
    ]
    lines.append(bin_error_text(metrics))
    console.print("; ".join(lines), highlight=False)


def _note(line: Mapping[str, Any]) -> str:
    if not line["applied"]:
        return "not applied: too few answers"
    if not line["validation"] or not line["validation"]["pooled"]:
        return ""
    value = line["validation"]["pooled"]["auroc_macro"]
    return "" if value is None else f"validation AUROC {value:.3f}"
