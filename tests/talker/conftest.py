"""The Talker's tests hold their numbers against transformers, whose vision code imports torchvision."""

from __future__ import annotations

from antiphon_executor.torchvision_ops import define_missing_operators

define_missing_operators()
