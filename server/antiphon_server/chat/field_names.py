"""Names of a chat request's fields in the request of another API that it was made from."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from antiphon_executor.interface.errors import InvalidRequest
from antiphon_server.errors import ApiError

_STEP = re.compile(r"[.\[]")


@dataclass(frozen=True, slots=True)
class FieldNames:
    """`names`: the other API's path for chat's. The longest path that a field begins with counts."""

    names: Mapping[str, str]

    def translate(self, path: str) -> str:
        cuts = [len(path), *(step.start() for step in reversed(list(_STEP.finditer(path))))]
        for cut in cuts:
            known = self.names.get(path[:cut])
            if known is not None:
                return known + path[cut:]
        return path

    @contextmanager
    def in_errors(self) -> Iterator[None]:
        """Errors that leave the block name the client's fields."""
        try:
            yield
        except ApiError as error:
            if error.param is not None:
                name = self.translate(error.param)
                error.message = error.message.replace(f"'{error.param}'", f"'{name}'")
                error.param = name
            raise
        except InvalidRequest as error:
            error.param = error.param and self.translate(error.param)
            raise
