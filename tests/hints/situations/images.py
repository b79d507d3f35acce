"""Data sets, and commands that only look at them."""

from tests.hints.given import BUNDLED
from tests.hints.situation import PARSED, Situation

TRAIN = f"ofa-tk train --recipe {BUNDLED} --out run --dry-run"

IMAGES = (
    Situation(
        typed=f"{TRAIN} --data cifar10:.",
        line="Fetch it there: `ofa-tk data show cifar10:. --download`, or name the folder that contains it.",
        runs={"ofa-tk data show cifar10:. --download": PARSED},
    ),
    Situation(
        typed="ofa-tk data show imagefolder:photos",
        given=("photos",),
        line="ofa-tk train --recipe own-photos --data imagefolder:photos --time 20min --out runs/mine",
        runs={"ofa-tk train --recipe own-photos --data imagefolder:photos --time 20min --out runs/mine": ""},
        shortened="--dry-run",
    ),
    Situation(
        typed=f"ofa-tk train --recipe {BUNDLED} --out run --data fake:classes=2,size=8,train=40,test=4",
        base=f"{TRAIN} --data fake:classes=2,size=8,train=40,test=4",
        line="--set training.batch_size=9",
        runs={"--set training.batch_size=9": ""},
    ),
    Situation(
        typed=f"{TRAIN} --data imagefolder:photos --set training.batch_size=4 --set data.validation_size=1",
        given=("photos",),
        line="train and finetune: --set data.validation_size=2; evaluate: --validation-size 2",
        runs={"--set data.validation_size=2": ""},
        says=("--validation-size 2",),
    ),
    Situation(
        unseen="as above",
        base=f"ofa-tk evaluate --supernet {BUNDLED} --data imagefolder:photos",
        line="train and finetune: --set data.validation_size=2; evaluate: --validation-size 2",
        runs={"--validation-size 2": PARSED},
        says=("--set data.validation_size=2",),
    ),
    Situation(
        typed=f"{TRAIN} --data fake --set data.transforms.crop_scale=0.5",
        line="They are cropped by data.transforms.resized_crop: --set data.transforms.crop_scale=0.08",
        runs={"--set data.transforms.crop_scale=0.08": ""},
    ),
)
