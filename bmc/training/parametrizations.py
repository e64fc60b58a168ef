"""Replace parametrized weights, such as weight norm's, by plain parameters."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn.utils import parametrize, prune, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm, SpectralNormLoadStateDictPreHook
from torch.nn.utils.weight_norm import WeightNorm

_HOOKS = (WeightNorm, SpectralNorm, prune.BasePruningMethod)


def fold_parametrizations(module: nn.Module) -> list[str]:
    """Replace weights that are computed from other tensors by plain parameters, in place.

    These are the weights under weight norm, spectral norm, masks of `torch.nn.utils.prune`, and any
    other parametrization except bmc's.

    Args:
        module: the network, which may be a user's.

    Returns:
        Paths of the changed layers.
    """
    folded = []
    training = module.training
    module.eval()
    for path, layer in list(module.named_modules()):
        names = _parametrized(layer)
        for name in names:
            parametrize.remove_parametrizations(layer, name, leave_parametrized=True)
        hooks = [hook for hook in layer._forward_pre_hooks.values() if isinstance(hook, _HOOKS)]
        for hook in hooks:
            _remove(layer, hook)
        if names or hooks:
            folded.append(path)
    module.train(training)
    return folded


def _parametrized(layer: nn.Module) -> list[str]:
    """Return the names of a layer's parametrized weights, except those under movement pruning."""
    if not parametrize.is_parametrized(layer):
        return []
    parametrizations: Any = layer.parametrizations
    return [
        name
        for name, functions in parametrizations.items()
        if not any(type(function).__module__.startswith("bmc.") for function in functions)
    ]


def _is_spectral_norm_hook(hook: Any) -> bool:
    return isinstance(getattr(hook, "hook", hook), SpectralNormLoadStateDictPreHook)


def _remove(layer: nn.Module, hook: Any) -> None:
    if isinstance(hook, WeightNorm):
        remove_weight_norm(layer, hook.name)
    elif isinstance(hook, SpectralNorm):
        remove_spectral_norm(layer, hook.name)
        # PyTorch does not remove this hook, since it looks for the hook without its wrapper.
        load_hooks = layer._load_state_dict_pre_hooks
        for key in [key for key, hook in load_hooks.items() if _is_spectral_norm_hook(hook)]:
            del load_hooks[key]
    else:
        prune.remove(layer, hook._tensor_name)  # type: ignore[no-untyped-call]
