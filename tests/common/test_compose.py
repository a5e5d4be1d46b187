"""Composition: every yaml, every problem together, nothing added and nothing lost."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from common.checks import parse_experiment
from common.compose import CONF, expand_sweep, group_choices, load_settings, settings_from_plain
from common.config import Settings, TaskSettings
from common.errors import SettingsError
from common.schema import narrow, to_plain

GROUPS = [(group, choice) for group, choices in group_choices().items() for choice in choices]

WITHOUT_PATIENTS = ("folder", "medmnist", "chestmnist", "rsna_pneumonia")


def problems_of(*overrides: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings(overrides)
    return str(caught.value)


def test_bare_settings_are_the_phantom_with_patient_level_privacy() -> None:
    settings = load_settings([])
    assert settings.experiment == "phantom"
    assert (settings.privacy.unit, settings.privacy.epsilon) == ("patient", 8.0)
    assert settings.privacy.delta == pytest.approx(1e-5)


@pytest.mark.parametrize(("group", "choice"), GROUPS)
def test_every_yaml_composes(group: str, choice: str) -> None:
    extra = [f"{group}={choice}", "data.root=somewhere"]
    if choice == "table":
        extra += ["data.image_column=file", "data.patient_column=id"]
    if choice == "medmnist":
        extra += ["data.table=bloodmnist.npz"]
    if choice == "dicom":
        extra += ["data.label_column=BodyPartExamined"]
    if choice in ("fedbn", "open"):
        extra += ["privacy=none"]
    if (group, choice) == ("privacy", "image"):
        extra += ["data.patient_column=null"]
    if group == "data" and choice in WITHOUT_PATIENTS:
        extra += ["privacy=image"]
    assert isinstance(load_settings(extra), Settings)


def test_every_yaml_was_found() -> None:
    files = list(CONF.rglob("*.yaml"))
    assert len(files) == len(GROUPS) + 1 == 63  # config.yaml itself, and 62 choices


@pytest.mark.parametrize("path", sorted((CONF / "experiment").glob("*.yaml")), ids=lambda p: p.stem)
def test_experiments_open_with_their_command(path: Path) -> None:
    assert "# fedrounds simulate" in path.read_text(encoding="utf-8")


def test_a_mistyped_key_is_answered_with_the_nearest() -> None:
    assert "did you mean 'epsilon'" in problems_of("privacy.epsilonn=3")


def test_a_mistyped_choice_is_answered_with_the_nearest() -> None:
    assert "did you mean 'patient'" in problems_of("privacy=patien")


def test_a_mistyped_group_is_answered_with_the_nearest() -> None:
    assert "did you mean 'privacy'" in problems_of("privcy=none")


@pytest.mark.parametrize("word", ["+privacy.epsilonn=3", "++seed=1", "~data"])
def test_adding_and_removing_keys_is_refused(word: str) -> None:
    assert "refused" in problems_of(word)


def test_all_problems_are_reported_together() -> None:
    text = problems_of("rounds=0", "privacy.delta=2", "data.channels=2", "strategy.momentum=1")
    assert all(key in text for key in ("rounds", "privacy.delta", "data.channels", "momentum"))


def test_all_wrong_types_are_reported_together() -> None:
    text = problems_of("rounds=many", "privacy.delta=small", "data.classes=one")
    assert all(key in text for key in ("rounds", "privacy.delta", "data.classes"))


def test_no_privacy_with_an_epsilon_is_an_error() -> None:
    assert "privacy=none" in problems_of("privacy=none", "privacy.epsilon=8")


def test_views_that_would_all_be_the_same_are_an_error() -> None:
    words = ["privacy.augmentations=4", "data.augmentation=none"]
    assert "data.augmentation" in problems_of(*words)
    assert "at least 1" in problems_of("privacy.augmentations=0")


def test_under_privacy_a_loss_that_needs_priors_needs_public_ones() -> None:
    none = ["loss=logit_adjusted", "loss.priors=null"]
    assert "loss=logit_adjusted under privacy needs loss.priors" in problems_of(*none)
    assert load_settings([*none, "privacy=none"]).loss.priors is None
    assert load_settings(["loss=class_balanced"]).loss.priors  # the phantom's own constants


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("loss.priors={nodule: 0.5, cyst: 0.5}", "a share for each of nodule, infiltrate"),
        ("loss.priors.nodule=1.5", "between 0 and 1"),
        ("loss.prior_images=null", "loss.prior_images must be given"),
        ("loss.beta=1", "loss.beta"),
        ("loss.tau=0", "loss.tau"),
        ("loss.gamma=0", "loss.gamma"),
    ],
)
def test_a_loss_that_cannot_be_made_is_refused(word: str, expected: str) -> None:
    assert expected in problems_of("loss=class_balanced", word)


def test_shares_of_one_label_an_image_add_to_one() -> None:
    words = ["loss=logit_adjusted", "data.label_separator=null"]
    for said in ([], ["data.multi_label=false"]):  # without a separator there is one label
        assert "add to 1, got 0.507" in problems_of(*words, *said)


def test_several_labels_an_image_may_be_of_one_class_and_one_label_may_not() -> None:
    one = ["data.classes=[nodule]", "loss=cross_entropy"]
    assert load_settings(one).data.classes == ("nodule",)
    problem = "at least two classes, got nodule"
    assert problem in problems_of(*one, "data.label_separator=null")


def test_patient_privacy_needs_a_patient_column() -> None:
    assert "patient_column" in problems_of("data.patient_column=null")


def test_image_privacy_is_refused_where_patients_are_known() -> None:
    assert "privacy=patient" in problems_of("privacy=image")


def test_several_values_need_the_sweep_flag() -> None:
    assert "-m" in problems_of("seed=1,2")


def test_a_sweep_expands_to_every_combination() -> None:
    jobs = expand_sweep(["seed=0,1", "privacy.epsilon=1,8", "rounds=3"])
    assert len(jobs) == 4
    assert ["seed=1", "privacy.epsilon=8", "rounds=3"] in jobs


def test_a_sweep_over_a_group_checks_each_choice() -> None:
    with pytest.raises(SettingsError, match="did you mean 'patient'"):
        expand_sweep(["privacy=none,patent"])


def test_a_mapping_is_set_as_a_whole_or_key_by_key() -> None:
    settings = load_settings(
        ["privacy.public_patients={a: 10, b: 20}", "data.label_map.D22=nodule"]
    )
    assert settings.privacy.public_patients == {"a": 10, "b": 20}
    assert settings.data.label_map == {"D22": "nodule"}
    assert load_settings(["privacy.public_patients=50"]).privacy.public_patients == 50


def test_data_alone_brings_the_experiment_of_its_name() -> None:
    assert load_settings(["data=ham10000", "data.root=x"]).experiment == "ham10000"
    both = load_settings(["data=ham10000", "experiment=phantom", "data.root=x"])
    assert (both.experiment, both.data.unit_name) == ("phantom", "lesion")


@pytest.mark.parametrize("value", ["images/{image_id}.jpg", "it's (one) {a}\\b"])
def test_a_text_may_hold_what_the_grammar_would_have_quoted(value: str) -> None:
    overrides = [f"data.image_pattern={value}", "data.image_column=null", "data.root=x"]
    assert load_settings(["data=table", *overrides, "privacy=none"]).data.image_pattern == value


def test_resolved_settings_read_back_the_same() -> None:
    settings = load_settings(["data.label_map={a: b}", "privacy.epsilon=3"])
    text = yaml.safe_dump(to_plain(settings))
    assert settings_from_plain(yaml.safe_load(text)) == settings


EXPERIMENT = """
name: x
seed: 0
rounds: 1
local_steps: 1
threads: 1
data: {classes: [a, b], image_size: 32}
model: {name: cnn, width: 8}
strategy: {}
privacy: {unit: none}
"""


def test_an_experiment_is_one_text() -> None:
    experiment = parse_experiment(EXPERIMENT)
    assert parse_experiment(experiment.to_yaml()) == experiment
    assert experiment.digest() == parse_experiment(experiment.to_yaml()).digest()


@pytest.mark.parametrize(
    "text",
    [
        EXPERIMENT.replace("name: x", "name: ${oc.env:HOME}"),
        EXPERIMENT.replace("name: x", "name: !!python/object/apply:os.getcwd []"),
        EXPERIMENT + "\nroot: /etc",
        EXPERIMENT.replace("[a, b]", "null"),
        "just a text",
        "a: [1",
    ],
)
def test_a_site_refuses_an_experiment_that_is_not_plain_settings(text: str) -> None:
    with pytest.raises(SettingsError):
        parse_experiment(text)


def test_a_sites_own_settings_have_no_place_in_the_experiment() -> None:
    sent = to_plain(narrow(TaskSettings, load_settings([]).data))
    assert not {"root", "table", "patient_column", "label_map", "split_key"} & set(sent)


@pytest.mark.parametrize("name", ["folder", "chexpert"])
def test_data_without_an_experiment_of_their_own_bring_that_of_any_table(name: str) -> None:
    words = [f"data={name}", "data.root=x", "privacy=none"]
    assert load_settings(words).experiment == "table"


def test_only_medmnists_files_are_fetched() -> None:
    assert "data.layout=medmnist" in problems_of("data.download=true")


def test_a_folder_needs_a_pattern_of_plain_names() -> None:
    folder = ["data=folder", "data.root=x", "privacy=none"]
    assert "needs data.image_pattern" in problems_of(*folder, "data.image_pattern=null")
    assert "plain names" in problems_of(*folder, "data.image_pattern='{label}/{id:.2}'")
