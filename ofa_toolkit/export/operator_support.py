"""Which ONNX operators each TensorRT generation parses, as its own documentation lists them.

Source of every set: `docs/operators.md` of the release branch of github.com/onnx/onnx-tensorrt, and its
`docs/Changelog.md` for what a release added. A generation's set is that of its first release, so that a file
which passes is parsed by all of its releases. An operator counts as supported only where the list says `Y`
without restricting it to `EXPERIMENTAL`.
"""

from __future__ import annotations

Operators = frozenset[str]


def _names(text: str) -> Operators:
    return frozenset(text.split())


# release/7.1 and 7.2: the list of 7.2 (operators up to opset 13 there), without what 7.2.1 and later
# container releases added (Changelog 20.12 to 21.05) and what the list of 7.0 does not hold.
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

# TensorRT 8.0.1 release notes: Celu, CumSum, EyeLike, GatherElements, GlobalLpPool, GreaterOrEqual,
# LessOrEqual, LpNormalization, LpPool, ReverseSequence, SoftmaxCrossEntropyLoss.
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

# Changelog, 8.4 GA.
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

# operators.md of 9.2: up to opset 19; Changelog, 9.2 GA.
TENSORRT_9 = TENSORRT_8_6 | _names("CastLike Hardmax")

TENSORRT_10 = TENSORRT_9

# operators.md of 10.15, the last list before 11: opset 9 to 24.
TENSORRT_11 = TENSORRT_10 | _names(
    """
    Attention BlackmanWindow DeformConv Gelu HammingWindow HannWindow Mish RMSNormalization RotaryEmbedding
    STFT
    """
)
