"""The providers' protocols: what a request asks for, what an answer used, and how each provider says no."""

from core.budget.wire.anthropic import AnthropicWire
from core.budget.wire.base import Demand, Fault, Reader, Refusal, Terms, Wire
from core.budget.wire.chat import ChatWire
from core.budget.wire.gemini import GeminiWire
from core.budget.wire.responses import ResponsesWire

__all__ = [
    "AnthropicWire",
    "ChatWire",
    "Demand",
    "Fault",
    "GeminiWire",
    "Reader",
    "Refusal",
    "ResponsesWire",
    "Terms",
    "Wire",
]
