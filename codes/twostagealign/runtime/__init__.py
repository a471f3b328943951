"""What a process needs: ranks, device, memory, time, files, errors."""
