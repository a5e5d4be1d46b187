"""The parts of the model card that a program can write, as plain values for JSON and Markdown.

Under privacy a card holds public figures alone: the count that a site declares, never one of its
data, and no support of a figure unless noise covers it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard

from common.checkpoint import read_json
from common.config import KeepRule, LossSettings
from common.data.labels import is_multi_label
from common.data.transforms import MEAN, STD
from common.model_settings import InitialModel
from simulations.designs.text import findings
from simulations.report.run import FinishedRun
from simulations.report.sites import part_of
from simulations.report.text import pool_text

Facts = dict[str, Any]

SELECTION: dict[KeepRule, str] = {
    "last": "the model after the last round that was applied, {round}; no figure chose it",
    "best_validation": "the model after round {round}, whose pooled macro AUROC on validation "
    "patients was the highest; no test figure chose it",
    "average": "the exponential moving average of the models of all rounds that were applied, the "
    "last of them {round}; no figure chose it",
}
"""By the rule of ``keep``, which model a run ends with."""

EXPLANATIONS = {
    "evidence": "each logit is the mean of a map, which explains it exactly",
    "linear": "Grad-CAM and integrated gradients, which are approximate",
}
"""By the model's head, what shows where an answer comes from."""

ENDS = ("value", "low", "high")


def model_facts(run: FinishedRun) -> Facts:
    """What the model is, takes and gives, and which files hold it."""
    data, model = run.settings.data, run.result["model"]
    channels = "grey" if data.channels == 1 else "RGB"
    files = sorted(run.folder.glob("model*.safetensors"))
    return {
        "architecture": f"{model['name']}, {model['parameters']:,} parameters",
        "classes": list(model["classes"]),
        "input": f"one {channels} image of {data.image_size} × {data.image_size} pixels",
        "output": "a probability for each class, "
        + ("each by itself" if is_multi_label(data, data) else "which sum to 1"),
        "explanations": EXPLANATIONS[run.settings.model.head]
        + "; by 'fedrounds explain', with deletion and insertion scores",
        "files": {path.name: read_json(path.with_suffix(".json"))["sha256"] for path in files},
        "software": dict(run.result["versions"]),
    }


def training_facts(run: FinishedRun) -> Facts:
    """How it was trained, as the settings say."""
    settings, strategy = run.settings, run.settings.strategy
    return {
        "experiment": run.result["experiment"],
        "run": run.result["run_id"],
        "seed": run.result["seed"],
        "federation": f"{strategy.name}, {run.result['rounds']} of {settings.rounds} rounds of "
        f"{settings.local_steps} steps at each site",
        "optimisation": f"{strategy.optimizer}, learning rate {strategy.learning_rate:g} "
        f"({strategy.schedule}), batches of {strategy.batch_size}",
        "augmentation": settings.data.augmentation,
        "initialisation": _initialisation(settings.model),
        "selection": SELECTION[run.result["kept"]["rule"]].format(**run.result["kept"]),
        "ensemble": "none",
        "loss": settings.loss.name.replace("_", " "),
        "class imbalance": _imbalance(settings.loss),
    }


def _initialisation(model: InitialModel) -> str:
    if model.pretrained is None:
        return "random, from the seed"
    text = f"the weights of '{Path(model.pretrained).name}', and random ones where it has none"
    return text if model.trainable == "all" else f"{text}; the backbone was not trained"


def data_facts(run: FinishedRun) -> Facts:
    """What each site brought, how images are prepared and patients divided."""
    data = run.settings.data
    facts: Facts = {
        "sites": [_site(run, site) for site in run.sites],
        "counts": _counts_are(run),
        "preparation": f"resized to {data.image_size} × {data.image_size} ({data.resize}); a level "
        f"of 0 to 255 becomes (level / 255 − {MEAN:g}) / {STD:g}",
        "predictors": ", ".join(["the image", *run.settings.model.metadata]),
    }
    if run.simulated:
        facts["partitions"] = (
            f"a keyed hash of the {run.unit}'s id puts {data.test_fraction:.0%} into test and "
            f"{data.validation_fraction:.0%} into validation; the rest trains"
        )
        facts["disjoint at the level of"] = run.unit
        if data.phantom and data.root is None:
            facts["origin"] = "synthetic: the phantom hospitals, which are nobody's images"
    else:
        facts["partitions"] = "a keyed hash of the id, by each site's own fractions and key"
        facts["disjoint at the level of"] = run.unit
    return facts


def performance_facts(run: FinishedRun) -> Facts:
    """Figures on test patients, with 95% intervals; supports where they may be told."""
    facts: Facts = {
        "part": "test patients, none of whom was trained on",
        "released as": {site["name"]: site["released"] for site in run.sites},
        "models": {
            name or pool_text(run.result): _figures(metrics, not run.private_sites)
            for name, metrics in run.models.items()
        },
        "macro AUROC by site": {
            site["name"]: bare(site["metrics"]["auroc_macro"])
            for site in run.sites
            if site["metrics"]
        },
    }
    if comparison := run.result.get("comparison"):
        facts["validation design"] = {comparison["design"]: findings(comparison)}
    return facts


def limits(run: FinishedRun) -> list[str]:
    """What the program knows to be lacking."""
    lines = [str(line) for line in run.result["incomplete"]]
    lines.append("evaluated at the sites that trained it, on patients that they held back")
    outside = [s["name"] for s in run.sites if part_of(s).startswith("evaluated only")]
    if outside:
        lines[-1] += f", and at {', '.join(outside)}, which did not train in this run"
    lines.append("one run with one seed: the spread over seeds is not in the intervals")
    for name, metrics in run.models.items():
        if metrics["left_out"]:
            of = f"{name}: " if name else ""
            lines.append(f"{of}no figure for {', '.join(metrics['left_out'])}: too few test images")
    if not run.models:
        lines.append("no site released any figure on its test patients")
    if run.settings.data.phantom and run.settings.data.root is None:
        lines.append("trained on synthetic images: it says nothing about patients")
    lines.append("never tried in clinical use; not a medical device")
    return lines


def _imbalance(loss: LossSettings) -> str:
    if loss.name == "cross_entropy":
        return "neither sampling nor loss weighs the classes"
    by = "public shares of the classes" if loss.priors else "each site's own training images"
    return "the loss, hard images first" if loss.name == "focal" else f"the loss, by {by}"


def _site(run: FinishedRun, site: Mapping[str, Any]) -> Facts:
    facts: Facts = {"name": site["name"], "part": part_of(site)}
    if run.private_sites:
        public = _public_count(run, site["privacy"])
        return facts if public is None else {**facts, f"{run.unit}s, as declared": public}
    for kind in ("patients", "images"):
        if kind in site:
            name = f"{run.unit}s" if kind == "patients" else kind
            facts |= {f"{name} in {part}": number for part, number in site[kind].items()}
    facts |= {name: site[name] for name in ("images_refused", "images_repeated") if name in site}
    return facts


def _counts_are(run: FinishedRun) -> str:
    if run.private_sites:
        return "public: what each site declared beforehand; exact ones are private"
    return "exact" if run.simulated else "not sent by the sites"


def _public_count(run: FinishedRun, privacy: Mapping[str, Any] | None) -> int | None:
    """The count that a site declared, which its q follows from; ``None`` where q says nothing.

    A simulation that derived the count from its data has none that is public.
    """
    derived = run.simulated and run.result["simulation"]["public_patients_derived"]
    if privacy is None or derived or run.settings.privacy.sample_rate is not None:
        return None
    return round(run.settings.strategy.batch_size / float(privacy["sample_rate"]))


def _figures(metrics: Mapping[str, Any], with_support: bool) -> Facts:
    """Every figure of a model, by the names that the result has for it."""
    facts = dict(nested({k: v for k, v in metrics.items() if k != "subgroups"}) or {})
    if "operating_point" in metrics:
        facts["operating point"] = metrics["operating_point"]
    if with_support or "noise_std" in metrics:
        facts["support"] = {name: figure["support"] for name, figure in metrics["auroc"].items()}
    return facts


def nested(found: object) -> Facts | None:
    """The figures in a part of a result, without what else is in it; ``None`` without any."""
    if is_figure(found):
        return bare(found)
    if not isinstance(found, Mapping):
        return None
    parts = {name: nested(part) for name, part in found.items()}
    return {name: part for name, part in parts.items() if part} or None


def is_figure(found: object) -> TypeGuard[Mapping[str, Any]]:
    """Whether something of a result is a value with its interval."""
    return isinstance(found, Mapping) and set(ENDS) <= set(found)


def bare(figure: Mapping[str, Any]) -> Facts:
    """A figure without its support."""
    return {name: figure[name] for name in ENDS}
