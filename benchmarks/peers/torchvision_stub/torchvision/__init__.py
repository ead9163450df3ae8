"""A stand-in for torchvision on machines without a GPU: what pty-chi imports of it.

The real package is tied to one build of torch and, on Linux, to the CUDA one.
"""

__version__ = "0.28.0+stub"
