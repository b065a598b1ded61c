"""The machine that a run uses: devices, processes, signals, memory and the terminal."""
