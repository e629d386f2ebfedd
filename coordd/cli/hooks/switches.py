"""Tell which settings of Claude Code keep it from calling the hooks of others. Pure.

What its program (2.1.197) does with hooks, the first row that fits. Of ``disableAllHooks`` those settings
decide that count most: a project's local ones, its shared ones, the user's.

==================================================  =======================================
settings                                            hooks that are called
==================================================  =======================================
the machine's (managed) have ``disableAllHooks``    none
they have ``allowManagedHooksOnly``, or             those in the machine's
``strictPluginOnlyCustomization`` for hooks
``disableAllHooks``                                 those in the machine's
anything else                                       all
==================================================  =======================================
"""

from __future__ import annotations

import sys

from coordd.util.untyped import as_dict

MANAGED = "/Library/Application Support/ClaudeCode" if sys.platform == "darwin" else "/etc/claude-code"
"""Where the machine's settings lie: managed-settings.json, and further ones in managed-settings.d."""


def disables(document: object) -> bool | None:
    """Return whether settings disable all hooks; None where they say nothing of it."""
    value = as_dict(document).get("disableAllHooks")
    return value if isinstance(value, bool) else None


def kept_to_managed(document: object) -> str | None:
    """Return what in the machine's settings keeps others' hooks from being called, None for nothing."""
    settings = as_dict(document)
    if settings.get("disableAllHooks") is True:
        return "disableAllHooks"
    if settings.get("allowManagedHooksOnly") is True:
        return "allowManagedHooksOnly"
    strict = settings.get("strictPluginOnlyCustomization")
    if strict is True or (isinstance(strict, list) and "hooks" in strict):
        return "strictPluginOnlyCustomization"
    return None
