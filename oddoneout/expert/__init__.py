"""The scripted expert: a yardstick, and a demonstrator that can be imitated."""

from oddoneout.expert.options import ExpertOptions
from oddoneout.expert.policy import ExpertPolicy

__all__ = ["ExpertOptions", "ExpertPolicy"]
