"""What people type who know other tools, and what bmc calls it: one line, with the way out."""

from __future__ import annotations

import difflib
import os
import re
import shlex
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from bmc.errors import UnknownError, UsageError, unknown

_PAIR = re.compile(r"([A-Za-z][\w-]*)=(.*)", re.DOTALL)
_VERBS = {
    "bench": ("benchmark", "profile", "perf", "latency", "time", "measure", "speed"),
    "check": ("verify", "validate", "val"),
    "datasets": ("data", "dataset"),
    "distill": ("distil", "distillation", "distillate", "kd", "teach"),
    "doctor": ("env", "info", "system", "install"),
    "export": ("convert", "compile", "build", "to", "deploy", "onnx", "package"),
    "inspect": ("explain", "analyze", "analyse", "summary", "profile-layers", "visualize"),
    "models": ("list", "ls", "model", "runs"),
    "predict": ("infer", "inference", "run", "classify", "generate", "test", "serve"),
    "prune": ("sparsify", "slim", "sparse"),
    "quantize": ("quantise", "quantization", "quant", "ptq", "qat", "int8", "calibrate"),
    "remove": ("rm", "delete", "del", "clean", "uninstall"),
    "rename": ("mv", "move"),
    "report": ("compare", "eval", "evaluate", "score", "results", "summarize"),
    "share": ("factorize", "factorise", "lowrank", "low-rank", "tie", "cluster", "palettize"),
    "show": ("lineage", "history", "describe", "cat"),
    "train": ("fit", "finetune", "fine-tune", "learn", "pretrain"),
}
_RENAMED = {  # options of 0.1 by verb, understood for one release
    "distill": {"hard": "hard-label-weight"},
    "quantize": {"rows": "samples"},
}
_OPTIONS: dict[str, tuple[str, ...]] = {
    "--output": (
        *("--output-dir", "--out", "--out-dir", "--save", "--save-dir", "--project", "--dst"),
        *("--output-path", "--output-folder", "--outdir", "--name", "--destination"),
    ),
    "--force": ("--overwrite", "--overwrite-output-dir", "--exist-ok", "--yes", "-y", "-f"),
    "--data": (
        *("--dataset", "--dataset-name", "--train-file", "--data-path", "--data-dir", "--csv"),
        *("--train-data", "--input", "--file", "--datasets"),
    ),
    "--text-column": ("--text", "--text-col", "--text-field", "--text-column-name"),
    "--label-column": ("--labels", "--label-col", "--target-column", "--label-column-name"),
    "--learning-rate": ("--lr", "--lr0", "--rate"),
    "--batch-size": (
        *("--bs", "--batch", "--per-device-train-batch-size", "--train-batch-size"),
        *("--batchsize", "--per-gpu-train-batch-size"),
    ),
    "--epochs": ("--epoch", "--num-epochs", "--num-train-epochs", "--n-epochs", "--max-epochs"),
    "--weight-decay": ("--wd", "--l2", "--decay"),
    "--max-length": ("--max-seq-length", "--max-seq-len", "--seq-len", "--maxlen", "--max-len"),
    "--warmup": ("--warmup-ratio", "--warmup-steps", "--warmup-epochs"),
    "--schedule": ("--lr-scheduler", "--lr-scheduler-type", "--scheduler"),
    "--optimizer": ("--optim", "--opt"),
    "--clip": ("--max-grad-norm", "--gradient-clip", "--grad-clip"),
    "--patience": ("--early-stopping", "--early-stopping-patience"),
    "--folds": ("--cv", "--k-fold", "--kfold", "--n-folds"),
    "--augment": ("--augmentation", "--augmentations"),
    "--target": ("--format", "--to", "--backend", "--runtime", "--provider", "--formats"),
    "--ratio": ("--sparsity", "--amount", "--pruning-ratio", "--prune-ratio", "--fraction"),
    "--method": ("--algorithm", "--algo", "--mode", "--technique", "--type", "--scheme"),
    "--bits": ("--wbits", "--w-bit", "--weight-bits", "--num-bits", "--nbits"),
    "--samples": (
        *("--num-samples", "--calibration-samples", "--nsamples", "--limit"),
        "--num-calibration-samples",
    ),
    "--rows": ("--samples", "--num-samples", "--nsamples", "--limit"),
    "--calibrator": ("--calibration", "--calibration-method"),
    "--in-float": ("--exclude", "--skip", "--ignore", "--nodes-to-exclude", "--keep"),
    "--teacher": ("--teacher-model", "--teacher-name-or-path", "--teacher-path"),
    "--student": ("--student-model", "--student-name-or-path", "--size"),
    "--hard-label-weight": ("--ce-weight", "--alpha"),
    "--temperature": ("--temp", "--tau"),
    "--threads": ("--num-threads", "--workers", "--cpus", "--intra-op-threads"),
    "--batch": ("--batch-size", "--bs"),
    "--length": ("--max-length", "--seq-len", "--seq-length", "--tokens"),
    "--launches": ("--runs", "--repeat", "--iterations", "--trials"),
    "--device cuda": ("--gpu", "--cuda", "--gpus", "--use-gpu"),
    "--device cpu": ("--cpu", "--no-cuda", "--no-gpu"),
    "--precision bf16": ("--bf16", "--amp", "--half"),
    "--quiet": ("--silent", "--no-progress"),
    "--opset": ("--opset-version", "--opset-ver"),
    "--code": ("--trust-remote-code", "--module", "--script"),
}
_OTHERWISE = {
    "--int8": "bmc quantize MODEL",
    "--int4": "bmc quantize MODEL --method weights --bits 4",
    "--fp16": "bmc quantize MODEL --method fp16",
    "--half": "bmc quantize MODEL --method fp16",
    "--quantize": "bmc quantize MODEL",
    "--prune": "bmc prune MODEL",
    "--dropout": "--set dropout=0.1",
    "--width": "--set width=128",
    "--hidden-size": "--hidden",
    "--num-layers": "--layers",
    "--num-heads": "--heads",
    "--verbose": "nothing: bmc says what it does unless --quiet is typed",
    "-v": "bmc --version",
    "-V": "bmc --version",
    "--resume": "the same command again: it goes on from its last checkpoint",
    "--resume-from-checkpoint": "the same command again: it goes on from its last checkpoint",
    "--do-train": "bmc train MODEL",
    "--do-eval": "bmc export MODEL --target onnx: it scores the test split",
}
_MODELS = (
    *("--model-name-or-path", "--model", "--model-name", "--model-path", "--model-id", "-m"),
    *("--checkpoint", "--ckpt", "--weights", "--pretrained", "--path", "--bundle", "--onnx"),
)
_FIRST = ("model", "weights", "path", "bundle")  # keys of key=value whose value comes first


def dashed(name: str) -> str:
    """Return an option's name, typed without its dashes; _ stands for -."""
    return name.replace("_", "-")


def present_names(verb: str) -> Callable[[str], str]:
    """Return a function that tells what an option of a verb is called now; see `dashed`."""
    renamed = _RENAMED.get(verb, {})
    return lambda name: renamed.get(dashed(name), dashed(name))


def unknown_verb(name: str, verbs: Iterable[str]) -> UnknownError:
    """Say that there is no such verb, with the one that other tools' name of it means."""
    known = list(verbs)
    meant = next((verb for verb, others in _VERBS.items() if name.lower() in others), "")
    hint = "bmc --help lists all"
    if meant in known:
        return UnknownError(f"no command named {name!r}. Did you mean {meant!r}? ({hint})")
    return unknown("command", name, known, hint)


def way_out(error: Any, arguments: Sequence[str], verbs: Iterable[str]) -> UsageError:
    """Return what to say where Typer refuses a command line.

    Args:
        error: what Typer raised.
        arguments: the command line.
        verbs: all there are.
    """
    context = getattr(error, "ctx", None)
    verb = f"bmc {arguments[0]}" if arguments and arguments[0] in verbs else "bmc"
    hint = f"{verb} --help lists all" if verb != "bmc" else "bmc --help, bmc VERB --help"
    known = _shown_options(context)
    if hasattr(error, "possibilities"):
        typed = _as_typed(error.option_name, arguments)
        negative = typed[1:2].isdecimal()
        instead = "" if negative else _instead(typed, known, _names_model(context))
        dashed = "; a text that starts with - stands after --" if verb == "bmc predict" else ""
        return UsageError(f"{verb} has no option {typed}. {instead}({hint}{dashed})")
    pairs = pairs_as_options(verb, arguments[1:], known)
    if pairs:
        return UsageError(pairs)
    parameter = getattr(error, "param", None)
    if type(error).__name__ == "MissingParameter" and parameter is not None:
        return UsageError(f"{verb} needs {_missing(parameter, arguments)} ({hint})")
    said = " ".join(error.format_message().split()).rstrip(".")
    extra = re.fullmatch(r"Got unexpected extra argument\(s\) \((.*)\)", said)
    if extra:
        return UsageError(f"{verb} does not take {extra[1]!r} ({hint})")
    return UsageError(f"{said} ({hint})")


def refuse_pairs(context: Any, words: Sequence[str]) -> None:
    """Refuse model=NAME where a model's name stands; a row of `bmc predict` may look so.

    Raises:
        UsageError: the message has the line that is meant.
    """
    named = context.params.get("model") or context.params.get("bundle") or ""
    if isinstance(named, str) and _PAIR.fullmatch(named) and not os.path.exists(named):
        said = pairs_as_options(f"bmc {context.info_name}", words, _shown_options(context))
        if said:
            raise UsageError(said)


def pairs_as_options(verb: str, words: Sequence[str], known: Sequence[str]) -> str:
    """Say how a line of key=value words is typed; nothing where there are none.

    Args:
        verb: the command, such as "bmc export".
        words: what stands behind it.
        known: the command's options.
    """
    first: list[str] = []
    others: list[str] = []
    for word in words:
        pair = _PAIR.fullmatch(word)
        key = pair[1].replace("_", "-") if pair else ""
        option = _option_of(f"--{key}", known)
        if pair and key in _FIRST:
            first.append(pair[2])
        elif pair and option:
            others += [option, pair[2]]
        else:
            others.append(word)
    if first + others == list(words) or {"--set", "-s"} & set(words):
        return ""
    return f"bmc takes no NAME=VALUE: type {shlex.join([*verb.split(), *first, *others])}"


def _instead(typed: str, known: Sequence[str], names_model: bool) -> str:
    """Say what is typed instead of an option, in a sentence that ends with a space.

    Args:
        typed: the option.
        known: those that the command has.
        names_model: whether the command takes a model, or a bundle, right after the verb.
    """
    name = f"-{typed}" if re.fullmatch(r"-[^-].+", typed) else typed
    name = name.replace("_", "-")
    if names_model and name in _MODELS:
        return "The model comes right after the verb: type its name alone. "
    option = _exact(name, known) or (
        "--teacher" if name in _MODELS and "--student" in known else ""
    )
    if not option and name in _OTHERWISE:
        return f"Type {_OTHERWISE[name]}. "
    option = option or _nearest(name, known)
    return f"Did you mean {option}? " if option else ""


def _option_of(name: str, known: Sequence[str]) -> str:
    """Return the option that a name of another tool means, among those a command has."""
    return _exact(name, known) or _nearest(name, known)


def _exact(name: str, known: Sequence[str]) -> str:
    for option, others in _OPTIONS.items():
        if name in others and option.partition(" ")[0] in known:
            return option
    return ""


def _nearest(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.7)
    return near[0] if near else ""


def _as_typed(name: str, arguments: Sequence[str]) -> str:
    """Return an option as it was typed: Typer names it with dashes, or by its first letter."""
    for word in arguments:
        typed = word.partition("=")[0]
        if typed.replace("_", "-") == name or (len(name) == 2 and typed.startswith(name)):
            return typed
    return name


def _names_model(context: Any) -> bool:
    parameters = getattr(getattr(context, "command", None), "params", [])
    return any(parameter.name in ("model", "bundle") for parameter in parameters)


def _shown_options(context: Any) -> list[str]:
    parameters = getattr(getattr(context, "command", None), "params", [])
    return [
        name
        for parameter in parameters
        if not getattr(parameter, "hidden", False)
        for name in parameter.opts
        if name.startswith("--")
    ]


def _missing(parameter: Any, arguments: Sequence[str]) -> str:
    """Name what has to be typed, with its values, or with the one that was typed elsewhere."""
    option = next((name for name in parameter.opts if name.startswith("--")), "")
    values = (parameter.metavar or "").strip("<>").split("|")
    typed = next((word for word in arguments[1:] if word in values), "")
    return f"{option or parameter.name.upper()} {typed or '|'.join(values)}".rstrip()
