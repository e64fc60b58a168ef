"""TorchScript modules, whose layers can be run and exported, but neither hooked nor replaced."""

from __future__ import annotations

from torch import jit, nn

from bmc.errors import UsageError


def refuse_scripted(name: object, module: nn.Module) -> None:
    """Refuse a network with weights inside a TorchScript module.

    PyTorch allows no hooks on such a module, and the classes of its layers are not nn.Linear etc.

    Args:
        name: name of the model in the message.
        module: the network.

    Raises:
        UsageError: a submodule with parameters is a TorchScript module.
    """
    for path, part in module.named_modules():
        if isinstance(part, jit.ScriptModule) and any(True for _ in part.parameters()):
            where = f"its submodule {path}" if path else "the network"
            raise UsageError(
                f"{name}: {where} is a TorchScript module (torch.jit.script or torch.jit.trace), "
                "whose layers can be neither hooked nor replaced; build it without TorchScript. "
                "bmc train and bmc export accept it as it is"
            )


def hookable(module: nn.Module) -> list[nn.Module]:
    """Return the modules of a network that can have hooks: all outside TorchScript modules."""
    if isinstance(module, jit.ScriptModule):
        return []
    return [module, *(part for child in module.children() for part in hookable(child))]
