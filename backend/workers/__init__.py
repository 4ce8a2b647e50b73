"""The process that owns one device and runs one job at a time. The service starts it; its crash harms nobody else."""
