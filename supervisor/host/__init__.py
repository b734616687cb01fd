"""Acts. One door to the machine a file; never decides."""
