"""Define the components that bytes are attributed to, and the component of each phase."""

from scalelab.core.events import Phase

__all__ = ["BY_PHASE", "COMPONENTS"]

COMPONENTS = (
    "item_table",
    "encoder_parameters",
    "attribute_table",
    "user_table",
    "item_table_gradient",
    "encoder_gradients",
    "optimizer_state",
    "optimizer_workspace",
    "batch",
    "activations",
    "loss_workspace",
    "evaluation_workspace",
    "other",
)

BY_PHASE = {
    Phase.DATA: "batch",
    Phase.FORWARD: "activations",
    Phase.LOSS: "loss_workspace",
    Phase.OPTIMIZER: "optimizer_workspace",
    Phase.EVALUATE: "evaluation_workspace",
}
