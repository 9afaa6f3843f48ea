"""Presets are the papers' protocols; a change is checked; what a model does not use is reset."""

from __future__ import annotations

import pytest

from bench.core.config import MODEL_KNOBS, PRESETS, Config, override, preset, validated
from bench.core.errors import UserError


def test_the_default_is_the_protocol_of_the_esmc_paper() -> None:
    config = preset("esmc")
    assert config == Config()
    assert (config.optimizer, config.learning_rate, config.batch_size, config.epochs) == (
        "adagrad_decay",
        0.005,
        1024,
        1,
    )
    assert (config.activation, config.eta_top_k) == ("leaky_relu", 50)
    assert (config.weight_ctr, config.weight_cvr, config.weight_car) == (1.0, 1.0, 1.0)


def test_the_esm2_preset_is_the_protocol_of_its_paper() -> None:
    config = preset("esm2")
    assert (config.optimizer, config.learning_rate, config.batch_size, config.epochs) == ("adam", 0.0005, 1000, 2)
    assert (config.dropout, config.hidden) == (0.5, (512, 256, 128, 32))


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(UserError, match=r"unknown preset 'esmx'.*Known: esm2, esmc"):
        preset("esmx")


def test_assignments_are_parsed_to_the_type_of_the_knob() -> None:
    config = override(Config(), ["hidden=256,128", " dropout = 0.2 ", "epochs=3", "optimizer=adam"])
    assert (config.hidden, config.dropout, config.epochs, config.optimizer) == ((256, 128), 0.2, 3, "adam")
    assert override(Config(), ["hidden=32"]).hidden == (32,)
    assert override(Config(), []) == Config()


def test_the_last_of_two_assignments_counts() -> None:
    assert override(Config(), ["dropout=0.1", "dropout=0.3"]).dropout == 0.3


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("dropout", "--set needs key=value, but got 'dropout'"),
        ("dropuot=0.5", "unknown configuration key 'dropuot'. Did you mean 'dropout'"),
        ("dropout=1", "dropout is wrong: .* less than 1, but got '1'"),
        ("dropout=", "dropout is wrong: .* valid number"),
        ("learning_rate=inf", "learning_rate is wrong: .* finite number, but got 'inf'"),
        ("learning_rate=nan", "learning_rate is wrong: "),
        ("learning_rate=0", "learning_rate is wrong: .* greater than 0"),
        ("batch_size=1.5", "batch_size is wrong: .* integer"),
        ("hidden=", "hidden is wrong: .* at least 1"),
        ("hidden=64,0", "hidden.1 is wrong: .* greater than 0, but got '0'"),
        ("calibration=swap", "calibration is wrong: .* 'copy', 'move' or 'none', but got 'swap'"),
    ],
)
def test_a_wrong_assignment_is_refused(assignment: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        override(Config(), [assignment])


def test_values_of_an_unknown_key_are_refused() -> None:
    with pytest.raises(UserError, match="no_knob"):
        validated({"no_knob": 1})


@pytest.mark.parametrize("name", PRESETS)
def test_a_stored_configuration_reads_again(name: str) -> None:
    assert Config.model_validate_json(PRESETS[name].model_dump_json()) == PRESETS[name]


def test_knobs_that_a_model_does_not_use_are_reset() -> None:
    config = override(Config(), ["experts=8", "constraint_weight=0.5", "calibration=move", "dropout=0.2"])
    used = config.used_by(["experts"])
    assert (used.experts, used.dropout) == (8, 0.2)
    assert (used.constraint_weight, used.calibration) == (Config().constraint_weight, "copy")
    assert config.used_by(MODEL_KNOBS) == config


def test_none_takes_a_knob_back_to_none() -> None:
    assert override(PRESETS["esm2"], ["item_dim=none"]).item_dim is None
    with pytest.raises(UserError, match=r"dropout is wrong: .*but got 'none'"):
        override(Config(), ["dropout=none"])


def test_trees_have_a_bounded_depth() -> None:
    with pytest.raises(UserError, match=r"tree_depth is wrong: .*17"):
        override(Config(), ["tree_depth=18"])
