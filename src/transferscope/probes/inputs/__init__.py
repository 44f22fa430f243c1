"""What is given to probes: batches, labels and images, in whatever form people have them."""
