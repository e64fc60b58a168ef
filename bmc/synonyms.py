"""What other tools call a verb or a setting of bmc, so that a message can name bmc's own word."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

VERBS: Mapping[str, tuple[str, ...]] = {
    "bench": ("benchmark", "profile", "perf", "latency", "time", "measure", "speed"),
    "check": ("verify", "validate", "val"),
    "compress": ("search", "tune", "autotune", "optimize", "optimise", "shrink"),
    "datasets": ("data", "dataset"),
    "distill": ("distil", "distillation", "distillate", "kd", "teach"),
    "doctor": ("env", "info", "system", "install"),
    "export": ("convert", "compile", "build", "to", "deploy", "onnx", "package"),
    "inspect": ("explain", "analyze", "analyse", "summary", "profile-layers", "visualize"),
    "models": ("list", "ls", "model", "runs"),
    "pack": ("zip", "archive", "pack-bundle"),
    "predict": ("infer", "inference", "classify", "generate", "test"),
    "prune": ("sparsify", "slim", "sparse"),
    "quantize": ("quantise", "quantization", "quant", "ptq", "qat", "int8", "calibrate"),
    "recipe": ("recipes", "init", "template", "schema"),
    "remove": ("rm", "delete", "del", "clean", "uninstall"),
    "rename": ("mv", "move"),
    "report": ("compare", "eval", "evaluate", "score", "results", "summarize"),
    "run": ("workflow", "pipeline", "execute", "make", "apply"),
    "serve": ("server", "service", "api", "http", "host", "listen"),
    "share": ("factorize", "factorise", "lowrank", "low-rank", "tie", "cluster", "palettize"),
    "show": ("lineage", "history", "describe", "cat"),
    "train": ("fit", "finetune", "fine-tune", "learn", "pretrain"),
    "unpack": ("unzip", "extract"),
}
SETTINGS: Mapping[str, tuple[str, ...]] = {
    "output": (
        *("output_dir", "out", "out_dir", "save", "save_dir", "project", "dst"),
        *("output_path", "output_folder", "outdir", "name", "destination"),
    ),
    "force": ("overwrite", "overwrite_output_dir", "exist_ok", "yes", "y", "f"),
    "data": (
        *("dataset", "dataset_name", "train_file", "data_path", "data_dir", "csv"),
        *("train_data", "input", "file", "datasets"),
    ),
    "text_column": ("text", "text_col", "text_field", "text_column_name"),
    "features": ("feature_columns", "feature_names", "numeric_columns", "columns", "x_columns"),
    "label_column": ("labels", "label_col", "target_column", "label_column_name"),
    "learning_rate": ("lr", "lr0", "rate"),
    "batch_size": (
        *("bs", "batch", "per_device_train_batch_size", "train_batch_size"),
        *("batchsize", "per_gpu_train_batch_size"),
    ),
    "epochs": ("epoch", "num_epochs", "num_train_epochs", "n_epochs", "max_epochs"),
    "weight_decay": ("wd", "l2", "decay"),
    "max_length": ("max_seq_length", "max_seq_len", "seq_len", "maxlen", "max_len"),
    "warmup": ("warmup_ratio", "warmup_steps", "warmup_epochs"),
    "schedule": ("lr_scheduler", "lr_scheduler_type", "scheduler"),
    "optimizer": ("optim", "opt"),
    "clip": ("max_grad_norm", "gradient_clip", "grad_clip"),
    "patience": ("early_stopping", "early_stopping_patience"),
    "folds": ("cv", "k_fold", "kfold", "n_folds"),
    "augment": ("augmentation", "augmentations"),
    "target": ("format", "to", "backend", "runtime", "provider", "formats"),
    "ratio": ("sparsity", "amount", "pruning_ratio", "prune_ratio", "fraction"),
    "method": ("algorithm", "algo", "mode", "technique", "type", "scheme"),
    "bits": ("wbits", "w_bit", "weight_bits", "num_bits", "nbits"),
    "samples": (
        *("num_samples", "calibration_samples", "nsamples", "limit"),
        "num_calibration_samples",
    ),
    "rows": ("samples", "num_samples", "nsamples", "limit"),
    "calibrator": ("calibration", "calibration_method"),
    "in_float": ("exclude", "skip", "ignore", "nodes_to_exclude", "keep"),
    "teacher": ("teacher_model", "teacher_name_or_path", "teacher_path"),
    "student": ("student_model", "student_name_or_path", "size"),
    "hard_label_weight": ("ce_weight", "alpha"),
    "temperature": ("temp", "tau"),
    "threads": ("num_threads", "workers", "cpus", "intra_op_threads"),
    "batch": ("batch_size", "bs"),
    "length": ("max_length", "seq_len", "seq_length", "tokens"),
    "launches": ("runs", "repeat", "iterations", "trials"),
    "device cuda": ("gpu", "cuda", "gpus", "use_gpu"),
    "device cpu": ("cpu", "no_cuda", "no_gpu"),
    "precision bf16": ("bf16", "amp", "half"),
    "quiet": ("silent", "no_progress"),
    "opset": ("opset_version", "opset_ver"),
    "code": ("trust_remote_code", "module", "script"),
}
ELSEWHERE: Mapping[str, str] = {
    "int8": "bmc quantize MODEL",
    "int4": "bmc quantize MODEL --method weights --bits 4",
    "fp16": "bmc quantize MODEL --method fp16",
    "half": "bmc quantize MODEL --method fp16",
    "quantize": "bmc quantize MODEL",
    "prune": "bmc prune MODEL",
    "dropout": "--set dropout=0.1",
    "width": "--set width=128",
    "hidden_size": "--hidden",
    "num_layers": "--layers",
    "num_heads": "--heads",
    "verbose": "nothing: bmc says what it does unless --quiet is typed",
    "v": "bmc --version",
    "V": "bmc --version",
    "resume": "the same command again: it goes on from its last checkpoint",
    "resume_from_checkpoint": "the same command again: it goes on from its last checkpoint",
    "do_train": "bmc train MODEL",
    "do_eval": "bmc export MODEL --target onnx: it scores the test split",
}
"""What another tool's option is for bmc, where that is no option of the same command."""
MODELS = (
    *("model_name_or_path", "model", "model_name", "model_path", "model_id", "m"),
    *("checkpoint", "ckpt", "weights", "pretrained", "path", "bundle", "onnx"),
)
"""Options by which other tools name the model."""
FIRST = ("model", "weights", "path", "bundle")
"""Keys of KEY=VALUE whose value is the model or bundle that a command is about."""
_NEAR = 0.7


def verb_of(name: str) -> str:
    """Return the verb that another tool's word stands for; "" where there is none."""
    return next((verb for verb, others in VERBS.items() if name in others), "")


def setting_of(name: str, allowed: Iterable[str], near: bool = True) -> str:
    """Return the setting that corresponds to a word of another tool, or the most similar name.

    Args:
        name: name of the setting in another tool, with underscores.
        allowed: the settings that there are.
        near: whether a similarly spelled name is accepted.

    Returns:
        the setting, with its value if the word implies one, such as "device cuda"; "" for no match.
    """
    names = list(allowed)
    for setting, others in SETTINGS.items():
        if name in others and setting.partition(" ")[0] in names:
            return setting
    alike = difflib.get_close_matches(name, names, n=1, cutoff=_NEAR) if near else []
    return alike[0] if alike else ""
