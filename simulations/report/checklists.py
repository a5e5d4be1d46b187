"""CLAIM 2024 and TRIPOD+AI, item by item: which part of the model card answers each.

CLAIM 2024: Tejani, Klontzas, Gatti and others, Radiology: Artificial Intelligence 2024,
https://doi.org/10.1148/ryai.240300. TRIPOD+AI: Collins, Moons, Dhiman and others, BMJ 2024,
https://doi.org/10.1136/bmj-2023-078378. The topics are put in our own words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Part = Literal["model", "training", "data", "performance", "subgroups", "privacy", "limits"]
"""The parts of the card that a program can write."""


@dataclass(frozen=True)
class Item:
    """One item of a checklist.

    Attributes:
        guideline: which checklist.
        number: as the checklist counts.
        topic: what it asks for.
        part: the part of the card that answers it; ``None`` where only a person can.
    """

    guideline: str
    number: str
    topic: str
    part: Part | None


def _items(guideline: str, *rows: tuple[str, str, Part | None]) -> tuple[Item, ...]:
    return tuple(Item(guideline, number, topic, part) for number, topic, part in rows)


CLAIM = _items(
    "CLAIM 2024",
    ("1", "title that names the method as AI, and its kind", None),
    ("2", "structured summary of design, methods, results and conclusions", None),
    ("3", "background, with the intended use and clinical role", None),
    ("4", "aims and hypotheses", None),
    ("5", "whether data were collected before or after the study was planned", None),
    ("6", "goal of the study", None),
    ("7", "where the images come from", None),
    ("8", "who was included and excluded", None),
    ("9", "how images are prepared", "data"),
    ("10", "which parts of the data were selected", None),
    ("11", "how images were de-identified", None),
    ("12", "how missing data were handled", None),
    ("13", "how images were acquired", None),
    ("14", "how the reference standard was obtained", None),
    ("15", "why this reference standard", None),
    ("16", "who annotated, for the reference standard", None),
    ("17", "how the test set was annotated", None),
    ("18", "how far annotators agree with each other and with themselves", None),
    ("19", "how data were divided into partitions", "data"),
    ("20", "the level at which partitions are disjoint", "data"),
    ("21", "intended sample size", None),
    ("22", "the model in detail", "model"),
    ("23", "software and versions", "model"),
    ("24", "how parameters were initialised", "training"),
    ("25", "the training in detail", "training"),
    ("26", "how the final model was selected", "training"),
    ("27", "ensembles", "training"),
    ("28", "measures of performance", "performance"),
    ("29", "measures of uncertainty and significance", "performance"),
    ("30", "robustness or sensitivity analysis", None),
    ("31", "how the model's decisions are explained", "model"),
    ("32", "evaluation on internal data", "performance"),
    ("33", "testing on external data", None),
    ("34", "registration of a clinical trial", None),
    ("35", "how many were included and excluded at each step", None),
    ("36", "demographic and clinical characteristics of each partition", None),
    ("37", "performance with its uncertainty", "performance"),
    ("38", "diagnostic performance with its precision", "performance"),
    ("39", "analysis of wrong results", None),
    ("40", "limitations", "limits"),
    ("41", "what it means for practice", None),
    ("42", "where the full protocol is", None),
    ("43", "whether software, model and data can be had", None),
    ("44", "funding and the funders' role", None),
)

TRIPOD_AI = _items(
    "TRIPOD+AI",
    ("1", "title that names the model's development or evaluation, population and outcome", None),
    ("2", "structured abstract", None),
    ("3a", "healthcare context and rationale", None),
    ("3b", "target population, purpose and users in the care pathway", None),
    ("3c", "known health inequalities", None),
    ("4", "objectives", None),
    ("5a", "sources of data, and whether they represent the target population", None),
    ("5b", "dates of the data", None),
    ("6a", "setting: number and place of the centres", None),
    ("6b", "eligibility", None),
    ("6c", "treatments received", None),
    ("7", "preparation and quality checks of the data", "data"),
    ("8a", "definition of the outcome", None),
    ("8b", "qualifications of those who assessed it", None),
    ("8c", "blinding of that assessment", None),
    ("9a", "choice of predictors", "data"),
    ("9b", "definition of the predictors", "data"),
    ("9c", "qualifications of those who assessed predictors", None),
    ("10", "how the sample size came about", None),
    ("11", "missing data", None),
    ("12a", "how data were used for development and evaluation", "data"),
    ("12b", "how predictors were handled", "data"),
    ("12c", "kind of model and how it was built", "training"),
    ("12d", "heterogeneity between clusters, such as hospitals", "performance"),
    ("12e", "measures of performance", "performance"),
    ("12f", "updating of the model after evaluation", None),
    ("12g", "how predictions are made in evaluation", "model"),
    ("13", "class imbalance", "training"),
    ("14", "fairness", "subgroups"),
    ("15", "output of the model", "model"),
    ("16", "differences between development and evaluation data", None),
    ("17", "ethical approval", None),
    ("18a", "funding", None),
    ("18b", "conflicts of interest", None),
    ("18c", "protocol", None),
    ("18d", "registration", None),
    ("18e", "sharing of data", None),
    ("18f", "sharing of code", None),
    ("19", "involvement of patients and the public", None),
    ("20a", "flow of participants", None),
    ("20b", "characteristics of participants, by centre", None),
    ("20c", "comparison of development and evaluation data", None),
    ("21", "participants and outcomes in each analysis", None),
    ("22", "the full model, so that others can use it", "model"),
    ("23a", "performance with intervals, in subgroups too", "performance"),
    ("23b", "heterogeneity of performance between clusters", "performance"),
    ("24", "results of updating", None),
    ("25", "interpretation, with fairness", None),
    ("26", "limitations", "limits"),
    ("27a", "how poor input is handled in use", None),
    ("27b", "expertise and interaction that use needs", None),
    ("27c", "next steps, and where it may apply", None),
)

ITEMS = CLAIM + TRIPOD_AI
