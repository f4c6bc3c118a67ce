"""The formats that a trained model is written in besides its weights, and what is known of such a file once it has been compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from service.spec.catalog import Closed, Shorthand
from service.spec.verdict import Kept

OLDEST_OPSET, NEWEST_OPSET = 13, 25
"""Versions of ONNX's operators. torch writes 18 and later; into older ones it translates, as far as that goes."""


class _Export(Closed):
    """What every format has. The file is compared with the trained model, and published where it agrees."""

    file: ClassVar[str]
    """What the artifact is called."""

    preprocessing: Annotated[bool, Field(strict=True)] = Field(
        default=False,
        description="Put the transforms of an evaluation into the graph, from the tensor on that ToImage (PILToTensor, ToTensor) gives: "
        "it then takes the image's own bytes, uint8 [batch, channels, height, width].",
    )
    tolerance: Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)] = Field(
        default=1.0e-4,
        description="Most that an output may differ from the trained model's on test samples; "
        "a file that differs by more is not published, and the job is warned.",
    )


class Pt2(_Export):
    """`model.pt2`, by torch.export: `torch.export.load` runs it where torch is, without the model's source."""

    file: ClassVar[str] = "model.pt2"

    type: Literal["pt2"]


class Onnx(_Export):
    """`model.onnx`, by torch.onnx.export: one file that ONNX runtimes run without torch."""

    file: ClassVar[str] = "model.onnx"

    type: Literal["onnx"]
    opset: Annotated[int, Field(strict=True, ge=OLDEST_OPSET, le=NEWEST_OPSET)] | None = Field(
        default=None, description="The version of ONNX's operators; torch's own choice if left out. The result says which it was."
    )


if TYPE_CHECKING:
    Export = Pt2 | Onnx
else:
    Export = Annotated[Annotated[Pt2 | Onnx, Field(discriminator="type")], Shorthand(["pt2", "onnx"])]


class Exported(Kept):
    """How far a published file is from the trained model, on so many test samples."""

    max_abs_difference: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    tolerance: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    samples: Annotated[int, Field(ge=1)]
    preprocessing: bool
    opset: int | None = None
