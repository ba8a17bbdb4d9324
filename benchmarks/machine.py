"""When, on what and with which libraries a figure was measured: every benchmark says it in the same way."""

from __future__ import annotations

import os
import platform
from datetime import date
from pathlib import Path
from typing import Any

from pnp_ovss.provenance import library_versions


def machine(threads: int = 1, device: str = "cpu") -> str:
    """The card, or the processor with its cores, the threads that were used and what else ran."""
    if device == "cuda":
        import torch

        return torch.cuda.get_device_name()
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text("utf-8").splitlines() if cpuinfo.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = next(iter(names), platform.processor() or platform.machine())
    return f"{name}, {os.cpu_count()} cores, {threads} thread{'s' if threads > 1 else ''}, load average {load():.1f}"


def load() -> float:
    """The load average of the last minute; 0 where the system does not tell."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


def measured(threads: int = 1, device: str = "cpu") -> dict[str, Any]:
    """{"date", "machine", "versions"} for a report; call it before the measurement loads the machine."""
    return {"date": date.today().isoformat(), "machine": machine(threads, device), "versions": library_versions()}


def forget_peak() -> None:
    """The peak of this process's memory is counted anew from here on (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")


def resident_mb(entry: str = "VmRSS") -> float:
    """This process's resident set, MB: now (VmRSS) or at its peak (VmHWM). Linux."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(entry)) / 1024
