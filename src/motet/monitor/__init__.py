"""What operators of workers look at: metrics, health and logs. Each is made from events and reads nothing else."""
