"""What names a model or a teacher in the functions of bmc."""

from __future__ import annotations

from pathlib import Path

from bmc.api.handles import BundleHandle, ModelHandle

Reference = ModelHandle | str | Path
"""A model: its handle, its folder, or its name in the workspace."""
TeacherReference = Reference | BundleHandle
"""A teacher: a model, or a bundle, whose logits are all that it teaches."""
