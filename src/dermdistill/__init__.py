"""dermdistill: small, distilled melanoma classifiers for dermoscopic images.

A research tool. It is not a medical device and must not be used to diagnose or treat anybody.
"""

__version__ = "0.1.0"

from dermdistill.privacy import opt_out

opt_out()
