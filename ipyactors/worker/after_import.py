"""Do something when the user's code imports a certain module: until then it costs nothing, nor is it imported."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types
from collections.abc import Callable, Sequence

Adopt = Callable[[types.ModuleType], object]


def after_import(name: str, adopt: Adopt) -> None:
    """Call ``adopt`` with a module: now, if it is imported, else when it has been, before the importer goes on."""
    module = sys.modules.get(name)
    if module is not None:
        adopt(module)
    else:
        sys.meta_path.insert(0, _Finder(name, adopt))


class _Finder(importlib.abc.MetaPathFinder):
    """Finds one module once, as the others would."""

    def __init__(self, name: str, adopt: Adopt) -> None:
        self._name = name
        self._adopt = adopt

    def find_spec(
        self, fullname: str, _path: Sequence[str] | None, _target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """See the base class."""
        if fullname != self._name or self not in sys.meta_path:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, self._adopt)
        return spec


class _Loader(importlib.abc.Loader):
    """Loads as ``loader`` does, and adopts what was loaded."""

    def __init__(self, loader: importlib.abc.Loader, adopt: Adopt) -> None:
        self._loader = loader
        self._adopt = adopt

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType | None:
        """See the base class."""
        return self._loader.create_module(spec)

    def exec_module(self, module: types.ModuleType) -> None:
        """See the base class."""
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        self._adopt(module)
