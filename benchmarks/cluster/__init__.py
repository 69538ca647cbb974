"""What scaling.py consists of: a model of training on several processes, and its measured inputs."""
