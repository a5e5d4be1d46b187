"""What happens in a run, as lines of its ``events.jsonl``: written by the ServerApp, read by
``fedrounds server`` as they come, and by ``fedrounds server status``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.errors import FedroundsError
from common.journal import append_line
from common.messages import Description

EVENTS = "events.jsonl"


class Events:
    """A :class:`server.job.Progress` that writes."""

    def __init__(self, folder: Path, attempt: str) -> None:
        """Name the file.

        Args:
            folder: the run's.
            attempt: which start of a server this is for. A ServerApp whose server was killed takes
                some seconds to end, and its last words are not the next one's.
        """
        self._path = folder / EVENTS
        self._attempt = attempt

    def _write(self, facts: Mapping[str, Any]) -> None:
        append_line(self._path, {"attempt": self._attempt, **facts})

    def described(self, descriptions: Mapping[str, Description]) -> None:
        for site, description in descriptions.items():
            plan = description.privacy
            facts: dict[str, Any] = {"event": "joined", "site": site}
            if plan is not None:
                facts |= {
                    "noise_multiplier": plan.noise_multiplier,
                    "sample_rate": plan.sample_rate,
                    "max_grad_norm": plan.max_grad_norm,
                    "steps": plan.steps,
                    "epsilon_run": plan.epsilon_run,
                    "delta": plan.delta,
                }
            if description.evaluate_only:
                facts["evaluate_only"] = description.evaluate_only
            self._write(facts)

    def round_done(self, line: Mapping[str, Any]) -> None:
        self._write({"event": "round", **line})

    def ended(self, error: BaseException | None) -> None:
        """The last line of a ServerApp that ended by itself; one that was killed leaves none."""
        code = 0
        if error is not None:
            code = error.exit_code if isinstance(error, FedroundsError) else 3
        text = None if error is None else str(error) or type(error).__name__
        self._write({"event": "ended", "exit_code": code, "error": text})


def describe(event: Mapping[str, Any], rounds: int) -> str:
    """An event in words, for the terminal."""
    if event["event"] == "joined":
        text = f"  {event['site']} joined"
        if "epsilon_run" in event:
            text += (
                f": σ={event['noise_multiplier']:g} q={event['sample_rate']:.4f} "
                f"C={event['max_grad_norm']:g}; {event['steps']} steps plan "
                f"ε={event['epsilon_run']:.3f} at δ={event['delta']:g}"
            )
        if "evaluate_only" in event:
            text += f"; only evaluates: {event['evaluate_only']}"
        return text
    if event["event"] == "round":
        lines = [
            f"  round {event['round']}: {s} left out: {w}" for s, w in event["refused"].items()
        ]
        lines += [f"  round {event['round']}: answer dropped: {what}" for what in event["dropped"]]
        note = "" if event["applied"] else " not applied: too few answers"
        pooled = (event["validation"] or {}).get("pooled") or {}
        if pooled.get("auroc_macro") is not None:
            note += f" validation AUROC {pooled['auroc_macro']:.3f}"
        lines.append(f"round {event['round']}/{rounds}{note} {event['seconds']:.1f} s")
        return "\n".join(lines)
    return "the run ended" if event["error"] is None else f"the run ended: {event['error']}"


def result_lines(result: Mapping[str, Any]) -> list[str]:
    """A finished run in a few lines: the pooled figure, and each site's ε."""
    lines = []
    pooled = (result["metrics"] or {}).get("auroc_macro")
    if pooled is not None and pooled["value"] is not None:
        lines.append(
            f"pooled test macro AUROC {pooled['value']:.3f} ({pooled['low']:.3f} to "
            f"{pooled['high']:.3f}) after {result['rounds']} rounds"
        )
    for site in result["sites"]:
        privacy = site["privacy"]
        text = f"  {site['name']}: no differential privacy"
        if privacy is not None:
            text = (
                f"  {site['name']}: ε = {privacy['epsilon_run']:.3f} this run, "
                f"{privacy['epsilon']:.3f} over its ledger's life, at δ = {privacy['delta']:g} for "
                f"each {privacy['unit']} ({privacy['adjacency']}, {privacy['accountant']})"
            )
        if site["evaluate_only"]:
            since = site["evaluate_only"]
            text += f"; evaluated only from round {since['from_round']}: {since['reason']}"
        lines.append(text)
    return lines
