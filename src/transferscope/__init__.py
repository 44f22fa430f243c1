"""transferscope: what did pretraining give this network on these images, and where in the network does it sit?"""

__version__ = "0.1.0"
