"""Which ONNX operators each TensorRT generation parses, as its own documentation lists them.

Source of every set: `docs/operators.md` of the release branch of github.com/onnx/onnx-tensorrt, and its
`docs/Changelog.md` for what a release added. A generation's set is that of its first release, so that a file
which passes is parsed by all of its releases. An operator counts as supported only where the list says `Y`
without restricting it to `EXPERIMENTAL`. The column `Restrictions` of the same lists gives the inputs that
must be stored in the file and the attributes that may only have certain values.

The lists of 7.2 (opset 11), 8.0, 8.4, 8.5, 9.2 and 10.15 were read as a whole; 8.2, 8.6, 9.0 and 10.0 follow
from the list before and the changelog.
"""

from __future__ import annotations

from collections.abc import Mapping

Operators = frozenset[str]

DataTypes = frozenset[str]
"""Element types as `TensorProto.DataType` names them."""

ConstantInputs = Mapping[str, tuple[int, ...]]
"""Operator -> positions of the inputs that must be stored in the file."""

AttributeValues = Mapping[tuple[str, str], frozenset[str]]
"""(Operator, attribute) -> the values it may have; others are refused."""


def _names(text: str) -> Operators:
    return frozenset(text.split())


# The list "TensorRT 7.2 supports operators up to Opset 11", from before the changelog begins with 7.2.1; the
# list of 7.0 (commit 84b5be1) says the same.
TENSORRT_7_1 = _names(
    """
    Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization Cast Ceil Clip
    Concat Constant ConstantOfShape Conv ConvTranspose Cos Cosh DepthToSpace DequantizeLinear Div Elu Equal
    Erf Exp Expand Flatten Floor Gather Gemm GlobalAveragePool GlobalMaxPool Greater GRU HardSigmoid Identity
    ImageScaler InstanceNormalization LeakyRelu Less Log LogSoftmax Loop LRN LSTM MatMul Max MaxPool Mean Min
    Mul Neg Not Or Pad ParametricSoftplus Pow PRelu QuantizeLinear RandomUniform RandomUniformLike Range
    ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum
    ReduceSumSquare Relu Reshape Resize RNN ScaledTanh Scan Selu Shape Sigmoid Sin Sinh Size Slice Softmax
    Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Tan Tanh ThresholdedRelu Tile TopK Transpose
    Unsqueeze Upsample Where
    """
)

# operators.md of 8.0, and the 8.0.1 release notes; without SoftmaxCrossEntropyLoss, which later lists deny.
TENSORRT_8_0 = TENSORRT_7_1 | _names(
    """
    Celu CumSum EyeLike GatherElements GlobalLpPool GreaterOrEqual LessOrEqual LpNormalization LpPool
    ReverseSequence
    """
)

# Changelog, 8.2 EA. The list of 8.4 also has Dropout and If, which 8.2 EA's notes mention as existing.
TENSORRT_8_2 = TENSORRT_8_0 | _names(
    "Dropout Einsum GatherND If IsNaN Round Scatter ScatterElements ScatterND Sign"
)

# operators.md of 8.4 (Xor) and Changelog, 8.4 GA (Shrink).
TENSORRT_8_4 = TENSORRT_8_2 | _names("Shrink Xor")

# operators.md of 8.5 (commit of release/8.5-GA): the first list that has HardSwish.
TENSORRT_8_5 = TENSORRT_8_4 | _names(
    """
    GridSample HardSwish MeanVarianceNormalization Mod NonMaxSuppression NonZero OneHot RandomNormal
    RandomNormalLike Reciprocal RoiAlign Trilu
    """
)

# Changelog, 8.6 EA.
TENSORRT_8_6 = TENSORRT_8_5 | _names("GroupNormalization IsInf LayerNormalization")

# The changelog names no operator for 9.0 and 9.1.
TENSORRT_9 = TENSORRT_8_6

# operators.md of 9.2; the changelog names Hardmax for 9.2 and no operator for 9.3 and 10.0.
TENSORRT_10 = TENSORRT_9 | _names("CastLike Hardmax")

# operators.md of 10.15, the last list before 11: opset 9 to 24.
TENSORRT_11 = TENSORRT_10 | _names(
    """
    Attention BlackmanWindow DeformConv Gelu HammingWindow HannWindow Mish RMSNormalization RotaryEmbedding
    STFT TensorScatter
    """
)

# The element types in the head of the same lists; INT32 and INT64 are in its notes. UINT8 of inputs and
# outputs: Changelog, 8.5 GA.
TYPES_7_1 = _names("FLOAT FLOAT16 INT8 INT32 INT64 BOOL")
TYPES_8_0 = TYPES_7_1 | _names("DOUBLE")
TYPES_8_5 = TYPES_8_0 | _names("UINT8")
TYPES_9 = TYPES_8_5 | _names("BFLOAT16 FLOAT8E4M3FN")
TYPES_10 = TYPES_9 | _names("INT4")

EVERY_TYPE = TYPES_10 | _names("STRING INT16 UINT16 UINT32 UINT64 COMPLEX64 COMPLEX128")

_AXES = {"CumSum": (1,), "Slice": (3,), "Squeeze": (1,), "Unsqueeze": (1,)}
_WEIGHTS = {"Conv": (1,), "ConvTranspose": (1,)}
_INSTANCE = {"InstanceNormalization": (1, 2)}

CONSTANT_7_1: ConstantInputs = {"Clip": (1, 2), "Slice": (3,), **_WEIGHTS, **_INSTANCE}
CONSTANT_8_0: ConstantInputs = {"Clip": (1, 2), "Split": (1,), **_AXES, **_WEIGHTS, **_INSTANCE}
# operators.md of 8.4.
CONSTANT_8_2: ConstantInputs = {"TopK": (1,), **_AXES, **_WEIGHTS, **_INSTANCE}
CONSTANT_8_5: ConstantInputs = {"TopK": (1,), **_AXES, **_INSTANCE}
# Changelog, 8.6 EA: `K` of TopK may be computed.
CONSTANT_8_6: ConstantInputs = {**_AXES, **_INSTANCE}
CONSTANT_9: ConstantInputs = {"OneHot": (1,), **_AXES}
# operators.md of 10.15: the axes of reductions; Slice takes computed ones from 10.3 on only.
CONSTANT_10: ConstantInputs = {
    **CONSTANT_9,
    "Dropout": (2,),
    **{name: (1,) for name in TENSORRT_10 if name.startswith("Reduce")},
}
CONSTANT_11: ConstantInputs = {
    **{name: at for name, at in CONSTANT_10.items() if name not in ("CumSum", "Slice")},
    "STFT": (1,),
}

_PLACEMENT, _MODE, _ROUNDING = (
    ("Resize", "coordinate_transformation_mode"),
    ("Resize", "mode"),
    ("Resize", "nearest_mode"),
)
_PAD = ("Pad", "mode")

ATTRIBUTES_7_1: AttributeValues = {
    _PLACEMENT: _names("asymmetric"),
    _MODE: _names("nearest linear"),
    _ROUNDING: _names("floor"),
    _PAD: _names("constant"),
}
# Changelog, 8.0: Resize was rewritten.
ATTRIBUTES_8_0: AttributeValues = {
    _PLACEMENT: _names("half_pixel pytorch_half_pixel tf_half_pixel_for_nn asymmetric align_corners"),
    _MODE: _names("nearest linear"),
    _ROUNDING: _names("floor ceil round_prefer_floor round_prefer_ceil"),
    _PAD: _names("constant"),
}
# Changelog, 8.2 EA and 10.0 EA.
ATTRIBUTES_8_2: AttributeValues = {**ATTRIBUTES_8_0, _PAD: _names("constant edge reflect")}
ATTRIBUTES_10: AttributeValues = {
    **ATTRIBUTES_8_0,
    _PAD: _names("constant edge reflect wrap"),
    ("Resize", "keep_aspect_ratio_policy"): _names("stretch"),
    ("Resize", "antialias"): _names("0"),
    ("ScatterND", "reduction"): _names("none"),
    ("ScatterElements", "reduction"): _names("none add mul"),
    ("LpPool", "p"): _names("1 2"),
}
# What the parser of 11 (TensorRT for RTX 1.7.1) takes.
ATTRIBUTES_11: AttributeValues = {**ATTRIBUTES_10, _MODE: _names("nearest linear cubic")}
