"""Supernets, the plain networks cut out of them, and what must happen to their batch norm and channels."""

from __future__ import annotations

from ofa_toolkit.supernets.backbone import backbone
from ofa_toolkit.supernets.batchnorm.recalibration import recalibrate_batchnorm
from ofa_toolkit.supernets.channel_sorting import sort_channels
from ofa_toolkit.supernets.extraction import extract
from ofa_toolkit.supernets.folder import read_supernet, save_supernet
from ofa_toolkit.supernets.folding import fold_batchnorm, fold_batchnorm_in_place
from ofa_toolkit.supernets.importing.official_checkpoints import load_official_checkpoint
from ofa_toolkit.supernets.importing.official_networks import network_from_config
from ofa_toolkit.supernets.network import build_network
from ofa_toolkit.supernets.supernet import Supernet

__all__ = [
    "Supernet",
    "backbone",
    "build_network",
    "extract",
    "fold_batchnorm",
    "fold_batchnorm_in_place",
    "load_official_checkpoint",
    "network_from_config",
    "read_supernet",
    "recalibrate_batchnorm",
    "save_supernet",
    "sort_channels",
]
