"""A run's approval: what it would train and cost is shown before its first round.

    1. the server asks what the run would cost (a ``query``); the handler prices it
    2. model, rounds and ε are written to ``approvals/RUN.json`` and to the audit
    3. ``approve: auto`` approves at once what the site's policy allows; ``approve: ask`` waits for
       a person, at the terminal of ``fedrounds client`` or with ``fedrounds client approve``
    4. ``train`` and ``evaluate`` are answered for approved runs alone, and for the very experiment
       that was approved

An approval outlives the process: a run that goes on after a crash is not asked about again.
"""

from __future__ import annotations

import time
from pathlib import Path

from flwr.app import Context, Message
from flwr.clientapp.typing import ClientAppCallable, Mod

from client.deploy.approvals import Approval, approval_path, read_approval, record
from client.deploy.consortium import Membership
from client.disclosure import log_error
from common.errors import FedroundsError, PolicyError
from common.messages import Description, Request, pack_refusal

POLL_SECONDS = 0.5
MARGIN_SECONDS = 5.0
"""An answer must leave this long before the server stops waiting for it."""


def consent_mod(folder: Path) -> Mod:
    """A mod of the ClientApp that lets through what was approved."""

    def guarded(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
        kind = message.metadata.message_type.partition(".")[0]
        try:
            request = Request.unpack(message.content)
            if kind != "query":
                require_approval(folder, request)  # 4
                return call_next(message, context)
            answer = call_next(message, context)  # 1
            if "refusal" not in answer.content.config_records["config"]:
                _ask(folder, request, Description.unpack(answer.content), _deadline(message))
        except Exception as error:  # its text may hold a path: it stays here
            log_error(folder, kind, error)
            code = error.code if isinstance(error, FedroundsError) else FedroundsError.code
            return Message(pack_refusal(code), reply_to=message)
        return answer

    return guarded


def require_approval(folder: Path, request: Request) -> None:
    """Refuse a request of a run that was not approved, or of another experiment than was.

    Raises:
        PolicyError: saying so.
    """
    path = approval_path(folder, request.run_id)
    approval = read_approval(path) if path.exists() else None
    if approval is None or approval.decision != "approved":
        raise PolicyError(f"the run '{request.run_id}' was not approved here")
    if approval.experiment_sha256 != request.experiment.digest():
        raise PolicyError(f"the run '{request.run_id}' asks for another experiment than approved")


def _ask(folder: Path, request: Request, description: Description, deadline: float) -> None:
    """Show a run, and wait for the decision.

    Raises:
        PolicyError: where it is refused, or nobody decided in time.
    """
    path = approval_path(folder, request.run_id)
    shown = _shown(request, description)
    before = read_approval(path) if path.exists() else None
    if before is not None and before.experiment_sha256 == shown.experiment_sha256:
        if before.decision == "asked":
            before = _wait(path, deadline)
        _expect_approved(before)
        return
    if Membership.open(folder).approve == "auto":  # 3
        record(folder, shown, "approved", "policy")
        return
    record(folder, shown, "asked", "")  # 2
    _expect_approved(_wait(path, deadline))


def _wait(path: Path, deadline: float) -> Approval:
    while (approval := read_approval(path)).decision == "asked":
        if time.time() > deadline:
            raise PolicyError(f"nobody approved the run '{approval.run_id}' in time")
        time.sleep(POLL_SECONDS)
    return approval


def _expect_approved(approval: Approval) -> None:
    if approval.decision != "approved":
        raise PolicyError(f"the run '{approval.run_id}' was refused here by {approval.by}")


def _shown(request: Request, description: Description) -> Approval:
    experiment, price = request.experiment, description.privacy
    return Approval(
        run_id=request.run_id,
        experiment=experiment.name,
        experiment_sha256=experiment.digest(),
        model=experiment.model.name,
        rounds=experiment.rounds,
        round_steps=experiment.round_steps,
        epsilon_run=None if price is None else price.epsilon_run,
        epsilon_life=None if price is None else price.epsilon,
        delta=None if price is None else price.delta,
        unit=None if price is None else price.unit,
        steps=None if price is None else price.steps,
        evaluate_only=description.evaluate_only,
    )


def _deadline(message: Message) -> float:
    """When the server stops waiting: a message and its answer live for its ``ttl``."""
    return message.metadata.created_at + message.metadata.ttl - MARGIN_SECONDS
