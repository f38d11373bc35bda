"""The bench: data sets through boards into results files, and results against each other."""

from hil.bench.judge import Judge, Verdict
from hil.bench.results import Results, ResultsWriter, read_results, results_header
from hil.bench.run import Job, Outcome, run_job
from hil.bench.session import Expected, Recovery, Session, WrongFirmwareError, firmware_id

__all__ = [
    "Expected",
    "Job",
    "Judge",
    "Outcome",
    "Recovery",
    "Results",
    "ResultsWriter",
    "Session",
    "Verdict",
    "WrongFirmwareError",
    "firmware_id",
    "read_results",
    "results_header",
    "run_job",
]
