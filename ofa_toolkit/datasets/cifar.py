"""CIFAR-10 and CIFAR-100 in torchvision's folder layout (Krizhevsky 2009)."""

from __future__ import annotations

import numpy as np
from torchvision import datasets as torchvision_datasets

from ofa_toolkit.core.command_line import command_line
from ofa_toolkit.core.errors import DataError
from ofa_toolkit.datasets.arrays import ArrayDataset, from_arrays
from ofa_toolkit.datasets.request import DataRequest
from ofa_toolkit.datasets.transforms import Preprocessing

_PREPROCESSING: dict[str, Preprocessing] = {
    "cifar10": Preprocessing(
        size=32,
        mean=[0.4914, 0.4822, 0.4465],
        std=[0.2023, 0.1994, 0.2010],
        interpolation="bilinear",
        crop=1.0,
    ),
    "cifar100": Preprocessing(
        size=32,
        mean=[0.5071, 0.4867, 0.4408],
        std=[0.2675, 0.2565, 0.2761],
        interpolation="bilinear",
        crop=1.0,
    ),
}


def open_cifar(request: DataRequest) -> ArrayDataset:
    """Open CIFAR from the folder that holds `cifar-10-batches-py` or `cifar-100-python`.

    Raises:
        DataError: The files are missing or fail torchvision's checksums.
    """
    kind, folder = request.kind, request.path
    reader = {"cifar10": torchvision_datasets.CIFAR10, "cifar100": torchvision_datasets.CIFAR100}[kind]
    try:
        parts = [reader(str(folder), train=is_train, download=request.download) for is_train in (True, False)]
    except RuntimeError as error:
        raise DataError(
            f"'{folder}' holds no complete {kind}: '{reader.base_folder}' is missing or damaged.",
            hint=f"Fetch it there: `{command_line('data', 'show', f'{kind}:{folder}', '--download')}`, "
            "or name the folder that contains it.",
        ) from error
    except OSError as error:
        raise DataError(f"{kind} cannot be read or downloaded to '{folder}': {error}.") from error
    train, test = (
        (np.asarray(part.data, dtype=np.uint8), np.asarray(part.targets, dtype=np.int64)) for part in parts
    )
    return from_arrays(
        f"{kind}:{folder}",
        train,
        test,
        request,
        class_names=tuple(parts[0].classes),
        preprocessing=request.preprocessing or _PREPROCESSING[kind],
    )
