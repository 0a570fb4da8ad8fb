"""Carry the tenant to where a job runs; `jobs.taskiq` and `jobs.arq` do it for these two queues."""

from .carrier import CarriedTenant, extract, inject, resume

__all__ = ["CarriedTenant", "extract", "inject", "resume"]
