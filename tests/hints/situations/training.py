"""Training, fine-tuning and studies."""

from tests.hints.given import BUNDLED, FAKE
from tests.hints.situation import PARSED, Situation

DRY = f"ofa-tk train --recipe {BUNDLED} --data fake --out run --dry-run"
STUDY = f"--supernet runs/try --data {FAKE} --images 20 --recalibration-images 20"

TRAINING = (
    Situation(
        typed="ofa-tk train",
        line="ofa-tk train --recipe deps-compact-cifar10 --data fake --epochs 2 --out runs/try",
        runs={"ofa-tk train --recipe deps-compact-cifar10 --data fake --epochs 2 --out runs/try": ""},
        shortened="--dry-run",
    ),
    Situation(
        typed="ofa-tk train --recipe no.toml --data fake --out run",
        line="`ofa-tk train` lists the named recipes.",
        runs={"ofa-tk train": ""},
    ),
    Situation(
        typed=f"ofa-tk train --recipe {BUNDLED} --out run",
        base=f"ofa-tk train --recipe {BUNDLED} --out run --dry-run --set training.batch_size=4",
        line="--data imagefolder:DIR, or --data fake to try without images",
        given=("photos",),
        fill={"DIR": "photos"},
        runs={"--data imagefolder:DIR": "", "--data fake": ""},
    ),
    Situation(
        typed=DRY.replace("--dry-run", "--device cuda"),
        base=DRY,
        line="--device cpu, or see: ofa-tk doctor",
        runs={"--device cpu": "", "ofa-tk doctor": ""},
    ),
    Situation(
        typed=DRY.replace("--dry-run", "--device cpu --set training.precision=float16"),
        base=DRY,
        line="--set training.precision=fp32",
        runs={"--set training.precision=fp32": ""},
    ),
    Situation(
        typed=DRY.replace("--dry-run", "--init deps-compact-imagenette"),
        base=f"{DRY} --init deps-compact-imagenette",
        line="Train that one: --space mobilenet-v3-compact-96",
        runs={"--space mobilenet-v3-compact-96": ""},
    ),
    Situation(
        unseen="needs weights with kernel matrices",
        line="Use --recipe of an ofa method, or weights without them.",
        says=("--recipe",),
    ),
    Situation(
        typed=f"ofa-tk train --recipe {BUNDLED} --data fake --out run --resume",
        line="Start one: without --resume, or with --resume auto, which does either.",
        runs={"without --resume": PARSED, "--resume auto": PARSED},
    ),
    Situation(
        typed=f"ofa-tk train --recipe {BUNDLED} --data fake --out full",
        given=("a folder of the user",),
        line="Choose another folder with --out.",
        says=("--out",),
    ),
    Situation(
        unseen="needs two processes at once",
        line="Wait for it, stop it, or name another folder with --out.",
        says=("--out",),
    ),
    Situation(
        unseen="needs a full disk",
        base="ofa-tk train --out run",
        line="The last good one is 'run/checkpoints/step-8.pt'. Free some space and run again with --resume.",
        runs={"--resume": PARSED},
    ),
    Situation(
        unseen="needs a full disk",
        line="Free some space, or choose another --out.",
        says=("--out",),
    ),
    Situation(
        unseen="needs two processes, one of which ends",
        base=f"ofa-tk train --recipe {BUNDLED} --data fake --out run",
        line="Its own message says why. Run the same line again with --resume auto; torchrun does so by "
        "itself with --max-restarts.",
        runs={"--resume auto": PARSED},
        says=("--max-restarts",),
    ),
    Situation(
        unseen="needs training that diverges",
        base=DRY,
        line="Train with a lower rate, for example --set schedule.learning_rate=0.01",
        runs={"--set schedule.learning_rate=0.01": ""},
    ),
    Situation(
        unseen="needs training that diverges",
        line="No update was made before: the images or the weights of --init are to blame.",
        says=("--init",),
    ),
    Situation(
        unseen="needs weights that were ruined",
        base=DRY,
        line="Train it again with a lower rate, for example --set schedule.learning_rate=0.01",
        runs={"--set schedule.learning_rate=0.01": ""},
    ),
    Situation(
        typed="ofa-tk finetune --data fake --out run",
        given=("an empty object",),
        line="--supernet NAME|DIR",
        runs={"--supernet NAME|DIR": "needs|neither|not"},
        fill={r"NAME\|DIR": BUNDLED},
    ),
    Situation(
        typed="ofa-tk search --supernet tuned --maximize macs --macs 8M",
        given=("a subnet", "a fine-tuned run"),
        line="Use that one: ofa-tk export --supernet tuned --target onnxruntime-cpu --onnx",
        runs={"ofa-tk export --supernet tuned --target onnxruntime-cpu --onnx": ""},
    ),
)

SETTINGS = tuple(
    Situation(unseen="needs settings that do not go together", base=DRY, line=line, runs={line: PARSED})
    for line in (
        "--set space.resolutions=96",
        "--set algorithm.teacher=frozen",
        "--set training.compile=false",
        "--init NAME",
    )
)

RUNS = (
    *SETTINGS,
    Situation(
        typed=f"ofa-tk train --recipe {BUNDLED} --data {FAKE} --out runs/try --epochs 2 --device cpu "
        "--set training.batch_size=64 --set validation.recalibration_images=64 --set tensorboard=false",
        line=f"ofa-tk evaluate --supernet runs/try --data {FAKE}",
        runs={f"ofa-tk evaluate --supernet runs/try --data {FAKE}": ""},
        shortened="--images 20 --random 1",
    ),
    Situation(
        typed=f"ofa-tk train --recipe {BUNDLED} --data {FAKE} --out runs/try",
        given=("a run",),
        line="Go on with it: ofa-tk train --resume --out runs/try  or choose another --out.",
        runs={"ofa-tk train --resume --out runs/try": ""},
        says=("--out",),
    ),
    Situation(
        typed="ofa-tk train --resume --out runs/try --epochs 4",
        given=("a run",),
        line="Start another run with its settings and its weights: ofa-tk train --recipe runs/try/run.toml "
        "--epochs 4 --init runs/try --out runs/try-4-epochs",
        runs={
            "ofa-tk train --recipe runs/try/run.toml --epochs 4 --init runs/try --out runs/try-4-epochs": ""
        },
        shortened="--dry-run",
    ),
    Situation(
        unseen="needs a run that was stopped halfway, and other images",
        base=DRY,
        given=("a run",),
        line="Name the run's own images with --data, wherever they lie now; or start another run from these "
        "weights: --init runs/try",
        runs={"--init runs/try": ""},
        says=("--data",),
    ),
    Situation(
        typed=f"ofa-tk study initialization {STUDY}",
        base=DRY,
        given=("a run",),
        line="Train with --set checkpoints.snapshots=[0.3,0.5,0.65,1.0] --set algorithm.warmup_share=1",
        runs={"--set checkpoints.snapshots=[0.3,0.5,0.65,1.0] --set algorithm.warmup_share=1": ""},
    ),
    Situation(
        typed="ofa-tk study gradient-curves --supernet runs/try",
        base=DRY,
        given=("a run",),
        line="Train with --set training.record_gradients_every=10",
        runs={"--set training.record_gradients_every=10": ""},
    ),
    Situation(
        typed="ofa-tk study report --out studies",
        given=("a study",),
        line="ofa-tk study status --out studies",
        runs={"ofa-tk study status --out studies": ""},
    ),
    Situation(
        unseen="needs a study that another space was added to",
        line="Delete results/deps-s1.json and type `ofa-tk study run` again: nothing is trained anew.",
        says=("`ofa-tk study run`",),
    ),
    Situation(
        typed="ofa-tk study measure studies nothing",
        given=("a study",),
        line="ofa-tk study status --out DIR lists them.",
        fill={"DIR": "studies"},
        runs={"ofa-tk study status --out DIR": ""},
    ),
    Situation(
        typed="ofa-tk study status --out nothing",
        given=("a study",),
        line="Start one: ofa-tk study run FILE.toml --out DIR",
        fill={"FILE.toml": "studies/study.toml", "DIR": "other"},
        runs={"ofa-tk study run FILE.toml --out DIR": PARSED},
    ),
    Situation(
        typed="ofa-tk study run studies/study.toml --out full",
        given=("a study", "a folder of the user"),
        line="Choose another --out.",
        says=("--out",),
    ),
    Situation(
        unseen="needs a study that was changed after its first run",
        line="Give it another label, or choose another --out.",
        says=("--out",),
    ),
    Situation(
        unseen="needs a study that ends",
        given=("a study",),
        line="ofa-tk study report --out studies",
        runs={"ofa-tk study report --out studies": "no results yet"},
    ),
)
