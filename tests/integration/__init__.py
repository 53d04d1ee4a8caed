"""Parts against real parts."""
