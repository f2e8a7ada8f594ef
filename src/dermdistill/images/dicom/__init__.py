"""DICOM objects with photographs of skin: their headers, their files, and the pixels of a frame as RGB.

pydicom is imported when a DICOM file is read, since it comes with an extra.
"""
