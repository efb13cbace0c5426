"""What all servers offer now, and whose address is whose: immutable snapshots, no input or output."""
