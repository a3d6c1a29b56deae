"""The report: one page with pictures, lesion table and provenance, and the same as files.

Conventions: views are in the patient's own axes (LPS), whatever the grid of the PET; the patient's right is on the left
of coronal and axial pictures (radiological), and the patient faces left on sagittal ones.
"""

from autosegnet.report.mask_digest import digest_mask, read_mask_digest
from autosegnet.report.page import Provenance
from autosegnet.report.report_files import REPORT_PAGE, is_report_file, report_files

__all__ = ["REPORT_PAGE", "Provenance", "digest_mask", "is_report_file", "read_mask_digest", "report_files"]
