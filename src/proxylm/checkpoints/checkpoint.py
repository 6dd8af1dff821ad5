"""Checkpoints: written whole or not at all, verified before they are trusted.

A saved model is a folder with ``model.safetensors``, ``model.json`` (its configuration) and,
written last, ``manifest.json`` with the length and SHA-256 of each of them and, as far as they are
known, the names of the configuration and the data that the model was trained with. A checkpoint of
a run, ``checkpoints/step-00000100``, holds ``optimizer.safetensors`` and ``state.json`` (counters)
besides: the state after 100 updates. Where several ranks have written it, both kinds of tensors are
in ``shard-*.safetensors`` instead, a file for each rank's parts (``shards``). The folder is built
beside its place, flushed and renamed, so a killed writer leaves nothing that could be mistaken for
a whole one. A flipped bit in a safetensors file loads silently: hence the checksums.
"""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt
from safetensors.torch import save_file
from torch import Tensor, nn

from proxylm.checkpoints.shards import Shards, write_shards
from proxylm.checkpoints.tensor_files import TensorFiles, read_tensors
from proxylm.config import Config, added_field, validate_config
from proxylm.errors import (
    CannotWriteError,
    CheckpointError,
    DamagedFileError,
    DataError,
    ProxylmError,
    UsageError,
)
from proxylm.files import (
    TEMPORARY_PREFIX,
    atomic_folder,
    named_write,
    read_json,
    sha256_of,
    sync_path,
    write_json,
)
from proxylm.fingerprint import fingerprint_of
from proxylm.models.config import ModelConfig
from proxylm.models.language_model import LanguageModel
from proxylm.ranks import ALONE, Ranks

logger = logging.getLogger(__name__)

CHECKPOINTS_FOLDER = "checkpoints"
MODEL_TENSORS = "model.safetensors"
OPTIMIZER_TENSORS = "optimizer.safetensors"
MODEL_CONFIG = "model.json"
STATE = "state.json"
MANIFEST = "manifest.json"
MODEL_FILES = (MODEL_TENSORS, MODEL_CONFIG)
RUN_FILES = (*MODEL_FILES, OPTIMIZER_TENSORS, STATE)
SHARD_PATTERN = re.compile(r"shard-[0-9]+-.*\.safetensors")
SHARDED_RUN_FILES = (MODEL_CONFIG, STATE)
"""Beside the shards, of which a checkpoint has one or more."""
NAME_PATTERN = re.compile(r"step-([0-9]{8})")
DAMAGED_PREFIX = "damaged-"

StoredType = TypeVar("StoredType", bound=Config)


class TrainingState(Config):
    """What a run has used up after ``step`` updates; with the tensors, all that resuming needs.

    Attributes:
        step: updates made.
        symbols: input positions trained on.
        raw_bytes: raw bytes of the documents' stretches shown so far, in whatever view.
        raw_format_bytes: those of them that were shown as bytes; None in states of before it was
            counted.
        documents: documents started.
        training_flops: floating-point operations of forward and backward passes.
        seconds: wall time spent in training steps, over all starts of the run.
        loss: loss of the last update, nats per symbol.
        held_out: last held-out bits per byte, by the view they were read in.
        threads: that the run computes with, chosen at its start; its bits are promised for one
            number of them.
        torch_version: release of torch that wrote the state.
        compared_losses: of the last steps that were no loss spikes; empty where nobody looks for
            any.
        spikes_in_a_row: steps at the end of the run so far that were spikes.
    """

    step: NonNegativeInt = 0
    symbols: NonNegativeInt = 0
    raw_bytes: NonNegativeInt = 0
    raw_format_bytes: NonNegativeInt | None = None
    documents: NonNegativeInt = 0
    training_flops: NonNegativeFloat = 0.0
    seconds: NonNegativeFloat = 0.0
    loss: float | None = None
    held_out: dict[str, float] = Field(default_factory=dict)
    threads: PositiveInt = 1
    torch_version: str = ""
    compared_losses: tuple[float, ...] = added_field(())
    spikes_in_a_row: NonNegativeInt = added_field(0)


class StoredFile(Config):
    """Length in bytes and SHA-256 of one file of a checkpoint."""

    num_bytes: NonNegativeInt
    sha256: str


class Origin(Config):
    """What a model was made from: hashes of configuration, data and compressor; None if unknown.

    There is also no compressor where a model was trained on bytes alone.
    """

    configuration_hash: str | None = None
    data_fingerprint: str | None = None
    compressor_fingerprint: str | None = None


class CheckpointManifest(Config):
    """Contents of such a folder, and what it was made from; ``checksum`` covers all the rest.

    ``step`` is None where a model was saved alone.
    """

    format_version: Literal[1] = 1
    step: NonNegativeInt | None
    origin: Origin
    files: dict[str, StoredFile]
    checksum: str = ""

    def expected_checksum(self) -> str:
        """Fingerprint of everything but the checksum."""
        return fingerprint_of(self.model_dump(mode="json", exclude={"checksum"}))


@dataclass(frozen=True, kw_only=True)
class SavedModel:
    """A verified folder with a model; its tensors are read when they are asked for."""

    path: Path
    manifest: CheckpointManifest

    def model_config(self) -> ModelConfig:
        """Configuration of the model."""
        return _read_stored(ModelConfig, self.path / MODEL_CONFIG)

    @property
    def is_sharded(self) -> bool:
        """Whether several ranks have written it."""
        return MODEL_TENSORS not in self.manifest.files

    def copy_into(self, model: LanguageModel, ranks: Ranks = ALONE) -> None:
        """Give a model these weights, where it is, whole or divided among ranks.

        Raises:
            CheckpointError: the weights are not the model's.
        """
        if self.is_sharded or not ranks.is_alone:
            Shards(self.path).read_into(model.state_dict(), ranks)
        else:
            self._weights().copy_into(model)

    def model(self) -> LanguageModel:
        """The model with its weights, on the CPU.

        Raises:
            CheckpointError: the weights do not fit the configuration.
        """
        if not self.is_sharded:
            return self._weights().new_model(self.model_config())
        with torch.device("meta"):  # nothing is drawn that the weights replace
            model = LanguageModel(self.model_config())
        model.allocate("cpu")
        self.copy_into(model)
        return model

    def _weights(self) -> TensorFiles:
        return TensorFiles([self.path / MODEL_TENSORS], sizes_from=MODEL_CONFIG)


@dataclass(frozen=True, kw_only=True)
class Checkpoint(SavedModel):
    """A verified checkpoint of a run: the model, and what its training needs to go on."""

    state: TrainingState

    def optimizer_tensors(self, model: nn.Module, ranks: Ranks = ALONE) -> dict[str, Tensor]:
        """Optimizer state, as ``training.optimizer.optimizer_tensors`` names it.

        Args:
            model: whose parameters it is of; where they are divided, it is, too.
            ranks: that ask together.
        """
        if ranks.is_alone and not self.is_sharded:
            return read_tensors(self.path / OPTIMIZER_TENSORS)
        shards, parameters = Shards(self.path), dict(model.named_parameters())
        tensors = {}
        for key in shards.optimizer_names:
            shape, like = shards.shapes[key], parameters.get(key.partition(".")[2])
            if like is not None and shape == list(like.shape):
                tensors[key] = torch.empty_like(like)
            else:
                tensors[key] = torch.empty(shape)
        shards.read_into(tensors, ranks)
        return tensors


def checkpoint_name(step: int) -> str:
    """Folder name of the state after ``step`` updates.

    >>> checkpoint_name(100)
    'step-00000100'
    """
    return f"step-{step:08d}"


def step_of(checkpoint: Path) -> int:
    """The step in the name of a checkpoint's folder.

    >>> step_of(Path("run/checkpoints/step-00000100"))
    100
    """
    return int(checkpoint.name.rpartition("-")[2])


def read_state(checkpoint: Path) -> TrainingState:
    """What the run had used up there; its other files are not looked at.

    Raises:
        DamagedFileError: it cannot be read.
    """
    return _read_stored(TrainingState, checkpoint / STATE)


def save_checkpoint(
    folder: Path,
    *,
    model_tensors: Mapping[str, Tensor],
    optimizer_tensors: Mapping[str, Tensor],
    model_config: Config,
    state: TrainingState,
    origin: Origin,
    ranks: Ranks = ALONE,
) -> Path:
    """Write ``folder/step-<step>`` durably; returns its path.

    Nothing under that name exists until everything in it is on the disk. Several ranks write it
    together, each of them what it has.

    Raises:
        CheckpointError: the disk is full or cannot be written; older checkpoints are untouched
            (the newest is named, if there is one).
    """
    target = folder / checkpoint_name(state.step)
    documents = {
        STATE: state.model_dump(mode="json"),
        MODEL_CONFIG: model_config.model_dump(mode="json"),
    }
    try:
        if ranks.is_alone:
            files = {OPTIMIZER_TENSORS: optimizer_tensors, MODEL_TENSORS: model_tensors}
            with atomic_folder(target) as temporary:
                _write_files(temporary, files, documents)
                _write_manifest(temporary, step=state.step, origin=origin)
        else:
            tensors = {**model_tensors, **optimizer_tensors}
            _write_together(target, tensors, documents, step=state.step, origin=origin, ranks=ranks)
    except CannotWriteError as error:
        raise CheckpointError(
            f"{target}: cannot be written ({error.reason}); {what_is_safe(folder)}: free some "
            "space and run the same command again"
        ) from None
    return target


def checkpoint_folders(folder: Path) -> list[Path]:
    """All folders named as checkpoints, newest first; names are matched whole."""
    if not folder.is_dir():
        return []
    named = [path for path in folder.iterdir() if NAME_PATTERN.fullmatch(path.name)]
    return sorted(named, key=lambda path: path.name, reverse=True)


def what_is_safe(folder: Path) -> str:
    """What a run that cannot go on can start from again, for its last message."""
    folders = checkpoint_folders(folder)
    return f"checkpoint {folders[0].name} is intact" if folders else "there is no checkpoint yet"


def write_saved_model(
    folder: Path,
    model_tensors: Mapping[str, Tensor],
    model_config: Config,
    *,
    step: int | None,
    origin: Origin,
) -> None:
    """Complete ``folder``, which nobody sees yet: the model, and the manifest of all files."""
    documents = {MODEL_CONFIG: model_config.model_dump(mode="json")}
    _write_files(folder, {MODEL_TENSORS: model_tensors}, documents)
    _write_manifest(folder, step=step, origin=origin)


def _write_files(
    folder: Path, tensors: Mapping[str, Mapping[str, Tensor]], documents: Mapping[str, Any]
) -> None:
    for name, values in tensors.items():
        _write_tensors(folder / name, values)
    for name, value in documents.items():
        write_json(folder / name, value)


def _write_manifest(
    folder: Path, *, step: int | None, origin: Origin, ranks: Ranks = ALONE
) -> None:
    """Add the manifest of all files in a folder; ranks share the reading, the first one writes."""
    with ranks.together():
        seen = {path.name for path in folder.iterdir()}
    # On a shared disk a machine may see another one's new file late, but its own at once.
    names = sorted(set[str]().union(*ranks.gather(seen)))
    files: dict[str, StoredFile] = {}
    with ranks.together():
        for name in names[ranks.rank :: ranks.world]:
            path = folder / name
            files[name] = StoredFile(num_bytes=path.stat().st_size, sha256=sha256_of(path))
    files = {name: one for part in ranks.gather(files) for name, one in part.items()}
    manifest = CheckpointManifest(step=step, origin=origin, files=dict(sorted(files.items())))
    signed = manifest.model_copy(update={"checksum": manifest.expected_checksum()})
    with ranks.together():
        if ranks.is_first:
            write_json(folder / MANIFEST, signed.model_dump(mode="json"))


def _write_together(
    target: Path,
    tensors: Mapping[str, Tensor],
    documents: Mapping[str, Any],
    *,
    step: int,
    origin: Origin,
    ranks: Ranks,
) -> None:
    """Write a checkpoint, each rank its shards, the first one the rest."""
    with ExitStack() as stack:
        temporary = target
        with ranks.together():
            if ranks.is_first:
                temporary = stack.enter_context(atomic_folder(target))
                _write_files(temporary, {}, documents)
        temporary = ranks.broadcast(temporary)
        with ranks.together(), named_write(target, temporary):
            write_shards(temporary, tensors, ranks)
        _write_manifest(temporary, step=step, origin=origin, ranks=ranks)
        with ranks.together():
            stack.close()  # it takes its name


def open_checkpoint(path: Path, ranks: Ranks = ALONE) -> Checkpoint:
    """Verify every file of a run's checkpoint against its manifest and open it.

    Raises:
        DamagedFileError: a file is missing, truncated, altered or of a foreign format.
    """
    manifest = _verified_manifest(path, RUN_FILES, ranks)
    if manifest.step is None or (
        path.name != checkpoint_name(manifest.step) and NAME_PATTERN.fullmatch(path.name)
    ):
        raise DamagedFileError(f"{path}: holds step {manifest.step}, not what its name says")
    return Checkpoint(path=path, manifest=manifest, state=read_state(path))


def open_saved_model(path: Path) -> SavedModel:
    """Verify every file that ``save`` has written against their manifest, and open them.

    Raises:
        DamagedFileError: a file is missing, truncated, altered or of a foreign format.
    """
    return SavedModel(path=path, manifest=_verified_manifest(path, MODEL_FILES))


def _verified_manifest(
    path: Path, required: Sequence[str], ranks: Ranks = ALONE
) -> CheckpointManifest:
    """The manifest of a folder whose files are what it says; ranks share the reading."""
    with ranks.together():
        manifest = _own_manifest(path, required)
        for name, stored in list(manifest.files.items())[ranks.rank :: ranks.world]:
            _verify(path / name, stored)
    return manifest


def _own_manifest(path: Path, required: Sequence[str]) -> CheckpointManifest:
    manifest = _read_stored(CheckpointManifest, path / MANIFEST)
    if manifest.checksum != manifest.expected_checksum():
        raise DamagedFileError(f"{path / MANIFEST}: its checksum does not fit its content")
    if any(SHARD_PATTERN.fullmatch(name) for name in manifest.files):
        required = SHARDED_RUN_FILES
    for name in required:
        if name not in manifest.files:
            raise DamagedFileError(f"{path / MANIFEST}: does not list {name}")
    return manifest


def newest_valid(run: Path, ranks: Ranks = ALONE) -> Checkpoint | None:
    """The newest checkpoint of a run folder that verifies; None if the run has none yet.

    Ranks take the same one. A damaged one is passed over with a warning that names the file.

    Raises:
        CheckpointError: there are checkpoints and none of them can be loaded.
    """
    folders = ranks.broadcast(checkpoint_folders(run / CHECKPOINTS_FOLDER))
    first_damage: ProxylmError | None = None
    for path in folders:
        try:
            return open_checkpoint(path, ranks)
        except DataError as damage:
            logger.warning("%s; trying the checkpoint before it", damage)
            first_damage = first_damage or damage
    if first_damage is None:
        return None
    raise CheckpointError(
        f"{run}: none of its {len(folders)} checkpoints can be loaded (newest: {first_damage}); "
        "restore one from a copy, or start a new run in another folder"
    )


def prune(folder: Path, keep_last: int, keep_every_steps: int | None = None) -> None:
    """Remove all but the newest ``keep_last`` checkpoints, and those at every so many steps."""
    for path in checkpoint_folders(folder)[keep_last:]:
        if keep_every_steps and step_of(path) % keep_every_steps == 0:
            continue
        # Renamed first: what a kill leaves of it cannot pass for a checkpoint.
        doomed = path.with_name(TEMPORARY_PREFIX + path.name)
        path.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)


def set_aside_after(folder: Path, step: int) -> None:
    """Rename checkpoints newer than ``step`` (those passed over as damaged) out of the way.

    They stay for whoever wants to look at them; the run will write its own under these names.
    """
    for path in checkpoint_folders(folder):
        if path.name > checkpoint_name(step):
            aside = path.with_name(DAMAGED_PREFIX + path.name)
            shutil.rmtree(aside, ignore_errors=True)
            path.rename(aside)


def _write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    on_cpu = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    save_file(on_cpu, path)
    sync_path(path)


def _verify(path: Path, stored: StoredFile) -> None:
    try:
        num_bytes = path.stat().st_size
        if num_bytes != stored.num_bytes:
            raise DamagedFileError(
                f"{path}: has {num_bytes} bytes, its manifest says {stored.num_bytes}"
            )
        if sha256_of(path) != stored.sha256:
            raise DamagedFileError(f"{path}: its content is not what its manifest says (SHA-256)")
    except OSError as error:
        raise DamagedFileError(f"{path}: cannot be read ({error.strerror})") from None


def _read_stored(config_class: type[StoredType], path: Path) -> StoredType:
    value: Any
    try:
        value = read_json(path)
    except OSError as error:
        raise DamagedFileError(f"{path}: cannot be read ({error.strerror})") from None
    try:
        return validate_config(config_class, value, origin=str(path))
    except UsageError as error:
        raise DamagedFileError(str(error)) from None
