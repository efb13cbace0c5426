"""The door of every tool and resource: what goes wrong behind it leaves as a `DomainError` without secrets or causes.

The framework logs the exceptions it meets with their whole chain of causes, by handlers of its own choosing, and an
exception's text may quote a header or a connection string. So nothing else gets that far: what was foreseen is redacted
here, and what was not is logged here, redacted, and told in words that hold none of it.
"""

from __future__ import annotations

import functools
import inspect
import logging
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

from fastmcp.exceptions import FastMCPError
from fastmcp.utilities.types import get_cached_typeadapter
from mcp.shared.exceptions import MCPError
from pydantic import ValidationError

from motet_servers.kit.errors import InternalError, InvalidInput
from motet_servers.kit.redaction import Redactor

Function = Callable[..., Awaitable[Any]]
logger = logging.getLogger(__name__)


def guarded(function: Function, name: str, redactor: Redactor) -> Function:
    """The function behind its door; TypeError when it is not an async function. `name` is said when it breaks."""
    if not inspect.iscoroutinefunction(function):
        raise TypeError(f"{name} must be an async function.")

    @functools.wraps(function)
    async def door(*args: Any, **kwargs: Any) -> Any:
        try:
            return await function(*args, **kwargs)
        except MCPError as error:
            raise error from None
        except FastMCPError as error:
            error.args = tuple(redactor.json(list(error.args)))
            raise error from None
        except Exception as error:  # noqa: BLE001 - the door: nothing else may pass it
            kind, told = type(error).__name__, redactor.text("".join(traceback.format_exception(error)))
        # said out here, where no exception is being handled: what logs, or fails to, cannot find it
        logger.error("%s broke: %s", name, told)
        raise InternalError(
            f"{name} broke ({kind}), which is a mistake of this server; its log says more. "
            "If it writes, look whether that happened before repeating it."
        )

    return door


def checked(function: Function, name: str) -> Function:
    """The function taking text, as addresses hold it: checked against its types, InvalidInput saying what is wrong.

    The framework would do it in front of the door, and answer as if the server had broken.
    """
    signature = inspect.signature(function)
    untyped = [parameter.replace(annotation=Any) for parameter in signature.parameters.values()]

    async def from_text(**given: Any) -> Any:
        try:
            call: Any = get_cached_typeadapter(function).validate_python(
                given
            )  # calls it: what it does begins when awaited
        except ValidationError as error:
            raise InvalidInput(f"the address of {name} does not fit: {misfits(error)}.") from None
        return await call

    from_text.__name__ = function.__name__
    from_text.__doc__ = function.__doc__
    from_text.__annotations__ = {parameter.name: Any for parameter in untyped}
    from_text.__signature__ = signature.replace(parameters=untyped, return_annotation=Any)
    return from_text


def misfits(error: Exception) -> str:
    """What is wrong with the arguments, one after the other, without quoting them."""
    cause = error if isinstance(error, ValidationError) else error.__cause__
    if not isinstance(cause, ValidationError):
        return str(error)
    found = cause.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in found)
