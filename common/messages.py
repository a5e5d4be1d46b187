"""What crosses the wire: typed requests and answers, packed into Flower's records and back.

Flower's ``RecordDict`` carries arrays, scalars and texts. Each class here owns one message: its
``pack`` writes exactly the fields listed, its ``unpack`` checks them and nothing else is read.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from flwr.app import ConfigRecord, MetricRecord, RecordDict

from common.checks import parse_experiment
from common.config import SITE_NAME, SITE_NAME_RULE, Experiment, Wire
from common.data.split import Part
from common.errors import MessageError, ModelError, RefusalError, wire_codes
from common.histograms import Histograms
from common.metrics import Counts
from common.metrics.bootstrap import Replicates
from common.metrics.counts import TEMPERATURES
from common.parameters import Arrays, from_wire, to_record, to_wire
from common.statement import (
    PrivacyStatement,
    ReleaseStatement,
    pack_ledger,
    pack_statement,
    unpack_ledger,
    unpack_statement,
)
from common.subgroups import SiteGroups
from common.wire import read_arrays, to_bytes

MAX_WEIGHT = 10_000_000
"""Largest ``num-examples`` that is believed."""


@dataclass(frozen=True)
class Request:
    """What every request says: which run, which round, and the whole experiment as one text."""

    run_id: str
    server_round: int
    experiment: Experiment

    def pack(self) -> RecordDict:
        config = ConfigRecord(
            {
                "run-id": self.run_id,
                "server-round": self.server_round,
                "experiment": self.experiment.to_yaml(),
            }
        )
        return RecordDict({"config": config})

    @cached_property
    def digest(self) -> str:
        """SHA-256 of everything that is asked, in hexadecimal."""
        return hashlib.sha256(to_bytes(self.pack())).hexdigest()

    @staticmethod
    def unpack(content: RecordDict) -> Request:
        config = _config(content)
        experiment = parse_experiment(_text(config, "experiment", limit=100_000))
        return Request(_text(config, "run-id"), _whole(config, "server-round"), experiment)


@dataclass(frozen=True)
class ModelRequest(Request):
    """What comes with a model."""

    arrays: Arrays

    def pack(self) -> RecordDict:
        content = super().pack()
        _pack_arrays(content, "arrays", self.arrays, self.experiment.strategy.wire)
        return content

    @staticmethod
    def unpack(content: RecordDict) -> ModelRequest:
        head = Request.unpack(content)
        arrays = _arrays(content, "arrays", head.experiment.strategy.wire)
        return ModelRequest(head.run_id, head.server_round, head.experiment, arrays)


@dataclass(frozen=True)
class TrainRequest(ModelRequest):
    """The model to train from."""

    correction: Arrays | None = None
    """What SCAFFOLD adds to each step's gradient: an array for each of the model's."""
    personal: Arrays | None = None
    """Ditto's second model, the site's own, to be trained as well."""

    def pack(self) -> RecordDict:
        content, wire = super().pack(), self.experiment.strategy.wire
        _pack_arrays(content, "correction", self.correction, wire)
        _pack_arrays(content, "personal", self.personal, wire)
        return content

    @staticmethod
    def unpack(content: RecordDict) -> TrainRequest:
        """Read a request to train; which arrays it has follows from the experiment's strategy.

        So a server that sends a second model is not trained one that no plan has priced.
        """
        head = ModelRequest.unpack(content)
        strategy = head.experiment.strategy
        correction = personal = None
        if strategy.sends_correction:
            correction = _arrays(content, "correction", strategy.wire)
        if strategy.trains_personal:
            personal = _arrays(content, "personal", strategy.wire)
        return TrainRequest(
            head.run_id, head.server_round, head.experiment, head.arrays, correction, personal
        )


@dataclass(frozen=True)
class EvaluateRequest(ModelRequest):
    """The model to score, and the part of the site's patients to score it on."""

    part: Part
    temperature: float = 1.0
    """At which losses and reliability are told as well."""

    def pack(self) -> RecordDict:
        content = super().pack()
        content.config_records["config"]["part"] = self.part
        content.config_records["config"]["temperature"] = self.temperature
        return content

    @staticmethod
    def unpack(content: RecordDict) -> EvaluateRequest:
        head = ModelRequest.unpack(content)
        part = _text(_config(content), "part")
        if part not in ("validation", "test"):  # scores of training patients never leave
            raise MessageError(f"part: expected validation or test, got '{part}'")
        temperature = _config(content).get("temperature")
        least, most = TEMPERATURES[[0, -1]]
        if not isinstance(temperature, float) or not least <= temperature <= most:
            raise MessageError(f"temperature: expected {least} to {most}, got {temperature!r}")
        return EvaluateRequest(
            head.run_id,
            head.server_round,
            head.experiment,
            head.arrays,
            part,  # type: ignore[arg-type]
            temperature,
        )


@dataclass(frozen=True)
class Answer:
    """What every answer says: from which site, for which run and round."""

    site: str
    run_id: str
    server_round: int

    def pack(self) -> RecordDict:
        config = ConfigRecord(
            {"site": self.site, "run-id": self.run_id, "server-round": self.server_round}
        )
        return RecordDict({"config": config})

    @staticmethod
    def unpack(content: RecordDict) -> Answer:
        """Read an answer's head.

        Raises:
            MessageError: where it is malformed.
            RefusalError: where the site refused, with its code.
        """
        config = _config(content)
        if "refusal" in config:
            code = _text(config, "refusal")
            raise RefusalError(code if code in wire_codes() else "unknown code")
        site = _text(config, "site")
        if not SITE_NAME.fullmatch(site):
            raise MessageError(f"site: expected {SITE_NAME_RULE}")
        return Answer(site, _text(config, "run-id"), _whole(config, "server-round"))


@dataclass(frozen=True)
class Description(Answer):
    """Who a site is, and what this run would cost it."""

    privacy: PrivacyStatement | None
    """The ledger's figures once this run is reserved; ``steps`` are those it may take."""
    chain: bytes = b""
    """The hash of every entry of the ledger; nothing of what an entry says."""
    evaluate_only: str = ""
    """The code of why this site will not train, though it evaluates; empty where it will."""

    def pack(self) -> RecordDict:
        content = super().pack()
        content.config_records["config"]["evaluate-only"] = self.evaluate_only
        pack_ledger(content, self.privacy, self.chain)
        return content

    @staticmethod
    def unpack(content: RecordDict) -> Description:
        head = Answer.unpack(content)
        why = _config(content).get("evaluate-only", "")
        if why and why not in wire_codes():
            raise MessageError("evaluate-only: expected a code of the fixed list")
        statement, chain = unpack_ledger(content)
        return Description(head.site, head.run_id, head.server_round, statement, chain, str(why))


@dataclass(frozen=True)
class TrainAnswer(Answer):
    """The trained model, and the weight it should have."""

    arrays: Arrays
    num_examples: float
    """Flower's name for the aggregation weight: a public constant under privacy."""
    chain: bytes = b""
    """As it was when this round was charged; the answer may be sent again later."""
    personal: Arrays | None = None
    """The site's own model, where the request brought one."""
    wire: Wire = "float32"
    """The precision of both on the wire."""

    def pack(self) -> RecordDict:
        content = super().pack()
        _pack_arrays(content, "arrays", self.arrays, self.wire)
        _pack_arrays(content, "personal", self.personal, self.wire)
        content["metrics"] = MetricRecord({"num-examples": float(self.num_examples)})
        pack_ledger(content, None, self.chain)
        return content

    @staticmethod
    def unpack(content: RecordDict, personal: bool = False, wire: Wire = "float32") -> TrainAnswer:
        """Read an answer, with a ``personal`` model where one was asked for."""
        head = Answer.unpack(content)
        metrics = content.metric_records.get("metrics")
        weight = metrics.get("num-examples") if metrics is not None else None
        if (
            not isinstance(weight, (int, float))
            or not math.isfinite(weight)
            or not 0 < weight <= MAX_WEIGHT
        ):
            raise MessageError(
                f"num-examples: expected above 0, at most {MAX_WEIGHT}, got {weight}"
            )
        arrays, (_, chain) = _arrays(content, "arrays", wire), unpack_ledger(content)
        return TrainAnswer(
            head.site,
            head.run_id,
            head.server_round,
            arrays,
            float(weight),
            chain,
            _arrays(content, "personal", wire) if personal else None,
            wire,
        )


@dataclass(frozen=True)
class EvaluateAnswer(Answer):
    """Mergeable counts, and with the test part what the ledger says."""

    counts: Counts | None
    """Exact; ``None`` where the site has no patient in that part, or does not release them."""
    privacy: PrivacyStatement | None
    histograms: Histograms | None = None
    """Noised, on the test patients' own budget."""
    chain: bytes = b""
    release: ReleaseStatement | None = None
    """What noised counts have cost; with ``histograms`` alone."""
    replicates: Replicates | None = None
    """Of the counts, where they are of the test part."""
    subgroups: SiteGroups = field(default_factory=SiteGroups)
    """Likewise: by which columns of metadata there are counts, and those of each group."""

    def pack(self) -> RecordDict:
        content = super().pack()
        if self.counts is not None:
            content["counts"] = to_record(self.counts.to_arrays())
        if self.replicates is not None:
            content["replicates"] = to_record(self.replicates.to_arrays())
        if self.histograms is not None:
            content["histograms"] = to_record(self.histograms.to_arrays())
        self.subgroups.pack_into(content)
        pack_statement(content, "release", self.release)
        pack_ledger(content, self.privacy, self.chain)
        return content

    @staticmethod
    def unpack(  # type: ignore[override]  # the shapes expected are what was asked
        content: RecordDict, experiment: Experiment, part: Part
    ) -> EvaluateAnswer:
        head = Answer.unpack(content)
        num_classes, multi_label = len(experiment.classes), experiment.multi_label
        counts = replicates = histograms = None
        if "counts" in content.array_records:
            arrays = read_arrays(content, "counts")
            counts = Counts.from_arrays(arrays, num_classes, multi_label)
            if drawn := experiment.evaluation.replicates_of(part):
                arrays = read_arrays(content, "replicates")
                replicates = Replicates.from_arrays(arrays, counts, drawn)
        if "histograms" in content.array_records:
            arrays = read_arrays(content, "histograms")
            histograms = Histograms.from_arrays(arrays, num_classes)
        statement, chain = unpack_ledger(content)
        release = unpack_statement(content, "release", ReleaseStatement)
        subgroups = SiteGroups.unpack(content, experiment.evaluation, part, counts)
        return EvaluateAnswer(
            head.site,
            head.run_id,
            head.server_round,
            counts,
            statement,
            histograms,
            chain,
            release,
            replicates,
            subgroups,
        )


def pack_refusal(code: str) -> RecordDict:
    """An answer that says no: a code of the fixed list, never a text of the site's."""
    return RecordDict({"config": ConfigRecord({"refusal": code})})


def payload_bytes(content: RecordDict) -> int:
    """Bytes of the arrays in a message, which is nearly all of it."""
    return sum(len(a.data) for record in content.array_records.values() for a in record.values())


def _config(content: RecordDict) -> ConfigRecord:
    if "config" not in content.config_records:
        raise MessageError("expected a record 'config', and there is none")
    return content.config_records["config"]


def _text(config: Mapping[str, Any], key: str, limit: int = 200) -> str:
    value = config.get(key)
    if not isinstance(value, str) or not 0 < len(value) <= limit:
        raise MessageError(f"'{key}': expected a text of 1 to {limit} characters")
    return value


def _whole(config: Mapping[str, Any], key: str) -> int:
    value = config.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise MessageError(f"'{key}': expected a whole number, at least 0")
    return value


def _arrays(content: RecordDict, record: str, wire: Wire) -> Arrays:
    try:
        return from_wire(read_arrays(content, record), wire)
    except ModelError as error:
        raise MessageError(str(error)) from error


def _pack_arrays(content: RecordDict, record: str, arrays: Arrays | None, wire: Wire) -> None:
    if arrays is not None:
        content[record] = to_record(to_wire(arrays, wire))
