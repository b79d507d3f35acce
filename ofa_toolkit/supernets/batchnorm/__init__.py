"""Batch-norm statistics of subnets: recomputed from images, or from what a supernet carries."""
