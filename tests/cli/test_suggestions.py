"""What people type who know other tools: one line with the way out, exit 2."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli._refusals import Run, refused


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("quantise", "quantize"),
        ("quantization", "quantize"),
        ("distil", "distill"),
        ("trian", "train"),
        ("finetune", "train"),
        ("convert", "export"),
        ("benchmark", "bench"),
        ("infer", "predict"),
        ("sparsify", "prune"),
        ("compare", "report"),
        ("ls", "models"),
        ("dataset", "datasets"),
    ],
)
def test_another_tools_verb_is_answered_with_bmcs(bmc: Run, typed: str, meant: str) -> None:
    refused(bmc(typed, "x"), f"no command named '{typed}'", f"Did you mean '{meant}'?", "--help")


@pytest.mark.parametrize(
    ("arguments", "way_out"),
    [
        ("export model=x format=onnx", "type bmc export x --target onnx"),
        ("export model=x.pt format=onnx opset=18", "bmc export x.pt --target onnx --opset 18"),
        ("export onnx --model x", "--target onnx"),
        ("export x --target onnx --model y", "type it once, after the verb"),
        ("export x --format onnx", "Did you mean --target?"),
        ("train data=digits epochs=3", "bmc train --data digits --epochs 3"),
        ("train --model_name_or_path bert", "The model comes right after the verb"),
        ("train --lr 0.1", "Did you mean --learning-rate?"),
        ("train -lr 0.1", "Did you mean --learning-rate?"),
        ("train --lr=0.1", "Did you mean --learning-rate?"),
        ("train --bs 8", "Did you mean --batch-size?"),
        ("train --per_device_train_batch_size 8", "Did you mean --batch-size?"),
        ("train --num_train_epochs 3", "Did you mean --epochs?"),
        ("train --output-dir out", "Did you mean --output?"),
        ("train --output_dir out", "Did you mean --output?"),
        ("train --overwrite_output_dir", "Did you mean --force?"),
        ("train --dataset digits", "Did you mean --data?"),
        ("train --max_seq_length 32", "Did you mean --max-length?"),
        ("train --gpu", "Did you mean --device cuda?"),
        ("train --fp16", "bmc quantize MODEL --method fp16"),
        ("train --resume", "the same command again"),
        ("train --dropout 0.1", "--set dropout=0.1"),
        ("prune x --sparsity 0.5", "Did you mean --ratio?"),
        ("quantize x --wbits 4", "Did you mean --bits?"),
        ("quantize x --num_samples 4", "Did you mean --samples?"),
        ("bench x --iterations 4", "Did you mean --launches?"),
        ("bench --batch-size 4", "Did you mean --batch?"),
        ("predict x -t", "a text that starts with - stands after --"),
        ("train bert extra", "bmc train does not take 'extra'"),
        ("train --epochs", "'--epochs' requires an argument"),
        ("--json models", "bmc has no option --json"),
    ],
)
def test_another_tools_option_is_answered_with_bmcs(
    bmc: Run, workspace: Path, arguments: str, way_out: str
) -> None:
    refused(bmc(*arguments.split()), way_out, "bmc")
    assert not workspace.exists()


def test_underscores_stand_for_dashes_and_a_model_may_be_an_option(
    bmc: Run, workspace: Path
) -> None:
    refused(bmc("train", "--batch_size", "0"), "batch size is 0")
    refused(bmc("train", "--model", "brt"), "no model named 'brt'")
    refused(bmc("distill", "--hard_label_weight", "x"), "--hard-label-weight is 'x'")


def test_an_option_of_the_last_release_is_understood(bmc: Run) -> None:
    refused(bmc("distill", "--hard", "x"), "--hard-label-weight is 'x'")
    refused(bmc("quantize", "--rows", "x"), "--samples is 'x'")


def test_an_option_is_understood_as_another_only_by_the_verb_that_renamed_it(bmc: Run) -> None:
    refused(bmc("inspect", "--rows", "x"), "--rows is 'x'")


def test_a_row_with_an_equals_sign_is_a_row(bmc: Run) -> None:
    refused(bmc("predict", "gone", "a=b"), "no bundle named 'gone'")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("train bert movie-reviews", "Did you mean --data movie-reviews?"),
        ("distill bert tiny", "Did you mean --teacher bert --student tiny?"),
        ("prune mlp depth", "Did you mean --method depth?"),
        ("export mlp onnx --target onnx", "Did you mean --target onnx?"),
        ("show a b", "bmc show does not take 'b'. (bmc show --help lists all)"),
    ],
)
def test_a_value_without_its_option_is_answered_with_the_option(
    bmc: Run, typed: str, meant: str
) -> None:
    refused(bmc(*typed.split()), meant)
