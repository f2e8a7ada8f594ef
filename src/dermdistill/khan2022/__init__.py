"""Khan et al. 2022, made again: its systems, its protocol as published and corrected, its tables.

Source: Khan, Alam, Chowdhury et al., "Knowledge distillation approach towards melanoma detection", Computers in
Biology and Medicine 146 (2022) 105581, and the notebooks that its authors published with it.
"""
