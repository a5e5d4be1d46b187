"""The run in one sentence, and in a few figures."""

from __future__ import annotations

from common.metrics.text import figure_text
from simulations.report.run import FinishedRun


def outcome_sentence(run: FinishedRun) -> str:
    """Who trained, how well, at what price."""
    result = run.result
    trained = sum(not site["evaluate_only"] for site in run.sites)
    sites = (
        f"{trained} of {len(run.sites)} sites" if trained < len(run.sites) else f"{trained} sites"
    )
    text = f"{sites} trained for {result['rounds']} of {run.settings.rounds} rounds"
    if result["metrics"]:
        text += f"; pooled test macro AUROC {figure_text(result['metrics']['auroc_macro'])}"
    spent = [site["privacy"] for site in run.private_sites]
    if not spent:
        return f"{text}; without differential privacy."
    worst = max(spent, key=lambda p: float(p["epsilon_run"]))
    return (
        f"{text}; this run cost at most ε = {worst['epsilon_run']:.3f} at δ = {worst['delta']:g} "
        f"for each {worst['unit']} ({worst['adjacency']}, {worst['accountant']})."
    )


def key_figures(run: FinishedRun) -> list[tuple[str, str]]:
    """What a reader looks for first: names and values."""
    result = run.result
    metrics = result["metrics"]
    seconds = result["seconds"]["total"]
    return [
        ("sites", str(len(run.sites))),
        ("rounds", f"{result['rounds']} of {run.settings.rounds}"),
        ("macro AUROC", figure_text(metrics["auroc_macro"]) if metrics else "none"),
        ("model", f"{result['model']['name']}, {result['model']['parameters']:,} parameters"),
        ("wall time", f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"),
        ("exchanged", f"{sum(result['bytes'].values()) / 2**20:.1f} MiB"),
    ]
