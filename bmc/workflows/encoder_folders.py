"""Folders of sentence encoders as models: a verb reads the folder into the workspace, with texts.

`bmc quantize FOLDER --data texts.txt` reads the folder as `bmc train FOLDER --task embedding` does
with these texts, and goes on with the model directory. A verb that is called again with the same
folder and texts uses that directory.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, replace
from pathlib import Path
from typing import TypeVar

from bmc import artifact, console, workspace
from bmc.contracts import families
from bmc.contracts.tasks import EMBEDDING
from bmc.data import Dataset
from bmc.errors import DataError, UsageError
from bmc.onnx_models import finding
from bmc.untrusted import read_json
from bmc.workflows import baselines, vectors
from bmc.workflows.baselines import Chosen
from bmc.workflows.data import DataSource
from bmc.workflows.options import Files
from bmc.workflows.tuning import Tuning

_NO_HEAD = "Model"  # ending of the names of transformers' classes without a head, such as BertModel
_COLUMN_HINT = "Name yours with"
FilesT = TypeVar("FilesT", bound=Files)


def is_encoder(reference: str | None) -> bool:
    """Tell whether a reference names the folder of a sentence encoder, with its weights.

    It is a sentence-transformers folder, or a Hugging Face folder whose model has no head. A name
    that the workspace has stands for that model.

    Raises:
        ArtifactError: the folder's config.json cannot be read.
    """
    if not reference or workspace.kind_of(workspace.root() / reference) is not None:
        return False
    try:
        if not vectors.is_folder(reference):
            return False
        folder = vectors.encoder_in(Path(reference))
        if not any((folder / name).is_file() for name in finding.ENCODER_WEIGHTS):
            return False
        return vectors.has_modules(folder) or _has_no_head(folder)
    except (OSError, ValueError):  # a name that is too long, or that has a NUL
        return False


def onnx_file(reference: str | None, is_typed_for: bool = False) -> Path | None:
    """Return the ONNX file that a reference names; None for a model.

    The folder of a sentence encoder may hold ONNX files as well. It is the encoder, unless options
    of ONNX files are typed.

    Args:
        reference: an ONNX file, a folder, a model's name, or None for the newest model.
        is_typed_for: whether options of ONNX files are typed.

    Raises:
        UnknownError: there is no such ONNX file.
        UsageError: a folder holds several ONNX files.
    """
    if not is_typed_for and is_encoder(reference):
        return None
    return finding.find(reference)


def texts_of(reference: str | None, data: str | None) -> DataSource | None:
    """Return the texts with which a folder is read; None where the reference names no such folder.

    Args:
        reference: the model, as the user named it.
        data: the texts, as the user named them; None for those of `bmc train`.
    """
    if not is_encoder(reference):
        return None
    if data is None:
        data = DataSource().data
        console.note(
            f"{reference} is read with the texts of {data}; name texts like those that it will "
            "embed with --data"
        )
    return DataSource(data=data, task=EMBEDDING)


def texts_and_tuning(
    reference: str | None, data: str | None, tuning: Tuning
) -> tuple[DataSource | None, Tuning]:
    """Return the texts with which a folder is read, and the settings of the fine-tuning.

    Without --data, the unlabeled texts of --transfer are the texts, and are no transfer rows.

    Args:
        reference: the model, as the user named it.
        data: the texts, as the user named them; None where none are named.
        tuning: settings of the fine-tuning, which may name unlabeled texts.

    Raises:
        UsageError: the number of texts is limited, which only transfer rows can be.
    """
    if data is not None or tuning.transfer == "none" or not is_encoder(reference):
        return texts_of(reference, data), tuning
    if tuning.transfer_size != Tuning().transfer_size:
        raise UsageError(
            f"--transfer-size limits texts besides those of --data, and {tuning.transfer} is all "
            f"that {reference} is read with: leave --transfer-size out, or name --data as well"
        )
    columns = tuning.transfer_column or DataSource().text_column
    texts = DataSource(data=tuning.transfer, task=EMBEDDING, text_column=columns)
    return texts, replace(tuning, transfer="none", transfer_column=())


def as_model(
    reference: str | None, texts: DataSource | None, files: FilesT
) -> tuple[str | None, FilesT]:
    """Return the model directory of a folder's encoder, and where its texts are.

    The folder is read where the workspace has no such model directory. Without texts the reference
    names no folder of an encoder, and is returned as it is.

    Args:
        reference: the model, as the user named it.
        texts: the texts, as `texts_of` returns them.
        files: where data is, and the output.

    Raises:
        ArtifactError: the folder is not a sentence encoder that bmc builds.
        DataError: the texts cannot be used.
        UsageError: other models have the names that the model directory could have.
    """
    if reference is None or texts is None:
        return reference, files
    return str(_read(reference, texts)), replace(files, data=texts.data)


def _read(reference: str, texts: DataSource) -> Path:
    """Return the model directory of a folder's encoder; read the folder where there is none."""
    if reference in families.baselines():
        reference = f"./{reference}"  # without a slash, the name stands for the built-in model
    chosen = baselines.choose(reference, {})
    data = _loaded(reference, texts)
    folder, is_read = _directory_for(reference, chosen, data)
    if is_read:
        console.note(f"{reference} is {folder}, which was read from it with these texts")
        return folder
    console.note(f"reading the sentence encoder {reference}, into {folder}")
    recipe = chosen.recipe_for(data)
    baselines.train_baseline(chosen, data, texts, recipe, folder, force=False)
    return folder


def _loaded(reference: str, texts: DataSource) -> Dataset:
    """Load texts; a verb that reads a folder has no option that names their column."""
    try:
        return texts.load()
    except DataError as error:
        reason, is_column, _ = str(error).partition(_COLUMN_HINT)
        if not is_column:
            raise
        raise DataError(
            f"{reason}Read the folder with its column first, and name the model directory that is "
            f"written: bmc train {reference} --task embedding --data {texts.data} --text-column "
            "COLUMN"
        ) from error


def _directory_for(reference: str, chosen: Chosen, data: Dataset) -> tuple[Path, bool]:
    """Return the model directory for a folder and its texts, and whether it has been read.

    Raises:
        UsageError: other models have both names that it could have.
    """
    sha256 = vectors.folder_sha256(reference)
    usual = workspace.root() / f"{workspace.slug(reference)}-{data.name}"
    content = hashlib.sha256(f"{sha256} {data.fingerprint}".encode()).hexdigest()
    of_content = usual.with_name(f"{usual.name}-{content[:6]}")
    for path in (usual, of_content):
        if artifact.is_model_directory(path) and _holds(path, sha256, chosen, data):
            return path, True
    for path in (usual, of_content):
        if not path.exists():
            return path, False
    raise UsageError(
        f"{usual} and {of_content} exist, and neither was read from {reference} as it is now: "
        f"rename one of them with bmc rename, or remove it with bmc remove {of_content.name}"
    )


def _holds(path: Path, sha256: str, chosen: Chosen, data: Dataset) -> bool:
    """Tell whether a model directory was read from these files, with these texts, and is unchanged.

    Args:
        path: the model directory.
        sha256: sha256 of the folder's files.
        chosen: the folder, with the settings that it is read with.
        data: the texts.
    """
    manifest = artifact.describe(path)
    origin = manifest["origin"]
    return (
        manifest["task"] == EMBEDDING
        and not manifest["steps"]
        and origin.get(vectors.FOLDER_SHA256) == sha256
        and origin.get("options") == asdict(chosen.options)
        and manifest["data"].get("fingerprint") == data.fingerprint
    )


def _has_no_head(folder: Path) -> bool:
    """Tell whether a Hugging Face folder holds a model without a head."""
    config = read_json(folder / "config.json", "Hugging Face model folder", links=True)
    names = config.get("architectures")
    return (
        isinstance(names, list)
        and bool(names)
        and all(isinstance(name, str) and name.endswith(_NO_HEAD) for name in names)
    )
