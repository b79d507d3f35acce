"""The zoo: finding, fetching, checking, packaging and importing supernets."""

from ofa_toolkit.spaces import SPACES
from tests.hints.given import BUNDLED, FAKE
from tests.hints.situation import PARSED, Situation

INIT = f"ofa-tk train --recipe {BUNDLED} --data fake --out run"
LINKED = "ofa-mobilenet-v3-w1.0"

ZOO = (
    Situation(
        typed="ofa-tk zoo list",
        line="Subnets that others fine-tuned and published: ofa-tk zoo list --subnets",
        runs={"ofa-tk zoo list --subnets": ""},
    ),
    Situation(
        typed="ofa-tk zoo show xyzzy",
        line="`ofa-tk zoo list` shows all.",
        runs={"ofa-tk zoo list": ""},
    ),
    Situation(
        typed="ofa-tk search --supernet mobilenet-v3-compact --macs 8M",
        line="`ofa-tk zoo list --space mobilenet-v3-compact` lists its supernets.",
        runs={"ofa-tk zoo list --space mobilenet-v3-compact": ""},
    ),
    Situation(
        typed="ofa-tk search --supernet full --macs 8M",
        given=("a folder of the user",),
        line="Name a folder written by `ofa-tk train`, or a zoo name from `ofa-tk zoo list`.",
        runs={"ofa-tk train": "", "ofa-tk zoo list": ""},
    ),
    Situation(
        unseen="needs a subnet of an entry that is not here",
        line="Without a network, search one that is here: ofa-tk search --supernet deps-compact-cifar10 "
        "--device jetson-nano --latency 20ms",
        runs={"ofa-tk search --supernet deps-compact-cifar10 --device jetson-nano --latency 20ms": ""},
    ),
    Situation(unseen="needs a SOCKS proxy", line="pip install pysocks"),
    Situation(
        typed=f"ofa-tk zoo download {LINKED} --offline",
        line="Without --offline it comes from https://raw.githubusercontent.com/han-cai/files/master/ofa/"
        "ofa_nets/ofa_mbv3_d234_e346_k357_w1.0; or set OFA_TK_MIRROR to a copy or its folder.",
        runs={"without --offline": PARSED},
    ),
    Situation(
        unseen="needs a damaged copy",
        base=f"ofa-tk zoo download {LINKED} --offline",
        line="Leave out --offline, or set OFA_TK_MIRROR to a right copy or its folder.",
        runs={"without --offline": PARSED},
    ),
    Situation(
        unseen="needs an entry without checksums",
        base=f"ofa-tk zoo download {LINKED}",
        line="--accept-unknown takes what the mirror sends and holds later downloads to it.",
        runs={"--accept-unknown": PARSED},
    ),
    Situation(
        typed=f"ofa-tk zoo verify damaged --data {FAKE}",
        given=("a damaged entry",),
        line="`ofa-tk zoo verify damaged` without --data lists what is wrong.",
        runs={"ofa-tk zoo verify damaged": "damaged|not those|wrong"},
        says=("--data",),
    ),
    Situation(
        unseen="printed in Python, where parts are asked for without images",
        base=f"ofa-tk zoo package {BUNDLED} --name mine",
        line="Add --data SOURCE",
        fill={"SOURCE": FAKE},
        runs={"--data SOURCE": PARSED},
    ),
    Situation(
        unseen="needs the weights packaged from other ones",
        line=f"Build it for them: ofa-tk predictor build --supernet {BUNDLED} --data DATA",
        fill={"DATA": FAKE},
        runs={f"ofa-tk predictor build --supernet {BUNDLED} --data DATA": PARSED},
    ),
    Situation(
        unseen="needs a predictor of other weights",
        line=f"Build it again: ofa-tk predictor build --supernet {BUNDLED} --data DATA",
        fill={"DATA": FAKE},
        runs={f"ofa-tk predictor build --supernet {BUNDLED} --data DATA": PARSED},
    ),
    Situation(
        unseen="needs statistics of other weights",
        given=("a folder of the user",),
        line="Make it for these weights: ofa-tk zoo package full --name NAME --data DATA --out DIR",
        fill={"NAME": "mine", "DATA": FAKE, "DIR": "entry"},
        runs={"ofa-tk zoo package full --name NAME --data DATA --out DIR": PARSED},
    ),
    Situation(
        unseen="printed after packaging, which takes minutes",
        line=f"ofa-tk zoo verify {BUNDLED} --data {FAKE}",
        runs={f"ofa-tk zoo verify {BUNDLED} --data {FAKE}": PARSED},
    ),
    Situation(
        typed="ofa-tk predictor show nothing.safetensors",
        line="`ofa-tk predictor build --supernet DIR --data DATA` makes one.",
        fill={"DIR": BUNDLED, "DATA": FAKE},
        runs={"ofa-tk predictor build --supernet DIR --data DATA": PARSED},
    ),
    Situation(
        unseen="needs measurements begun with other settings",
        line="Use another folder with --out, or the former settings.",
        says=("--out",),
    ),
    Situation(
        typed=f"ofa-tk evaluate --supernet {BUNDLED} --data fake:classes=3,size=32,train=60,test=9",
        line=f"Train it on yours: ofa-tk train --recipe {BUNDLED} --init {BUNDLED} --data "
        "fake:classes=3,size=32,train=60,test=9 --out runs/mine",
        runs={
            f"ofa-tk train --recipe {BUNDLED} --init {BUNDLED} --data fake:classes=3,size=32,train=60,test=9 "
            "--out runs/mine": ""
        },
        shortened="--dry-run --set training.batch_size=8",
    ),
)

IMPORTING_SUPERNETS = (
    Situation(
        typed="ofa-tk zoo import weights.pth --out mine",
        given=("weights of two networks",),
        line=f"--space NAME or FILE.toml; known are {', '.join(SPACES)}",
        fill={"NAME": "mobilenet-v3-compact"},
        runs={"--space NAME": "several networks"},
    ),
    Situation(
        typed="ofa-tk zoo import weights.pth --space mobilenet-v3-compact --out mine",
        given=("weights of two networks",),
        line="Say which: --weights b",
        runs={"--weights b": "."},
    ),
    Situation(
        typed="ofa-tk zoo import runs/try/supernet --out mine",
        given=("a run",),
        base="ofa-tk search --maximize macs --macs 8M",
        line="Use it as it is: --supernet runs/try/supernet",
        runs={"--supernet runs/try/supernet": ""},
    ),
    Situation(
        typed="ofa-tk zoo import half --out mine",
        given=("half a network",),
        line="They are expected in 'half/init', as `ofa-tk extract --layout official` writes them.",
        says=("`ofa-tk extract --layout official`",),
    ),
    Situation(
        typed="ofa-tk zoo import network --out mine",
        given=("a subnet", "a network as its authors write it"),
        line="ofa-tk export --supernet mine --target onnxruntime-cpu --onnx",
        runs={"ofa-tk export --supernet mine --target onnxruntime-cpu --onnx": ""},
    ),
    Situation(
        typed="ofa-tk extract --supernet runs/try --out network",
        given=("a subnet", "a run"),
        line="Give training images with --data SOURCE, or keep the supernet's statistics, which fit none of "
        "its subnets well, with --keep-batchnorm.",
        fill={"SOURCE": FAKE},
        runs={"--data SOURCE": "", "--keep-batchnorm": ""},
    ),
    Situation(
        typed="ofa-tk predict runs/try photos --subnet subnet.json",
        given=("a subnet", "a run", "photos"),
        line="Give training images with --data SOURCE.",
        fill={"SOURCE": FAKE},
        runs={"--data SOURCE": ""},
    ),
)

INITIAL = (
    Situation(
        unseen="needs the hub of timm",
        base=INIT,
        line="Save its state_dict() elsewhere: --init FILE --space mobilenet-v3-compact",
        runs={"--init FILE --space mobilenet-v3-compact": PARSED},
    ),
    Situation(
        unseen="needs the servers of torchvision",
        base=INIT,
        line="Fetch a.org/a.pth elsewhere and name the file: --init a.pth --space mobilenet-v3-compact",
        runs={"--init a.pth --space mobilenet-v3-compact": PARSED},
    ),
    Situation(
        unseen="needs a network of others",
        base=f"ofa-tk extract --supernet {BUNDLED} --out network --layout official",
        line="Write the network without --layout official.",
        runs={"without --layout official": PARSED},
    ),
)

HUB = (
    Situation(
        unseen="needs the hub",
        line="Entries are made by `ofa-tk zoo package` and uploaded by `ofa-tk zoo push`.",
        says=("`ofa-tk zoo package`", "`ofa-tk zoo push`"),
    ),
    Situation(
        unseen="needs the hub",
        line="Delete the copy with `hf cache rm` and download again, or tell its owner.",
        says=("`hf cache rm`",),
    ),
    Situation(
        typed="ofa-tk zoo push damaged hf-hub:me/mine",
        given=("a damaged entry",),
        line="`ofa-tk zoo package` makes a folder.",
        says=("`ofa-tk zoo package`",),
    ),
    Situation(
        unseen="needs the hub",
        line="For a private one: `hf auth login`, or set HF_TOKEN.",
        says=("`hf auth login`",),
    ),
    Situation(
        typed="ofa-tk zoo download hf-hub:me/mine --offline",
        line="`ofa-tk zoo download hf-hub:me/mine` fetches it.",
        runs={"ofa-tk zoo download hf-hub:me/mine": PARSED},
    ),
    Situation(
        unseen="needs the hub",
        line="ofa-tk zoo download hf-hub:me/mine",
        runs={"ofa-tk zoo download hf-hub:me/mine": PARSED},
    ),
)

PAGES = (
    Situation(
        unseen="on the pages of entries",
        line="The files are fetched with `ofa-tk zoo download {name}`.",
        fill={r"\{name\}": LINKED},
        runs={"ofa-tk zoo download {name}": PARSED},
    ),
    Situation(
        unseen="on the pages of entries",
        line="Accuracy is that of the published networks, which were fine-tuned after being cut out; latency "
        "was measured and rounded by their authors. `ofa-tk zoo show NAME --out subnet.json` writes the "
        "architecture.",
        fill={"NAME": "flops-482M_top1-79.6_finetune-75"},
        runs={"ofa-tk zoo show NAME --out subnet.json": ""},
    ),
)

ZOO_LINES = (*ZOO, *IMPORTING_SUPERNETS, *INITIAL, *HUB, *PAGES)
