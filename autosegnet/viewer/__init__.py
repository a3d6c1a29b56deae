"""A page in which a person looks through a study: PET, CT, mask, lesion table, clicks. One file that works offline.

Conventions: the volumes in the page lie on one grid whose axes run nearest to Right, Anterior and Superior.
"""

from autosegnet.viewer.viewer_page import make_viewer_page

__all__ = ["make_viewer_page"]
