"""What runs partitions: this process, several processes, a cluster."""
